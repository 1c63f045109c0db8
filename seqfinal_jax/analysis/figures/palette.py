"""Colours, markers and sizes that all figures share; colours are those of Okabe and Ito (2008)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqfinal_jax.results.run_folder import write_whole

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SKY, BLACK = "#56B4E9", "#000000"
INK, GREY, FAINT, BAND = "#222222", "#5A5A5A", "#C4C4C4", "#F4F4F4"
DPI = 150
CAPTION_SIZE, LABEL_SIZE, TITLE_SIZE = 8, 9, 11

ARCHITECTURE_COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
ARCHITECTURE_MARKERS = ("o", "s", "^", "v", "P", "X")


def architecture_style(place: int) -> tuple[str, str]:
    """Colour and marker of an architecture by its place; 42 differ, as 7 colours and 6 markers share no factor."""
    colors, markers = ARCHITECTURE_COLORS, ARCHITECTURE_MARKERS
    return colors[place % len(colors)], markers[place % len(markers)]


METHOD_MARKERS = "osv^DPX*<>hp"


def method_style(place: int) -> tuple[str, str]:
    """Colour and marker of a method by its place; 84 differ, as 7 colours and 12 markers share no factor."""
    return ARCHITECTURE_COLORS[place % len(ARCHITECTURE_COLORS)], METHOD_MARKERS[place % len(METHOD_MARKERS)]


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


def heat_map(
    axes: "Axes", values: "np.ndarray", most: float, texts: Sequence[Sequence[str]] | None = None
) -> None:
    """A matrix in one hue from light (0) to dark (`most`), with texts that stand out on it; 0 stays white."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    hue = LinearSegmentedColormap.from_list("blues", ["#E8F1F8", BLUE, "#00304D"])
    axes.imshow(np.where(values > 0, values, np.nan), cmap=hue, vmin=0, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(values) if texts else ():
        axes.text(
            column, row, texts[row][column], ha="center", va="center", fontsize=CAPTION_SIZE,
            color="white" if value > 0.4 * most else INK,
        )  # fmt: skip
    axes.tick_params(length=0, labelsize=CAPTION_SIZE)
    axes.spines[:].set_visible(False)


def legend_below(figure: "Figure", handles: Sequence[Any], title: str = "") -> None:
    """A legend under the axes, of as many columns as fit the figure's width."""
    longest = max(len(handle.get_label()) for handle in handles)
    width = CAPTION_SIZE * (0.6 * longest + 6) / 72  # inches: letters are 0.6 of their size wide
    columns = max(1, min(len(handles), int(figure.get_figwidth() / width)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=CAPTION_SIZE, frameon=False,
        title=title or None, title_fontsize=CAPTION_SIZE, handlelength=3,
    )  # fmt: skip


def save_png(figure: "Figure", path: Path) -> Path:
    """Writes a PNG whole or not at all."""
    return _save(figure, path, DPI)


def save_picture(figure: "Figure", path: Path) -> list[Path]:
    """Writes a PNG of 300 dots an inch and a PDF; the ending of `path` is theirs."""
    return [_save(figure, path.with_name(f"{path.name}{end}"), 2 * DPI) for end in (".png", ".pdf")]


def _save(figure: "Figure", path: Path, dpi: int) -> Path:
    import io

    kind, content = path.suffix[1:], io.BytesIO()
    metadata = {"CreationDate": None} if kind == "pdf" else None  # so that equal figures are equal files
    figure.savefig(content, format=kind, dpi=dpi, metadata=metadata)
    return write_whole(path, content.getvalue())
