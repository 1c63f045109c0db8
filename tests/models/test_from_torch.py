"""State dictionaries: names of both kinds, every key accounted for, and the way back."""

import jax
import numpy as np
import pytest

from seqfinal_jax.models import NetworkConfig, build_network, init_variables
from seqfinal_jax.models.convert.from_torch import canonical_name, from_torch, to_torch

SIZES = {
    "convnet-2": NetworkConfig(stem_width=4, widths=(6, 8)),
    "resnet-2": NetworkConfig(stem_width=4, widths=(6, 8), units=2),
    "densenet-2": NetworkConfig(stem_width=8, dense_layers=(2, 1)),
}


def state_of(architecture, classes=3):
    network = build_network(architecture, classes, SIZES[architecture])
    variables = jax.tree.map(np.asarray, init_variables(network, jax.random.key(0)))
    return variables, to_torch(variables)


@pytest.mark.parametrize("architecture", SIZES)
def test_there_and_back(architecture):
    variables, state = state_of(architecture)
    config, again = from_torch(architecture, 3, state)
    assert config == SIZES[architecture]
    jax.tree.map(np.testing.assert_array_equal, again, variables)


PUBLISHED = {
    "conv1.0.weight": "conv1.conv.weight",
    "conv1.1.running_var": "conv1.bn.running_var",
    "blocks.1.0.weight": "layer2.conv.weight",
    "blocks.1.1.bias": "layer2.bn.bias",
    "blocks.0.1.conv2.weight": "layer1.1.conv2.weight",
    "blocks.0.0.bn1.running_mean": "layer1.0.bn1.running_mean",
    "blocks.2.0.downsample.0.weight": "layer3.0.downsample.conv.weight",
    "blocks.2.0.downsample.1.weight": "layer3.0.downsample.bn.weight",
    "blocks.0.0.denselayer3.norm1.weight": "layer1.dense3.bn1.weight",
    "blocks.1.denselayer12.conv2.weight": "layer2.dense12.conv2.weight",
    "blocks.0.1.norm.bias": "layer1.transition.bn.bias",
    "blocks.0.1.conv.weight": "layer1.transition.conv.weight",
    "fc.2.weight": "fc.linear.weight",
    "fc.4.bias": "fc.linear.bias",
    "fc.0.running_mean": "fc.bn.running_mean",
    "blocks.0.1.norm.num_batches_tracked": None,
    "layers.0.0.weight": None,
}


@pytest.mark.parametrize(("key", "name"), PUBLISHED.items())
def test_published_keys(key, name):
    assert canonical_name(key) == name


def test_what_does_not_fit_is_named():
    _, state = state_of("resnet-2")
    state["layer1.0.bn1.weight"] = state["layer1.0.bn1.weight"][:2]
    state["stranger"] = state.pop("fc.linear.bias")
    with pytest.raises(ValueError) as error:
        from_torch("resnet-2", 3, state)
    said = str(error.value)
    assert "missing fc.linear.bias" in said and "surplus stranger" in said
    assert "layer1.0.bn1.weight has shape (2,), expected (6,)" in said
