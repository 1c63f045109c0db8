"""The figures of a run folder, drawn with matplotlib, which is imported only when one is drawn.

Command   python -m seqfinal_jax.analysis.report WORKDIR
"""

from pathlib import Path

from seqfinal_jax.analysis.learning_curves import learning_curves
from seqfinal_jax.analysis.method_chart import method_chart

__all__ = ["draw_figures", "learning_curves", "method_chart"]


def draw_figures(workdir: str | Path) -> list[Path]:
    """Draws every figure a run folder has the data for.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    chart = method_chart(workdir)
    return [*([chart] if chart else []), *learning_curves(workdir)]
