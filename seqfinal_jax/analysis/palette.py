"""Colours, markers and sizes that all figures share; colours are those of Okabe and Ito (2008)."""

from pathlib import Path
from typing import TYPE_CHECKING

from seqfinal_jax.analysis.run_folder import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, FAINT = "#222222", "#6E6E6E", "#C4C4C4"
DPI = 150
CAPTION_SIZE, LABEL_SIZE, TITLE_SIZE = 8, 9, 11

FAMILIES: dict[str, tuple[str, str]] = {
    "reference": (GREY, "s"),
    "all data": (BLUE, "o"),
    "history, then adapt": (ORANGE, "^"),
    "sequential": (GREEN, "D"),
    "joint": (PURPLE, "v"),
    "other": (INK, "X"),
}


def new_figure(width: float, height: float) -> "Figure":
    """A figure of that size in inches, laid out so that nothing overlaps or is cut off."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def clean_axes(axes: "Axes") -> None:
    """Two spines, a faint grid behind the data, readable ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=LABEL_SIZE - 1, color=GREY)


def save_png(figure: "Figure", path: Path) -> Path:
    """Writes a PNG whole or not at all."""
    import io

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return write_whole(path, content.getvalue())
