"""The run folder: whether results may be added to it, its configuration and environment, its log and timings."""

import contextlib
import csv
import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import IO, Any

from seqfinal_jax.config.build import with_precision
from seqfinal_jax.config.parse import as_dict, stored_spec, value_of, with_value
from seqfinal_jax.config.schema import RunSpec, all_fields, own_fields
from seqfinal_jax.config.values import flat
from seqfinal_jax.data.sequences.source import SequenceRequest, source_code
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.methods.stages.fingerprint import RESULTS_VERSION
from seqfinal_jax.models import Network
from seqfinal_jax.records.plugin_code import PluginCode, read_code
from seqfinal_jax.records.plugins import codes_of
from seqfinal_jax.results.run_folder import (
    FOLDER_FORMAT,
    CellFolder,
    RunFolderError,
    cell_folders,
    read_json,
    read_result,
    write_whole,
)
from seqfinal_jax.results.run_plugins import keep_plugins
from seqfinal_jax.runs.environment import machine, settings
from seqfinal_jax.runs.plan import Plan
from seqfinal_jax.runs.stale import stale_cells

log = logging.getLogger(__name__)
HOUR = 3600.0
ADVICE = "delete the run folder, or restore the file"

# What may differ between runs in one folder.
FREE_FIELDS = ("methods", "architectures", "seeds", "plugins")
# Also those that make methods of another id, or do not change results.
FREE_NAMES = (
    "analysis.smallest_difference",
    "joint.resume_to_epochs",
    "joint.resume_patience",
    "joint.matching_memory_gib",
)
TIMING_COLUMNS = (
    "stage", "architecture", "fingerprint", "seeds", "members", "epochs", "seconds", "compile_seconds",
)  # fmt: skip


def made_by() -> dict[str, int]:
    """The version of the folder's layout, and the version of the results that a configuration gives."""
    return {"folder_format": FOLDER_FORMAT, "results_version": RESULTS_VERSION}


def data_record(plan: Plan, variants: Collection[str] | None = None) -> dict[str, Any]:
    """The entries that identify the data of a run: contents, the user's code that made them, and each variant's identity.

    `variants`: those of a single method; default: of all.
    """
    identity = plan.identity
    return {
        "content_sha256": plan.source.record.get("content_sha256"),
        "code": source_code(plan.spec.data.dataset),
        "identity": {name: identity[name] for name in variants or identity},
    }


def check_workdir(workdir: Path, plan: Plan) -> None:
    """Checks that results of this plan may be added to a folder, and changes nothing.

    Raises ValueError where the folder cannot be written, or holds results of another configuration, of other data, of
    other settings or of another version; the message names both. Warns of another machine.
    """
    try:
        if not workdir.is_dir():
            _refuse_unwritable(workdir)
            return
        _refuse_version(workdir)
        _refuse_config(workdir, plan)
        _refuse_other(workdir, plan)
    except OSError as error:
        raise ValueError(
            f"--workdir={workdir} cannot be used ({error}); name a folder that you may write to"
        ) from error


def _refuse_unwritable(workdir: Path) -> None:
    parent = next(path for path in workdir.absolute().parents if path.exists())
    if workdir.exists() or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"--workdir={workdir} cannot be written; name a folder that you may write to")


def _refuse_version(workdir: Path) -> None:
    """Another layout, or another version of the results, is not added to."""
    path = workdir / "environment.json"
    if not (workdir / "config.json").exists() or not _has_results(workdir):
        return
    record = read_json(path, ADVICE) if path.exists() else _version_of_a_cell(workdir)
    found = {name: record.get(name, 0) for name in made_by()}
    if found != made_by():
        older = tuple(found.values()) < tuple(made_by().values())
        raise ValueError(
            f"--workdir={workdir} was made by {'an earlier' if older else 'a later'} version of seqfinal_jax ({found} "
            f"there, {made_by()} now): its results can be read, but not added to; name another folder"
        )


def _version_of_a_cell(workdir: Path) -> dict[str, Any]:
    return next((result.get("made_by", {}) for _, result in _results(workdir)), {})


def _has_results(workdir: Path) -> bool:
    return any(workdir.glob("stages/*/*/meta.json")) or any(workdir.glob("cells/*/*/*/result.json"))


