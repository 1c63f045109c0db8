"""The record of a figure of a run: drawn for every report, each on its own, so that one that fails costs no other.

@figure("gap")
def gap(workdir: Path) -> Path | list[Path] | None: ...
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from seqfinal_jax.analysis.plain_text import draw_texts_as_they_are
from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.plugins import outside_place
from seqfinal_jax.records.registry import Registry
from seqfinal_jax.results.run_folder import RunFolderError

log = logging.getLogger(__name__)
Draw = Callable[[Path], Path | list[Path] | None]


@dataclass(frozen=True)
class Figure:
    """One figure. draw: (run folder) -> the pictures that it wrote, each followed by the CSV file of its numbers where
    it has one; None where the folder has nothing to show."""

    name: str
    draw: Draw
    title: str


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the files, and the figures that failed with their reasons."""

    paths: list[Path]
    failed: list[tuple[str, str]]


FIGURES: Registry[Figure] = Registry("figure")


def figure(name: str) -> Callable[[Draw], Draw]:
    """Registers the function below it as a figure of every report; it is drawn with this project's settings."""

    def register(draw: Draw) -> Draw:
        origin = defined_in(draw)

        @wraps(draw)
        def styled(workdir: str | Path) -> Path | list[Path] | None:
            with house_style(mathematics=bool(origin)):
                return draw(Path(workdir))

        title = (draw.__doc__ or name).strip().split("\n")[0]
        FIGURES.add(name, Figure(name, styled, title), origin=origin)
        return styled

    return register


@contextlib.contextmanager
def house_style(mathematics: bool = False) -> Iterator[None]:
    """Matplotlib without a display and with its default settings, whatever the user's own are; they are put back.

    mathematics: whether texts between dollar signs are typeset; names of users are drawn as they are.
    """
    if "matplotlib" not in sys.modules:
        before = os.environ.get("MPLBACKEND")
        os.environ["MPLBACKEND"] = "agg"
        try:
            import matplotlib
        finally:
            os.environ.pop("MPLBACKEND")
            if before is not None:
                os.environ["MPLBACKEND"] = before
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        draw_texts_as_they_are(mathematics)
        yield


def draw_figures(workdir: str | Path) -> Drawn:
    """Draws every figure that a run folder has the data for; one that fails is a warning."""
    drawn = Drawn([], [])
    for name in FIGURES:
        try:
            found = FIGURES.get(name).draw(Path(workdir))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, RunFolderError):
                reason = str(error)
            reason = outside_place(error) + reason
            reason = " ".join(reason.split())
            log.warning("figure %s cannot be drawn: %s", name, reason)
            drawn.failed.append((name, reason))
            continue
        drawn.paths.extend(found if isinstance(found, list) else [found] if found else [])
    return drawn
