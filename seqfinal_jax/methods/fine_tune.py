"""Methods that train on history and then adapt to the final step (single-model spec, section 2.5)."""

from seqfinal_jax.methods.recipe import Setting, Stage, recipe


def history_stage(setting: Setting) -> Stage:
    """All steps but the final one pooled, training and validation sets alike; shared by all that start from it."""
    steps = setting.history
    return Stage("history", "start", train=steps, valid=steps, grid=setting.grid)


@recipe("erm_fine_tune")
def erm_fine_tune(setting: Setting) -> Stage:
    """History first, then all layers on the final step."""
    last = (setting.final_step,)
    start = history_stage(setting)
    return Stage("final", "final", train=last, valid=last, grid=setting.grid, start=start)
