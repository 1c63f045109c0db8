"""The table of a run: one entry a method and architecture, with what is missing or failed, and its captions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from seqfinal_jax.analysis.tables.cells import FAILURE_COLUMNS, done_cells, read_cells, read_failures
from seqfinal_jax.analysis.tables.comparisons import accuracies_by_seed, smallest_difference
from seqfinal_jax.analysis.tables.labels import (
    FAILED,
    MISSING,
    architecture_order,
    architectures_in_order,
    in_order,
    listed,
    method_name,
    method_order,
)
from seqfinal_jax.analysis.tables.metrics import ACCURACY, Metric, with_metrics
from seqfinal_jax.analysis.tables.provenance import Commands, commands_of, machine_lines, note_lines
from seqfinal_jax.analysis.tables.shared_seeds import shared_seeds
from seqfinal_jax.analysis.tables.training_length import DAGGER, REMEDY, training_length
from seqfinal_jax.results.run_folder import RunFolderError, read_config, read_environment, read_result

SUMMARY_COLUMNS = ("architecture", "method", "mean", "spread", "n")


@dataclass(frozen=True)
class Expected:
    """What a run was asked for; a table shows this and whatever else its run folder holds."""

    methods: Sequence[str] = ()
    architectures: Sequence[str] = ()
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Entry:
    """Test accuracy, or another metric, of a method and architecture over seeds.

    mean, spread: fractions (of some metrics other numbers), NaN where there are too few cells; spread is the sample
    standard deviation (n - 1).
    done, failed, expected: numbers of seeds. improving: whether it was still improving when its training ended.
    """

    mean: float
    spread: float
    done: int
    failed: int
    expected: int
    improving: bool = False
    metric: Metric = ACCURACY

    @property
    def status(self) -> str:
        """ "done", "partly", "failed" or "missing"."""
        if self.done:
            return "done" if self.done >= self.expected else "partly"
        return "failed" if self.failed else "missing"

    @property
    def value(self) -> str:
        """Per cent as "61.2 ± 0.4", with a dagger where longer training would still have helped.

        The sign of a missing or failed entry where none is done.
        """
        if not self.done:
            return FAILED if self.failed else MISSING
        return (
            f"{self.metric.text(self.mean)} ± {self.metric.text(self.spread)}" + f" {DAGGER}" * self.improving
        )

    @property
    def count(self) -> str:
        """Seeds done, as "3", or as "2/3" where some lack."""
        return str(self.done) if self.done >= self.expected else f"{self.done}/{self.expected}"


@dataclass(frozen=True, eq=False)
class ResultsTable:
    """Entries by (method, architecture), both in order, and the cells they come from."""

    methods: list[str]
    architectures: list[str]
    seeds: list[int]
    entries: dict[tuple[str, str], Entry]
    cells: pd.DataFrame
    failures: pd.DataFrame
    records: list[dict]
    sequence: str
    protocol: str
    commands: Commands = Commands()
    metric: Metric = ACCURACY

    @property
    def title(self) -> str:
        """What the table shows, and which settings differ from those of the configuration file."""
        changed = f", with {self.changed}" if self.changed else ""
        better = "" if self.metric is ACCURACY else f", {self.metric.better} is better"
        return f"Test {self.metric.name} at the final step{better}: {self.sequence}, protocol {self.protocol}{changed}"

    @property
    def changed(self) -> str:
        """The settings that were given beside the configuration file, but for what the table shows itself."""
        return self.commands.changed

    def dagger(self, method: str) -> str:
        """ " †" of a method that was still improving with one of the networks when its training ended, else nothing."""
        improving = any(self.entries[method, each].improving for each in self.architectures)
        return f" {DAGGER}" * improving

    @property
    def daggers(self) -> str:
        """What the dagger means, where a method has one."""
        return f"{DAGGER} {REMEDY}" if any(map(self.dagger, self.methods)) else ""

    @property
    def source(self) -> str:
        """A sentence that names the configuration file."""
        return self.commands.source

    @property
    def captions(self) -> list[str]:
        """Sentences that say how its numbers were made, and what lacks."""
        apart = [method_name(m).column for m in self.methods if not method_name(m).comparable]
        without = f" (without {listed(apart)})" if apart else ""
        lines = [
            "mean ± sample standard deviation over seeds (n-1); n: seeds done, of those expected",
            f"selection: {_by_method(self.cells, 'selection')}",
            f"seeds: {listed(self.seeds) or 'none'} ({_data_seeds(self.cells)})",
            f"test samples: {_by_method(self.cells, 'n_test')}",
            f"precision of layers: {_by_method(self.cells, 'precision')}",
            *([f"{self.metric.most} mean on the test set{without}: {best}"] if (best := self.best) else []),
            *([self.daggers] if self.daggers else []),
        ]
        return lines + machine_lines(self.records) + note_lines(self.records) + _lacking(self)

    @property
    def best(self) -> str:
        """The methods of the best mean in each architecture, on the seeds that the compared methods share.

        Equal means (of equal per cent, as shown) are all named; methods with data that others do not have are left out,
        and so are, by name, methods that lack most of the seeds.
        """
        return "; ".join(filter(None, (self._best(architecture) for architecture in self.architectures)))

    def _best(self, architecture: str) -> str:
        own = accuracies_by_seed(self.cells[self.cells["architecture"] == architecture], self.metric.field)
        own = {m: own[m] for m in self.methods if m in own and method_name(m).comparable}
        compared, seeds = shared_seeds(own)
        if not compared:
            return ""
        means = {m: sum(own[m][seed] for seed in seeds) / len(seeds) for m in compared}
        best = self.metric.text(self.metric.best(means.values()))
        names = [method_name(m).column for m, mean in means.items() if self.metric.text(mean) == best]
        uneven = any(len(by_seed) > len(seeds) for by_seed in own.values()) or len(compared) < len(own)
        on = f": on seeds {listed(seeds)}, which all these methods have" if uneven else ""
        left = listed(method_name(m).column for m in own if m not in compared)
        apart = f"; {left} left out for lack of seeds" if left else ""
        return f"{architecture} {' and '.join(names)} {best} (n = {len(seeds)}{on}{apart})"


def summary(cells: pd.DataFrame, field: str = "test_accuracy") -> pd.DataFrame:
    """Mean, spread and number of seeds of the test accuracy, by architecture and method.

    Args:
        cells: as `read_cells` returns them.
        field: the column of another metric.

    Returns:
        architecture, method, mean, spread, n; fractions; spread is the sample standard deviation (n - 1), NaN
        for n = 1.
    """
    groups = cells.groupby(["architecture", "method"], sort=False)[field]
    rows = [
        (architecture, method, values.mean(skipna=False), values.std(ddof=1, skipna=False), len(values))
        for (architecture, method), values in groups
    ]
    frame = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    architectures = architectures_in_order(frame["architecture"])
    methods = in_order(frame["method"])
    order = sorted(
        range(len(rows)), key=lambda i: (architectures.index(rows[i][0]), methods.index(rows[i][1]))
    )
    return frame.iloc[order].reset_index(drop=True)


def results_table(
    workdir: str | Path | Sequence[str | Path], expected: Expected | None = None, metric: Metric = ACCURACY
) -> ResultsTable:
    """The table of a run folder, or of several that hold cells of one sequence and protocol.

    Args:
        workdir: a run folder, or several.
        expected: what should be there, so that it is shown as missing where it is not; default: what the
            configurations name.
        metric: what it shows.

    Raises:
        RunFolderError: not a run folder, a damaged one, folders of several sequences or protocols, or a cell that two
            folders hold with other results.
    """
    folders = [workdir] if isinstance(workdir, (str, Path)) else list(workdir)
    configs = [read_config(folder) for folder in folders]
    cells = with_metrics(joined_cells(folders), folders, [metric])
    failures = pd.concat([read_failures(folder) for folder in folders], ignore_index=True)
    done = set(zip(cells["method"], cells["architecture"], cells["seed"], strict=True))
    keys = zip(failures["method"], failures["architecture"], failures["seed"], strict=True)
    failed = [row for row, key in enumerate(keys) if key not in done]
    failures = failures.iloc[failed].reset_index(drop=True)
    expected = expected or _together([configured(config) for config in configs])
    methods = in_order([*expected.methods, *cells["method"], *failures["method"]])
    architectures = architectures_in_order(
        [*expected.architectures, *cells["architecture"], *failures["architecture"]]
    )
    seeds = sorted({int(seed) for seed in (*expected.seeds, *cells["seed"], *failures["seed"])})
    sequence = listed(cells["sequence"].unique()) or str(configs[0].get("name", "unknown sequence"))
    protocol = listed(cells["protocol"].unique()) or _protocol_fields(configs[0])
    records = [read_result(cell) for folder in folders for cell in done_cells(folder)]
    entries = _entries(methods, architectures, len(seeds), cells, failures, metric)
    entries = _marked(entries, records, smallest_difference(folders[0]))
    return ResultsTable(
        methods, architectures, seeds, entries, cells, failures, records, sequence, protocol,
        commands_of([read_environment(folder) for folder in folders]), metric,
    )  # fmt: skip


def cells_table(cells: pd.DataFrame) -> ResultsTable:
    """The table of cells, as a results.csv lists them, which expects no others and says nothing of how they were made."""
    methods, architectures = in_order(cells["method"]), architectures_in_order(cells["architecture"])
    seeds, failures = sorted(set(map(int, cells["seed"]))), pd.DataFrame(columns=list(FAILURE_COLUMNS))
    entries = _entries(methods, architectures, len(seeds), cells, failures)
    sequence, protocol = (listed(cells[name].unique()) for name in ("sequence", "protocol"))
    return ResultsTable(methods, architectures, seeds, entries, cells, failures, [], sequence, protocol)


def joined_cells(workdirs: Sequence[str | Path]) -> pd.DataFrame:
    """The completed cells of several run folders, each once.

    Raises RunFolderError where they are of several sequences or protocols, or two folders hold a cell with other results.
    """
    frames = [read_cells(folder).assign(folder=str(folder)) for folder in workdirs]
    for name in ("sequence", "protocol"):
        found = {
            str(frame[name].iloc[0]): str(folder)
            for frame, folder in zip(frames, workdirs, strict=True)
            if len(frame)
        }
        if len(found) > 1:
            held = "; ".join(f"{value} in {folder}" for value, folder in found.items())
            raise RunFolderError(
                f"the run folders hold cells of several values of {name}: {held}; name those of one"
            )
    cells = pd.concat(frames, ignore_index=True)
    place = ["method", "architecture", "seed"]
    for key, same in cells[cells.duplicated(place, keep=False)].groupby(place):
        if same["test_accuracy"].nunique(dropna=False) > 1:
            raise RunFolderError(
                f"{' and '.join(same['folder'])} both hold {key[0]}, {key[1]}, seed {key[2]}, with other results; name "
                f"one of them"
            )
    cells = cells.drop_duplicates(place, ignore_index=True).drop(columns="folder")
    order = sorted(
        range(len(cells)),
        key=lambda row: (
            method_order(cells["method"][row]), architecture_order(cells["architecture"][row]), cells["seed"][row],
        ),
    )  # fmt: skip
    return cells.iloc[order].reset_index(drop=True)


def _together(asked: Sequence[Expected]) -> Expected:
    """What any of several runs was asked for."""
    return Expected(
        *(
            tuple(dict.fromkeys(value for each in asked for value in getattr(each, field)))
            for field in ("methods", "architectures", "seeds")
        )
    )


def configured(config: dict) -> Expected:
    """What a resolved configuration asks for."""
    return Expected(*(tuple(config.get(field) or ()) for field in ("methods", "architectures", "seeds")))


def _protocol_fields(config: dict) -> str:
    """The protocol of a run without a completed cell, which would know its name."""
    return listed(f"{name}={value}" for name, value in config.get("protocol", {}).items()) or "unknown"


def _entries(
    methods: list[str], architectures: list[str], expected: int, cells: pd.DataFrame, failures: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> dict[tuple[str, str], Entry]:  # fmt: skip
    done = {(row.method, row.architecture): row for row in summary(cells, metric.field).itertuples()}
    failed = failures.groupby(["method", "architecture"]).size().to_dict()
    entries = {}
    for key in ((method, architecture) for method in methods for architecture in architectures):
        row, failures_here = done.get(key), int(failed.get(key, 0))
        mean, spread, n = (row.mean, row.spread, row.n) if row else (math.nan, math.nan, 0)
        entries[key] = Entry(float(mean), float(spread), int(n), failures_here, expected, metric=metric)
    return entries


def _marked(
    entries: dict[tuple[str, str], Entry], records: Sequence[dict], smallest: float
) -> dict[tuple[str, str], Entry]:
    """The entries, with those marked that were still improving when their training ended."""
    return {
        key: replace(entry, improving=training_length(records, *key, smallest).improving)
        for key, entry in entries.items()
    }


def _by_method(cells: pd.DataFrame, field: str) -> str:
    """A field's value; where methods differ, each value with its methods."""
    values = list(dict.fromkeys(cells[field]))
    if len(values) <= 1:
        return listed(values) or "no cell is done"
    return "; ".join(f"{value} ({_columns(cells.loc[cells[field] == value, 'method'])})" for value in values)


