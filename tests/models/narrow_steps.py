"""Narrow per-step networks of every family and form, for tests."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models import NetworkConfig, apply_network, build_network
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.network import apply_step, build_steps, init_steps

NARROW = {
    "convnet": NetworkConfig(image_shape=(16, 16, 3), stem_width=4, widths=(6, 8), strides=(1, 2)),
    "resnet": NetworkConfig(image_shape=(16, 16, 3), stem_width=4, widths=(4, 8), strides=(1, 2), units=1),
    "densenet": NetworkConfig(image_shape=(16, 16, 3), stem_width=4, width_factor=0.125, dense_layers=(2, 1)),
}
FORMS = {
    "separate": {},
    "partial": {"separate": "conv1,layer1:fc"},
    "block": {"mode": "side_tune", "side": "block"},
    "block_all": {"mode": "side_tune", "side": "block", "all_layers_efficient": True},
    "side": {"mode": "side_tune"},
    "side_sizes": {"mode": "side_tune", "side": (2,)},
    "add": {"mode": "low_rank_adapt", "adapter": Adapter("add", 1)},
    "multiply_all": {
        "mode": "low_rank_adapt",
        "adapter": Adapter("multiply", 1),
        "all_layers_efficient": True,
    },
}
ALL_CASES = [(f, o) for f in NARROW for o in FORMS if not (f == "convnet" and o in ("side", "side_sizes"))]
FURTHER = {("resnet", "side")}


def cases(*forms):
    """The families with these forms; other families than ConvNets in every form are rare tests."""
    return [
        pytest.param(*case, marks=() if case[0] == "convnet" or case in FURTHER else pytest.mark.rare)
        for case in ALL_CASES
        if case[1] in forms
    ]


def narrow_steps(family, form, steps=3):
    return build_steps(build_network(f"{family}-2", 3, NARROW[family]), steps, **FORMS[form])


def random_variables(network, seed=0):
    """Fresh variables with every batch norm made non-trivial."""
    random = np.random.RandomState(seed)
    variables = init_steps(network, jax.random.key(seed))
    noise = lambda leaf: 0.2 * random.uniform(size=leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) + noise(leaf)), variables)


@partial(jax.jit, static_argnames=("network", "step"))
def answer(network, variables, step, x):
    """Logits and outputs of one step in evaluation mode."""
    logits, _, outputs = apply_step(network, variables, step, x)
    return logits, outputs


@partial(jax.jit, static_argnames=("network",))
def plain_answer(network, variables, x):
    logits, _, outputs = apply_network(network, variables, x)
    return logits, outputs


def images(n=5):
    return jax.random.normal(jax.random.key(9), (n, 16, 16, 3))
