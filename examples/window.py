"""Fine-tuning after the last k steps of history only; validation chooses k."""

from dataclasses import replace

from seqfinal_jax.methods import Choice, Stage, method
from seqfinal_jax.methods.recipes.fine_tune import history_stage


@method(
    "my_window", column="Window", legend="window of history, then fine-tune", family="history, then adapt"
)
def my_window(setting):
    """History of the last k steps, then the final step, with the k that validates best; all steps come first."""
    whole, last, sizes = history_stage(setting), (setting.final_step,), range(len(setting.history), 0, -1)
    windows = [replace(whole, train=whole.train[-k:], valid=whole.valid[-k:]) for k in sizes]
    tuned = [Stage("final", "final", last, last, setting.plain_grid, start=each) for each in windows]
    return Choice(tuple(tuned), names=[{"k": k} for k in sizes])
