"""Draws the figures of run folders.

Command   python -m seqfinal_jax.analysis.figures RUN [RUN...] [--paper --data_dir=DIR]

Without --paper: the figures of the report, each folder's into its own figures/. With --paper: the published kinds of
figure (interpolations, weight projections, SVCCA) for all models that the folders, which must be of one sequence, hold.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from seqfinal_jax.analysis.figures.every import draw_figures
from seqfinal_jax.analysis.run_code import load_figure_plugins
from seqfinal_jax.analysis.weight_space.choice import Choice, choice_parser, run_command
from seqfinal_jax.results.run_folder import check_run_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws and prints the paths; 2 where a folder cannot be read or nothing can be drawn."""
    parser = choice_parser(__doc__)
    parser.add_argument("--paper", action="store_true", help="the published kinds of figure")
    return run_command(parser, _draw, arguments)


def _draw(choice: Choice, options: Any, console: Console) -> list[Path]:
    if options.paper:
        from seqfinal_jax.analysis.paper_figures import paper_figures

        return paper_figures(choice, console)
    asked = [name for name in ("architecture", "seed", "methods", "names", "title") if getattr(options, name)]
    if asked or options.seed is not None:
        raise ValueError(
            f"--{asked[0] if asked else 'seed'} goes with --paper; a report's figures show all cells"
        )
    if options.out:
        raise ValueError("--out goes with --paper; a report's figures go into each run folder")
    for run in choice.runs:
        load_figure_plugins(run)
    return [path for run in choice.runs for path in draw_figures(check_run_folder(run)).paths]