def _refuse_config(workdir: Path, plan: Plan) -> None:
    """Another configuration; one that has no results yet may be replaced."""
    path = workdir / "config.json"
    if not path.exists():
        return
    before, now = flat(with_precision(read_json(path, ADVICE))), flat(resolved(plan))
    if not _has_results(workdir):
        return
    defaults = flat(json.loads(json.dumps({each.name: each.default for each in all_fields()})))
    names = sorted(name for name in before.keys() | now.keys() if not _free(name))
    there = {name: before.get(name, defaults.get(name)) for name in names}
    differing = [name for name in names if there[name] != now.get(name, defaults.get(name))]
    if differing and not _all_idle(workdir, plan, differing):
        listed = "; ".join(f"{n}: {there[n]!r} there, {now.get(n)!r} now" for n in differing)
        raise ValueError(
            f"--workdir={workdir} holds a run of another configuration ({listed}); "
            f"name another folder, or run with the configuration in its config.json"
        )


def _all_idle(workdir: Path, plan: Plan, differing: Collection[str]) -> bool:
    """Whether each of these fields changes no model of this run, and none of the cells that are in the folder.

    A field of the data is none: another value would need them to be read again.
    """
    of_data = {each.name for each in fields(SequenceRequest)}
    for each in all_fields():
        if each.name in differing and (each.everywhere or of_data & {each.section, each.last}):
            return False
    cells = list(cell_folders(workdir))
    try:
        there = replace(
            stored_spec(read_json(workdir / "config.json", ADVICE)),
            methods=tuple(dict.fromkeys(cell.method for cell in cells)) or plan.methods,
            architectures=tuple(dict.fromkeys(cell.architecture for cell in cells)) or plan.architectures,
        )
        return all(
            plan.keys_of(one) == plan.keys_of(_with(one, differing, other))
            for one, other in ((plan.spec, there), (there, plan.spec))
        )
    except Exception:  # the user's code, or options that do not go together
        return False


def _with(spec: RunSpec, names: Collection[str], other: RunSpec) -> RunSpec:
    """A specification with the values that another one has for these fields."""
    for field in all_fields():
        if field.name in names:
            spec = with_value(spec, field, value_of(other, field))
    return spec


def _free(name: str) -> bool:
    section = name.partition(".")[0]
    own = section in {each.section for each in own_fields()}
    known = {each.name.partition(".")[0] for each in all_fields()}
    unknown = "." in name and section not in known  # of a plugin that is not named now
    return section in FREE_FIELDS or name in FREE_NAMES or own or unknown


def _refuse_other(workdir: Path, plan: Plan) -> None:
    """Other data or settings that change numbers; warns of another machine."""
    path = workdir / "environment.json"
    now, data = {"settings": settings()}, data_record(plan)
    records = (
        [("environment.json", read_json(path, ADVICE))] if path.exists() and _has_results(workdir) else []
    )
    records += [(str(cell.path.relative_to(workdir)), found) for cell, found in _results(workdir)]
    warned = set()
    for where, record in records:
        differing = _differing({"settings": record.get("settings", now["settings"])}, now)
        if differing:
            raise ValueError(
                f"--workdir={workdir} holds results of other settings ({where}: {differing}); restore these settings, "
                f"or name another folder"
            )
        _refuse_data(workdir, where, record.get("data", data), data)
        if changed := _differing(
            {"machine": record.get("machine", {})}, {"machine": machine(plan.training.precision)}
        ):
            warned.add(changed)
    for changed in sorted(warned):
        log.warning("%s: earlier results in this folder come from another machine: %s", workdir, changed)


