"""Images in rows and columns, drawn pixel by pixel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.figures.palette import CAPTION_SIZE, FAINT, INK, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 0.72  # of a panel
LEFT, TOP = 1.35, 0.55


def image_grid(
    images: Sequence[Sequence[np.ndarray | None]],
    rows: Sequence[str],
    columns: Sequence[str] = (),
    titles: Sequence[Sequence[str]] = (),
    says: str = "",
) -> "Figure":
    """A figure of images (h,w,c) uint8; None leaves a crossed-out place.

    rows: a label beside each row. columns: a label above each column. titles: one above each image, instead.
    says: lines below them.
    """
    high, wide = len(images), max(map(len, images))
    extra = 0.17 * high if titles else 0
    extra += 0.16 * len(says.splitlines())
    figure = new_figure(LEFT + INCH * wide, TOP + INCH * high + extra)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    axes = figure.subplots(high, wide, squeeze=False)
    for r, row in enumerate(images):
        for c in range(wide):
            image = row[c] if c < len(row) else None
            draw_image(axes[r][c], image)
            title = titles[r][c] if titles else columns[c] if columns and r == 0 else ""
            if title:
                axes[r][c].set_title(title, fontsize=CAPTION_SIZE - 1.5, color=INK, pad=2)
        axes[r][0].set_ylabel(rows[r], fontsize=CAPTION_SIZE, color=INK, rotation=0, ha="right", va="center")
    if says:
        figure.supxlabel(says, fontsize=CAPTION_SIZE, color=INK, x=0.01, ha="left")
    return figure


def draw_image(axes: "Axes", image: np.ndarray | None) -> None:
    """One image without ticks, sampled to the nearest pixel; a cross where there is none."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if image is None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
        axes.plot([0, 1], [1, 0], color=FAINT, linewidth=0.8)
        axes.set_aspect("equal")
    elif image.shape[2] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.imshow(image[..., :3], interpolation="nearest")