def _columns(methods: Iterable[str]) -> str:
    return listed(method_name(method).column for method in in_order(methods))


def _data_seeds(cells: pd.DataFrame) -> str:
    """Whether data or only training varies with the seed."""
    if cells.empty:
        return "no cell is done"
    if (cells["data_seed"] == cells["seed"]).all():
        return "each draws its own data and trains on its own"
    if cells["data_seed"].nunique() == 1:
        return f"data fixed by data seed {cells['data_seed'].iloc[0]}, training varies"
    return f"data seeds {listed(sorted(cells['data_seed'].unique()))}"


def _lacking(table: ResultsTable) -> list[str]:
    """Lines that list failed and missing cells."""
    failed = [(r.method, r.architecture, r.seed) for r in table.failures.itertuples()]
    done = [(r.method, r.architecture, r.seed) for r in table.cells.itertuples()]
    wanted = [(m, a, s) for m in table.methods for a in table.architectures for s in table.seeds]
    missing = [key for key in wanted if key not in {*failed, *done}]
    signs = ((FAILED, "failed", failed), (MISSING, "not run", missing))
    return [f"{sign} {word} ({len(keys)}): {_grouped(keys)}" for sign, word, keys in signs if keys]


def _grouped(keys: list[tuple[str, str, int]], most: int = 8) -> str:
    """Cells as text, the seeds of a method and architecture together; those beyond `most` groups only counted."""
    groups: dict[str, list[int]] = {}
    for method, architecture, seed in keys:
        groups.setdefault(f"{method_name(method).column} {architecture}", []).append(seed)
    texts = [f"{name} seed{'s' * (len(seeds) > 1)} {listed(seeds)}" for name, seeds in groups.items()]
    more = len(texts) - most
    return "; ".join(texts[:most]) + (f"; and {more} more entries" if more > 0 else "")
