"""The figures of the publication, for the models that run folders hold.

The lists are those of the published plotting script (analysis specification, section 6). A ConvNet has no small side
modules, so that the columns of single convolutions have no models there.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from seqfinal_jax.analysis import interpolation, projection, svcca
from seqfinal_jax.analysis.tables.labels import architectures_in_order, listed
from seqfinal_jax.analysis.weight_space.choice import Choice

SEQUENTIAL = (
    "sequential_fine_tune", "sequential_fine_tune_none", "sequential_fine_tune_exponential",
    "sequential_fine_tune_linear", "sequential_ewc",
)  # fmt: skip
ADAPTED = ("erm_fine_tune", "erm_linear_probe_fine_tune")
SIDE = ("erm_side_tune", "erm_side_tune_block")
DOMAINS = ("irm_fine_tune", "dro_fine_tune")
POOLED = ("erm_final", "erm_all", "irm_all", "dro_all")
SEQUENTIAL_SIDE = ("sequential_side_tune", "sequential_side_tune_block")
JOINT_SIDE = ("joint_side_tune", "joint_side_tune_block")

INTERPOLATED = (*ADAPTED, *SIDE, *DOMAINS, *SEQUENTIAL, *SEQUENTIAL_SIDE, "joint", *JOINT_SIDE)
PROJECTED = (*POOLED, *ADAPTED, *DOMAINS, *SEQUENTIAL, "joint")
COMPARED = (*POOLED, *ADAPTED, *DOMAINS, *SIDE, *SEQUENTIAL, *SEQUENTIAL_SIDE, "joint", *JOINT_SIDE)


def paper_figures(choice: Choice, console: Console) -> list[Path]:
    """Draws interpolations (merged for several architectures), projections and SVCCA of all that is done.

    What cannot be drawn, and what lacks for a figure, is printed. Raises ValueError where nothing is done, or nothing
    could be drawn.
    """
    cells = choice.cells()
    names = choice.architectures or tuple(architectures_in_order(cell.architecture for cell in cells))
    done = {cell.method for cell in cells}
    kinds: tuple[tuple[str, Sequence[str], Callable[[Choice], list[Path]]], ...] = (
        ("interpolation", INTERPOLATED, lambda own: interpolation.draw(own, 101, "every", console)),
        ("projection", PROJECTED, lambda own: projection.draw(own, "plain", console)),
        ("svcca", COMPARED, lambda own: svcca.draw(own, console)),
    )
    written = []
    for kind, methods, draw in kinds:
        lacking = [method for method in methods if method not in done]
        if lacking:
            console.print(f"{kind}: no models of {listed(lacking)}", soft_wrap=True, markup=False)
        own = replace(choice, methods=tuple(m for m in methods if m in done))
        written += _drawn(kind, own, names, draw, console)
    if not written:
        raise ValueError("no figure could be drawn; the lines above say why")
    return written


def _drawn(
    kind: str,
    choice: Choice,
    names: Sequence[str],
    draw: Callable[[Choice], list[Path]],
    console: Console,
) -> list[Path]:
    """One kind of figure: of all architectures together where that is possible, else of each that has the models."""
    if not choice.methods:
        return []
    try:
        return draw(replace(choice, architectures=tuple(names)))
    except ValueError as error:
        console.print(f"{kind} is not drawn: {error}", soft_wrap=True, markup=False)
        if len(names) == 1:
            return []
    return [p for name in names for p in _drawn(f"{kind} of {name}", choice, (name,), draw, console)]
