"""Which plugins of run folders a command may execute: those that its flags name, and those of this user's own runs."""

import argparse
import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from seqfinal_jax.records.plugins import PluginError, names_of
from seqfinal_jax.results.run_folder import read_config
from seqfinal_jax.results.run_plugins import UntrustedPlugin, load_recorded, records_of
from seqfinal_jax.stored_model import StoredModel, load_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Permission:
    """What the flags of a command allow."""

    plugins: tuple[str, ...] = ()
    trust_code: bool = False


_permission: ContextVar[Permission | None] = ContextVar("permission", default=None)


def add_code_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a command that may execute plugins of run folders."""
    parser.add_argument(
        "--plugins", default="", help="your own files that the runs need, separated by commas"
    )
    parser.add_argument(
        "--trust_code",
        action="store_true",
        help="run the copies of plugins in the run folders, even those of other people",
    )


@contextlib.contextmanager
def allowed_code(options: argparse.Namespace) -> Iterator[None]:
    """What the flags allow, while the command runs."""
    token = _permission.set(Permission(names_of(options.plugins), options.trust_code))
    try:
        yield
    finally:
        _permission.reset(token)


def load_run_plugins(workdir: str | Path) -> None:
    """Loads the plugins of a run. Raises UntrustedPlugin, a ValueError, for one that may not be executed."""
    records = records_of(workdir) or list(read_config(workdir).get("plugins", ()))
    allowed = _permission.get() or Permission()
    load_recorded(records, Path(workdir), allowed.plugins, allowed.trust_code)


def load_figure_plugins(workdir: str | Path) -> None:
    """The same for a report, whose tables need no code: one that cannot be loaded is a warning."""
    try:
        load_run_plugins(workdir)
    except (UntrustedPlugin, PluginError) as error:
        log.warning("figures of plugins are not drawn: %s", error)


def load_run_model(path: str | Path) -> StoredModel:
    """A stored model, with the plugins that the command may execute."""
    allowed = _permission.get() or Permission()
    return load_model(path, allowed.plugins, allowed.trust_code)
