"""Methods that follow the sequence step by step (single-model spec, section 2.6)."""

from dataclasses import replace

from seqfinal_jax.methods.adapt import adapt
from seqfinal_jax.methods.layer_language import parse_layers
from seqfinal_jax.methods.learning_rates import decayed_rates
from seqfinal_jax.methods.recipe import Choice, Node, Setting, Stage, recipe
from seqfinal_jax.methods.single import plain


def source(setting: Setting) -> Node:
    """The source model, chosen among the learning rates.

    One stage a rate: the choice is what one search over all rates would give, and chains that take a single rate share
    its fits.
    """
    grid = plain(setting).grid
    stages = [
        Stage("source", "source", (0,), (0,), replace(grid, learning_rate=(rate,)))
        for rate in grid.learning_rate
    ]
    return stages[0] if len(stages) == 1 else Choice(tuple(stages))


def follow(setting: Setting, rates: tuple[float, ...] | None = None) -> Node:
    """Source, then every later step in turn; `rates` gives each step a single learning rate."""

    def at(step: int) -> Setting:
        grid = setting.grid if rates is None else replace(setting.grid, learning_rate=(rates[step],))
        return replace(setting, grid=grid)

    targets = setting.all_steps[1:]
    layers = parse_layers(setting.options.layers, setting.num_blocks, len(targets), sequential=True)
    node = source(at(0))
    past = [node]
    for step in targets:
        node = adapt(at(step), node, step, layers[(step - 1) % len(layers)], tuple(past))
        past.append(node)
    return node


def decaying(setting: Setting, decay: str) -> Node:
    """All chains of a decay; the final step's validation set chooses."""
    chains = tuple(follow(setting, rates) for rates in decayed_rates(decay, setting.num_steps))
    return chains[0] if len(chains) == 1 else Choice(chains)


@recipe("sequential_fine_tune_none")
def without_decay(setting: Setting) -> Node:
    """The learning rate is searched at every step."""
    return follow(setting)


@recipe("sequential_fine_tune_linear")
def linear_decay(setting: Setting) -> Node:
    """Rates that fall by a constant amount a step."""
    return decaying(setting, "linear")


@recipe("sequential_fine_tune_exponential")
def exponential_decay(setting: Setting) -> Node:
    """Rates that fall by a constant factor a step."""
    return decaying(setting, "exponential")


@recipe("sequential_fine_tune")
def best_decay(setting: Setting) -> Node:
    """The best of the three, by validation or, as published, by test accuracy. Outside standard mode: no decay."""
    if setting.options.mode != "standard":
        return follow(setting)
    decays = (without_decay(setting), linear_decay(setting), exponential_decay(setting))
    return Choice(decays, setting.options.decay_selection)


for method in ("sequential_ewc", "sequential_side_tune", "sequential_side_tune_block"):
    recipe(method)(follow)
