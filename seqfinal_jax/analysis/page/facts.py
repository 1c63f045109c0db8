"""What was run, as a report shows it: configuration, data, versions, and the chosen hyper-parameters."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqfinal_jax.analysis.tables.cells import HYPERS, read_stages
from seqfinal_jax.analysis.tables.labels import MISSING, listed, method_name, number, percent
from seqfinal_jax.analysis.tables.results_table import ResultsTable
from seqfinal_jax.config.schema import all_fields
from seqfinal_jax.config.values import flat
from seqfinal_jax.results.run_folder import read_config, read_environment

PLACE_COLUMNS = ("method", "architecture", "seed", "stage", "role")
OUTCOME_COLUMNS = ("best_epoch", "stop_epoch", "updates", "late_gain", "valid_accuracy")
HEADS = {
    "best_epoch": "best epoch / epochs", "late_gain": "late gain (points)",
    "valid_accuracy": "validation accuracy (%)",
}  # fmt: skip
SHOWN_OF_DATA = ("dataset", "origin", "note", "content_sha256")
OFFICIAL = {True: "yes", False: "no: other files than the official ones", "unverified": "not verified"}
SHOWN_ALREADY = ("methods", "architectures", "seeds", "name")


def run_facts(workdir: str | Path, table: ResultsTable) -> list[tuple[str, str]]:
    """What was run, as names and texts: sequence, every protocol field, seeds, data source, versions."""
    config, environment = read_config(workdir), read_environment(workdir)
    facts = [("sequence", table.sequence), ("protocol", table.protocol)]
    facts += _fields("protocol", config.get("protocol"))
    facts += [("methods", listed(table.methods)), ("architectures", listed(table.architectures))]
    facts += [("seeds", listed(table.seeds)), ("config.data_seed", str(config.get("data_seed", "unknown")))]
    facts += _fields("data", config.get("data")) + _data_facts(environment.get("data"))
    rest = {name: value for name, value in environment.items() if name not in ("data", "machine", "commands")}
    commands = environment.get("commands", [])
    facts += [(f"command {place}", _text(each)) for place, each in enumerate(commands, start=1)]
    if commands:
        rest.pop("command", None)
    rest |= environment.get("machine", {})
    return facts + [(name, _text(value)) for name, value in rest.items()]


def _fields(section: str, fields: Any) -> list[tuple[str, str]]:
    """A section of the configuration, one line per field."""
    fields = fields if isinstance(fields, dict) else {}
    return [(f"config.{section}.{name}", _text(value)) for name, value in fields.items()]


def _data_facts(record: Any) -> list[tuple[str, str]]:
    """Where the data came from and whether they are the official ones; no local path."""
    if not isinstance(record, dict):
        return [("data source", "not recorded")]
    facts = [(f"data source: {name}", _text(record[name])) for name in SHOWN_OF_DATA if record.get(name)]
    return [*facts, ("official data", OFFICIAL.get(record.get("official"), "not recorded"))]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return listed(f"{name} {_text(part)}" for name, part in value.items())
    return listed(map(number, value)) if isinstance(value, (list, tuple)) else number(value)


def changed_fields(workdir: str | Path) -> list[tuple[str, str, str]]:
    """The fields of a run that differ from the program's defaults: name, value, default.

    What the configuration file and its presets set is among them: a file is a set of such changes.
    """
    stored = flat(read_config(workdir))
    defaults = {each.name: each.default for each in all_fields()}
    return [
        (f"config.{name}", _text(stored[name]), _text(default))
        for name, default in defaults.items()
        if name in stored and name not in SHOWN_ALREADY and _text(stored[name]) != _text(default)
    ]


def stage_rows(workdirs: list[Path]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the chosen hyper-parameters; penalties of some methods get columns of their own."""
    import pandas as pd

    stages = pd.concat([read_stages(workdir) for workdir in workdirs], ignore_index=True)
    fixed = {
        *PLACE_COLUMNS,
        *OUTCOME_COLUMNS,
        "epochs_allowed",
        "position",
        "step",
        "train_steps",
        "fingerprint",
    }
    more = [name for name in stages.columns if name not in fixed | set(HYPERS)]
    columns = [name for name in (*PLACE_COLUMNS, *HYPERS, *more, *OUTCOME_COLUMNS) if name in stages.columns]
    rows = [[_stage_value(name, row) for name in columns] for row in stages.to_dict("records")]
    return [HEADS.get(name, name.replace("_", " ")) for name in columns], rows


def _stage_value(name: str, stage: Mapping[str, Any]) -> str:
    value = stage[name]
    if name == "method":
        return method_name(value).column
    if name == "best_epoch":
        return f"{value} / {number(stage.get('epochs_allowed'))}"
    if name == "late_gain":
        return MISSING if math.isnan(value) else f"{100 * value:+.1f}"
    return percent(value) if name == "valid_accuracy" else _text(value)
