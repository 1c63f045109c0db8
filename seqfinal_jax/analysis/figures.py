"""The figures of a run folder, drawn with matplotlib, which is imported only when one is drawn.

Command   python -m seqfinal_jax.analysis.report WORKDIR
"""

from pathlib import Path

from seqfinal_jax.analysis.efficient_sweep import efficient_sweeps
from seqfinal_jax.analysis.learning_curves import learning_curves
from seqfinal_jax.analysis.method_chart import method_chart
from seqfinal_jax.analysis.sample_usage import sample_usage
from seqfinal_jax.analysis.weight_change import weight_change

__all__ = [
    "draw_figures",
    "efficient_sweeps",
    "learning_curves",
    "method_chart",
    "sample_usage",
    "weight_change",
]


def draw_figures(workdir: str | Path) -> list[Path]:
    """Draws every figure a run folder has the data for.

    Returns:
        The pictures; one whose numbers are written as CSV is followed by that file.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    chart = method_chart(workdir)
    others = (learning_curves, weight_change, sample_usage, efficient_sweeps)
    return [*([chart] if chart else []), *(path for draw in others for path in draw(workdir))]
