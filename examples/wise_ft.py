"""WiSE-FT: weights between the history model and the fine-tuned one (Wortsman et al. 2022, arXiv 2109.01903)."""

import jax

from seqfinal_jax.methods import Transform, method
from seqfinal_jax.methods.recipes.fine_tune import from_history, history_stage


def between(history, tuned, alpha):
    """(1 - alpha) · history + alpha · tuned, tensor by tensor."""
    return jax.tree.map(lambda a, b: (1 - alpha) * a + alpha * b, history, tuned)


@method("my_wise_ft", column="WiSE", legend="between history and fine-tuned", family="history, then adapt")
def my_wise_ft(setting):
    """The average of the history model and the fine-tuned one whose share validates best."""
    ends, shares = (history_stage(setting), from_history(setting)), [{"alpha": k / 10} for k in range(11)]
    return Transform(between, ends, candidates=shares, statistics=(setting.final_step,))
