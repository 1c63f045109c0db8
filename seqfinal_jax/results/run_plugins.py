"""The plugins of a run folder: recorded and copied into it, and executed again only with this user's consent.

A run folder may come from someone else, so nothing in it runs by itself. A plugin runs if the user names its file, if
its digest is in the list that this user's own runs write, or if the user says that the copy may run.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqfinal_jax.records.cache_place import cache_dir
from seqfinal_jax.records.code_identity import PACKAGE
from seqfinal_jax.records.plugin_code import PluginCode, code_in, read_code
from seqfinal_jax.records.plugins import is_loaded, load_plugins, run_code
from seqfinal_jax.results.run_folder import read_environment, write_whole

log = logging.getLogger(__name__)
FOLDER, LIST = "plugins", "trusted-plugins.txt"
Record = Mapping[str, Any]


class UntrustedPlugin(ValueError):
    """A stored model or figure needs code that this user has not allowed to run; the message says how to allow it."""


def keep_plugins(workdir: Path, codes: Sequence[PluginCode]) -> None:
    """Copies a run's plugins into its folder, and notes that this user ran them; a failure is logged as a warning."""
    for code in codes:
        folder = copy_folder(workdir, code.digest)
        try:
            for name, content in code.files.items():
                if not (folder / name).exists():
                    write_whole(folder / name, content)
            _trust(code)
        except OSError as error:
            log.warning("no copy of the plugin %s is kept: %s", code.name, error)


def copy_folder(workdir: Path, digest: str) -> Path:
    """The folder of a plugin's copy in a run folder. Raises ValueError for a malformed digest."""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"{workdir}: expected the SHA-256 of a plugin, found {digest[:80]!r}")
    return workdir / FOLDER / digest[:16]


def _trust(code: PluginCode) -> None:
    if code.digest in _trusted():
        return
    path = cache_dir() / LIST
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
        file.write(f"{code.digest} {code.path}\n")


def _trusted() -> set[str]:
    """The digests of the plugins that this user's runs executed; none where the list is somebody else's."""
    path = cache_dir() / LIST
    try:
        if hasattr(os, "geteuid") and path.stat().st_uid != os.geteuid():
            return set()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {line.split(" ")[0] for line in lines if line}


def records_of(workdir: str | Path) -> list[Record]:
    """The entries of a run folder about its plugins."""
    return list(read_environment(workdir).get("plugins", ()))


def load_recorded(
    records: Sequence[Record | str],
    workdir: Path | None,
    plugins: Sequence[str] = (),
    trust_code: bool = False,
) -> None:
    """Loads the plugins that a model or figure of a run folder needs.

    Args:
        records: the recorded entry of each plugin; only its name in folders of versions that did not keep code.
        workdir: the run folder, or None where it is not known.
        plugins: files that the user names.
        trust_code: whether copies in the run folder may be executed.

    Raises:
        UntrustedPlugin: a plugin is neither named, nor known from this user's runs, nor allowed by `trust_code`.
        PluginError: a plugin cannot be loaded.
    """
    named = load_plugins(plugins)
    for record in records:
        if isinstance(record, str):
            _load_unrecorded(record, named)
        elif not _is_there(record, named):
            run_code(_trusted_code(record, workdir, trust_code))


def _load_unrecorded(name: str, named: Sequence[PluginCode]) -> None:
    """A plugin of which an earlier version recorded nothing but the name."""
    if not any(Path(code.name).name == Path(name).name for code in named):
        raise UntrustedPlugin(
            f"it needs the plugin {name}, whose code was not recorded; name its file with plugins=({name!r},) or "
            f"--plugins={name}"
        )


def _is_there(record: Record, named: Sequence[PluginCode]) -> bool:
    """Whether the user has named a plugin, or it runs already."""
    if any(code.digest == record["digest"] for code in named) or is_loaded(record["digest"]):
        return True
    others = [code for code in named if code.path.name == Path(record["path"]).name]
    for code in others:
        log.warning("%s is not the code that was used in the run: it has changed since", code.path)
    return bool(others)


def _trusted_code(record: Record, workdir: Path | None, trust_code: bool) -> PluginCode:
    """The recorded code, where it may run: the user's own file if it still is that, else the copy."""
    known = record["digest"] in _trusted()
    path, copy = Path(record["path"]), copy_folder(workdir, record["digest"]) if workdir else None
    if known and (own := _read(lambda: read_code(record["name"], path), record)):
        return own
    if (known or trust_code) and copy and (kept := _read(lambda: code_in(dict(record), copy), record)):
        return kept
    if known or trust_code:
        raise UntrustedPlugin(
            f"it needs the plugin {path} as it was in the run (sha256 {record['digest'][:12]}), and neither that file "
            f"nor a copy in {copy or 'the run folder'} is that; name the file to take with plugins=(FILE,) or "
            f"--plugins=FILE"
        )
    raise UntrustedPlugin(
        f"it needs the plugin {path} (sha256 {record['digest'][:12]}), which no run of yours has used; name its file "
        f"with plugins=(FILE,) or --plugins=FILE, or, if you trust it, run the copy in {copy or 'the run folder'} with "
        f"trust_code=True or --trust_code"
    )


def _read(read: Any, record: Record) -> PluginCode | None:
    """The code where it can be read and is what was recorded."""
    try:
        code = read()
    except OSError:
        return None
    return code if code.digest == record["digest"] and PACKAGE not in code.path.parents else None
