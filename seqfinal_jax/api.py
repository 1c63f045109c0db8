"""The Python interface: run a configuration, load results, plot them. Quiet unless asked otherwise."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from ml_collections import ConfigDict


LOADED = "_loaded"  # of a configuration: its fields as they were loaded


def load_config(name: str, **settings: Any) -> "ConfigDict":
    """Reads a configuration by name or file, with presets after a colon; change it as you like and give it to `run`.

        config = seqfinal_jax.load_config("digits_rcl:smoke", seeds=(0, 1))
        config.training.max_epochs = 5

    Args:
        name: such as "digits_rcl", "cifar10_rcl:quick" or "my/config.py".
        settings: values for fields whose names have no dot, such as `seeds`.

    Raises:
        ValueError: there is no such file, preset or field.
    """
    from seqfinal_jax.config.command_line import read_configuration
    from seqfinal_jax.config.values import flat, set_field

    found, _ = read_configuration(name)
    object.__setattr__(found, LOADED, flat(found))
    for field, value in settings.items():
        set_field(found, field, value)
    return found


def run(
    config: "str | ConfigDict",
    workdir: str | Path | None = None,
    data_dir: str | Path | None = None,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Trains what is missing in a run folder, writes its report, and returns its results.

    Args:
        config: a configuration, or the name or file of one.
        workdir: the run folder; default runs/NAME.
        data_dir: the folder with the data sets; default SEQFINAL_DATA_DIR.
        progress: whether to show progress, in a terminal or a notebook.
        settings: fields to set, by their names with dots, such as {"training.max_epochs": 5}.

    Returns:
        One row per cell, as `load_results` gives them.

    Raises:
        ValueError: the configuration, the data or the folder cannot be used.
        RuntimeError: cells failed; the message names them and the files with their errors.
    """
    from seqfinal_jax.analysis.report import write_report
    from seqfinal_jax.analysis.run_code import load_figure_plugins
    from seqfinal_jax.analysis.tables.text import write_results_csv
    from seqfinal_jax.config.parse import parse
    from seqfinal_jax.runs.claims import Claims
    from seqfinal_jax.runs.loop import check_backend, enable_compilation_cache
    from seqfinal_jax.runs.loop import run as fit_cells

    source = config if isinstance(config, str) else ""
    found = _configuration(config, settings or {})
    changed = dict.fromkeys((*_changed(config), *(settings or {})))
    check_backend()
    enable_compilation_cache()
    folder = Path(workdir or f"runs/{found.name}").expanduser()
    data = None if data_dir is None else str(data_dir)
    failed = fit_cells(parse(found, tuple(changed)), folder, data, console=_console(progress), source=source)
    with Claims(folder).wait_for("report"):
        load_figure_plugins(folder)
        write_results_csv(folder)
        write_report(folder)
    if failed:
        raise RuntimeError(f"{failed} cells failed; see error.txt in their folders below {folder / 'cells'}")
    return load_results(folder)


def _configuration(given: "str | ConfigDict", settings: Mapping[str, Any]) -> "ConfigDict":
    from ml_collections import ConfigDict

    from seqfinal_jax.config.build import add_own_fields
    from seqfinal_jax.config.values import set_field
    from seqfinal_jax.records.plugins import load_plugins, names_of

    if not isinstance(given, (str, ConfigDict)) or not given:
        raise ValueError(
            f"run: expected a configuration of load_config, or the name or file of one such as 'digits_rcl', found "
            f"{given!r}"
        )
    found = load_config(given) if isinstance(given, str) else given.copy_and_resolve_references()
    if "plugins" in settings:
        set_field(found, "plugins", settings["plugins"])
    load_plugins(names_of(found.plugins))
    add_own_fields(found)
    for name, value in settings.items():
        set_field(found, name, value)
    return found


def _changed(given: "str | ConfigDict") -> list[str]:
    """The fields that a configuration of `load_config` was given other values since."""
    from seqfinal_jax.config.values import flat

    loaded = getattr(given, LOADED, None)  # a name has none
    return (
        [name for name, value in flat(given).items() if name in loaded and loaded[name] != value]
        if loaded
        else []
    )


def _console(progress: bool) -> Any:
    from rich.console import Console

    return Console(highlight=False, quiet=not progress)


def load_results(*folders: str | Path | Sequence[str | Path], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Reads the results of run folders, one by one or as a list, which must be of the same sequence and protocol.

    metrics: further columns that are computed from the stored logits, such as ("ece", "nll"), named test_ece, test_nll;
    `list metrics` shows them.

    Returns:
        One row per cell: sequence, protocol, method, architecture, seed, test_accuracy, valid_accuracy (fractions), the
        chosen hyper-parameters, and `path`, the cell's folder, which `load_model` and `read_predictions` read.

    Raises:
        ValueError: no folder was given, a folder contains no run, the folders differ in sequence or protocol, or there is
            no such metric.
    """
    from seqfinal_jax.analysis.tables.cells import done_cells
    from seqfinal_jax.analysis.tables.metrics import metrics_named, with_metrics
    from seqfinal_jax.analysis.tables.results_table import joined_cells

    folders = _flat_folders(folders)
    if not folders:
        raise ValueError("load_results needs a run folder, for example load_results('runs/digits_rcl')")
    frame = with_metrics(joined_cells(folders), folders, metrics_named(metrics))
    paths = {cell[1:]: str(cell.path) for folder in folders for cell in done_cells(folder)}
    keys = zip(frame["method"], frame["architecture"], frame["seed"], strict=True)
    return frame.assign(path=[paths[key] for key in keys])


def _flat_folders(given: Sequence[Any]) -> list[str | Path]:
    """Folders that were named one after another or in lists."""
    lists = [[each] if isinstance(each, (str, PathLike)) else list(each) for each in given]
    return [folder for each in lists for folder in each]


def plot(*folders: str | Path | Sequence[str | Path]) -> "Figure":
    """Draws the chart of methods of run folders, with one point per seed; a notebook shows it, `savefig` saves it.

    Raises ValueError where a folder contains no run or no completed cell, or the folders differ in sequence or protocol.
    """
    from seqfinal_jax.analysis.figures.method_chart import method_figure
    from seqfinal_jax.analysis.tables.results_table import results_table

    table = results_table([Path(folder) for folder in _flat_folders(folders)])
    if not table.entries:
        raise ValueError("there is no cell to plot")
    return method_figure(table)
