"""Methods that follow the sequence step by step (single-model spec, section 2.6)."""

from dataclasses import replace
from functools import partial

from seqfinal_jax.methods.method import FOLLOW, method
from seqfinal_jax.methods.nodes import Choice, Node, Stage
from seqfinal_jax.methods.recipes.adapt import (
    MODULES,
    TUNING,
    adapt,
    refused_options,
    standard_mode_only,
)
from seqfinal_jax.methods.recipes.layer_language import parse_layers
from seqfinal_jax.methods.recipes.learning_rates import decayed_rates, longest_linear
from seqfinal_jax.methods.recipes.naming import adapted_name, fixed_name
from seqfinal_jax.methods.setting import Setting


def source(setting: Setting) -> Node:
    """The source model, chosen among the learning rates.

    One stage per rate: the choice equals that of one search over all rates, and chains that use a single rate share its
    trainings.
    """
    grid = setting.plain_grid
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


following = partial(method, family=FOLLOW)


def named(end: str = "") -> dict:
    """The naming of a method that tunes step by step, with a decay's end."""
    return {"naming": adapted_name("sequential", f"sequential_fine_tune{end}", end)}


def long_for_linear(setting: Setting) -> str | None:
    """The message for a sequence that has too many steps for linear decay, or None."""
    if setting.options.mode == "standard" and setting.num_steps > longest_linear():
        return (
            f"sequential_fine_tune chooses between no decay and exponential decay: linear decay allows at most "
            f"{longest_linear()} time steps, and the sequence has {setting.num_steps}"
        )
    return None


@following(
    "sequential_fine_tune", column="SFT", legend="SFT", published=True, options=(*TUNING, *MODULES),
    refuses=refused_options, remark=long_for_linear, **named(),
)  # fmt: skip
def best_decay(setting: Setting) -> Node:
    """Step by step; the best of the next three, chosen by `config.protocol.decay_selection`."""
    if setting.options.mode != "standard":
        return follow(setting)
    if long_for_linear(setting):
        return Choice((without_decay(setting), exponential_decay(setting)), setting.options.decay_selection)
    decays = (without_decay(setting), linear_decay(setting), exponential_decay(setting))
    return Choice(decays, setting.options.decay_selection)


@following(
    "sequential_fine_tune_none", column="SFT none", legend="SFT no decay", options=(*TUNING, *MODULES),
    refuses=refused_options, **named("_none"),
)  # fmt: skip
def without_decay(setting: Setting) -> Node:
    """Step by step; the learning rate is searched at every step."""
    return follow(setting)


@following(
    "sequential_fine_tune_linear", column="SFT lin", legend="SFT lin decay", options=TUNING,
    aliases=("sequential_fine_tune_linear_lr_decay",), refuses=standard_mode_only, **named("_linear"),
)  # fmt: skip
def linear_decay(setting: Setting) -> Node:
    """Step by step; learning rates fall by a constant amount at every step."""
    return decaying(setting, "linear")


@following(
    "sequential_fine_tune_exponential", column="SFT exp", legend="SFT exp decay", options=TUNING,
    aliases=("sequential_fine_tune_exponential_lr_decay",), refuses=standard_mode_only, **named("_exponential"),
)  # fmt: skip
def exponential_decay(setting: Setting) -> Node:
    """Step by step; learning rates fall by a constant factor at every step."""
    return decaying(setting, "exponential")


@following(
    "sequential_ewc", column="EWC", legend="EWC", published=True, naming=fixed_name,
    aliases=("sequential_fine_tune_reg_all_previous_fisher",), fixed={"regularization": "fisher_all"},
)  # fmt: skip
def elastic_weights(setting: Setting) -> Node:
    """Step by step, held to all earlier models with Fisher weights (elastic weight consolidation)."""
    return follow(setting)


@following(
    "sequential_side_tune", column="SST-1", legend="sequential side tune", published=True,
    options=("side", "all_layers_efficient"), fixed={"mode": "side_tune"}, **named(),
)  # fmt: skip
def side_tune(setting: Setting) -> Node:
    """Step by step, with a new side module of one convolution at each step."""
    return follow(setting)


@following(
    "sequential_side_tune_block", column="SST-B", legend="sequential side tune block", published=True,
    options=("all_layers_efficient",), fixed={"mode": "side_tune", "side": "block"}, **named(),
)  # fmt: skip
def side_tune_block(setting: Setting) -> Node:
    """Step by step, with whole blocks as side modules at each step."""
    return follow(setting)
