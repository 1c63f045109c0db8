"""The figures of this package, in the order of the report; importing this module registers them.

Command   python -m seqfinal_jax.analysis.report WORKDIR
"""

from seqfinal_jax.analysis.figures.method_chart import method_chart
from seqfinal_jax.analysis.figures.record import draw_figures

# isort: split
from seqfinal_jax.analysis.figures.cost_chart import cost_chart

# isort: split
from seqfinal_jax.analysis.figures.data_examples import data_examples

# isort: split
from seqfinal_jax.analysis.figures.confusion import confusion

# isort: split
from seqfinal_jax.analysis.figures.learning_curves import learning_curves

# isort: split
from seqfinal_jax.analysis.figures.weight_change import weight_change

# isort: split
from seqfinal_jax.analysis.figures.sample_usage import sample_usage

# isort: split
from seqfinal_jax.analysis.figures.efficient_sweep import efficient_sweeps

__all__ = [
    "confusion",
    "cost_chart",
    "data_examples",
    "draw_figures",
    "efficient_sweeps",
    "learning_curves",
    "method_chart",
    "sample_usage",
    "weight_change",
]