def _refuse_data(workdir: Path, where: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Other contents, unless the user's own code, which makes them, has changed: then its cells are computed again."""
    names = ("content_sha256", "code")
    there, here = (tuple(record.get(name) for name in names) for record in (before, now))
    if there[0] != here[0] and there[1] == here[1]:
        raise ValueError(
            f"--workdir={workdir} holds results of other data ({where}: contents {str(there[0])[:12]} there, "
            f"{str(here[0])[:12]} now); name another folder, or restore the data"
        )


def _differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    there, here = flat(before), flat(now)
    return ", ".join(
        f"{name.partition('.')[2]} {there.get(name)!r} there, {here.get(name)!r} now"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    )


def _results(workdir: Path) -> Iterator[tuple[CellFolder, dict[str, Any]]]:
    """The results that can be read; damaged ones are computed again later."""
    for cell in cell_folders(workdir):
        if (cell.path / "result.json").exists():
            with contextlib.suppress(RunFolderError):
                yield cell, read_result(cell)


def open_workdir(workdir: Path, plan: Plan, source: str = "") -> None:
    """Makes the folder, or takes the one that `check_workdir` has accepted; raises ValueError where it cannot be.

    source: the configuration file with its presets. It is recorded, with the further fields that were set and the folder
    of the data sets, in the history of the commands that were run in this folder.
    """
    config, plugins = resolved(plan), plugins_of(plan)
    command = _command(config, source, plan.spec.given)
    record = {
        **made_by(),
        "settings": settings(),
        "machine": machine(plan.training.precision),
        "data": {**plan.source.record, **data_record(plan)},
        "command": command,
        "commands": [*_commands_before(workdir), _whole_command(command, config, plan.data_dir)],
        **({"plugins": [code.record() for code in plugins]} if plugins else {}),
    }
    if record["commands"][-2:-1] == record["commands"][-1:]:
        del record["commands"][-1]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_whole(workdir / "config.json", json.dumps(config, indent=1, sort_keys=True) + "\n")
        write_whole(workdir / "environment.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
        keep_plugins(workdir, plugins)
        clear_leftovers(workdir)
        remove_stale(workdir, plan)
    except OSError as error:
        raise ValueError(
            f"--workdir={workdir} cannot be written ({error}); name a folder that you may write to"
        ) from error


def plugins_of(plan: Plan) -> list[PluginCode]:
    """The code of the plugins that a run has loaded, and of the configuration file where that defines its methods."""
    named = codes_of(plan.spec.plugins)
    known = {str(place) for code in named for place in code.places.values()}
    origins = {METHODS.origin(each.method) for each in plan.planned.values()} - {None, "__main__", *known}
    return named + [read_code(path, Path(path)) for path in sorted(origins)]


def _command(config: dict[str, Any], source: str, overrides: Collection[str]) -> dict[str, Any]:
    """How the run was called: the file (of one outside this folder its name alone), and the fields set besides."""
    place = Path(source)
    values = flat(config)
    chosen = {name: values[name] for name in sorted(overrides) if name in values}
    return {"config": place.name if place.is_absolute() else source, "set": chosen}


def _whole_command(command: dict[str, Any], config: dict[str, Any], data_dir: str | None) -> dict[str, Any]:
    """A command with what it asked for."""
    asked = {name: config[name] for name in ("methods", "architectures", "seeds")}
    return {**command, **asked, **({"data_dir": data_dir} if data_dir else {})}


def _commands_before(workdir: Path) -> list[dict[str, Any]]:
    """The commands that environment.json names; none where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found = json.loads((workdir / "environment.json").read_text(encoding="utf-8")).get("commands", [])
        return list(found) if isinstance(found, list) else []
    return []


def resolved(plan: Plan) -> dict[str, Any]:
    """The configuration as JSON has it, with the methods, architectures and seeds that the run takes."""
    return json.loads(json.dumps(as_dict(plan.spec)))


def remove_stale(workdir: Path, plan: Plan) -> None:
    """Removes cells whose code has changed since they were made: a table must not mix them with new ones."""
    for cell in list(stale_cells(plan, list(_results(workdir)), plugins_of(plan))):
        log.warning("%s was computed by code that has changed since; it is removed", cell.path)
        shutil.rmtree(cell.path, ignore_errors=True)


def clear_leftovers(workdir: Path) -> None:
    """Removes the leftovers of killed processes: hidden temporary folders and files that are older than an hour."""
    for path in [
        *workdir.glob("cells/*/*/.*"),
        *workdir.glob("stages/*/.*"),
        *workdir.glob("stages/*/progress/.*"),
    ]:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if time.time() - path.stat().st_mtime > HOUR:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    """Holds a file against other processes, until its text is written; a file system without locks is taken as it is."""
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        yield
        return
    try:
        yield
        file.flush()
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)


def append_timing(workdir: Path, row: dict[str, Any]) -> None:
    """Adds a line to timing.csv, the only file that depends on the time of day. Raises OSError if that is impossible."""
    path = workdir / "timing.csv"
    with path.open("a", newline="") as file, _locked(file):
        writer = csv.DictWriter(file, TIMING_COLUMNS, lineterminator="\n")
        if path.stat().st_size == 0:
            writer.writeheader()
        writer.writerow(
            {**row, "seconds": f"{row['seconds']:.2f}", "compile_seconds": f"{row['compile_seconds']:.2f}"}
        )


def describe_model(plan: Plan, network: Network) -> dict[str, Any]:
    """The description that is needed to use a stored model without this run's configuration."""
    return {
        "model": {
            "architecture": network.name,
            "num_classes": network.num_classes,
            "precision": network.precision,
            "network": asdict(network.config),
            "input_scaling": asdict(plan.training.scaling),
            "class_names": list(plan.source.class_names),
            "plugins": [code.record() for code in plugins_of(plan)],
        }
    }
