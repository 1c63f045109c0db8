"""The PyTorch networks of the benchmark are ours: equal counts, and equal answers through `from_torch`."""

import importlib

import jax
import numpy as np
import pytest

from seqfinal_jax.models import apply_network, build_network, from_torch, init_variables
from seqfinal_jax.models.parts.groups import full_count
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.training.objectives.penalties import squared_norm

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install -e '.[bench]')")
peers = importlib.import_module("benchmarks.torch_networks")


@pytest.mark.parametrize("architecture", peers.ARCHITECTURES)
def test_counts_are_equal(architecture):
    with torch.device("meta"):
        tensors = list(peers.torch_network(architecture, 20).parameters())
    network = build_network(architecture, 20)
    ours = jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0))["params"]
    assert sum(tensor.numel() for tensor in tensors) == full_count(ours)
    assert len(tensors) == len(jax.tree.leaves(ours))


def lived_in(architecture, classes):
    """A network whose batch norms have seen data and differ from channel to channel."""
    torch.manual_seed(0)
    peer = peers.torch_network(architecture, classes)
    with torch.no_grad():
        for module in peer.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
        for _ in range(3):
            peer(torch.randn(16, 3, 32, 32))
    return peer


def largest_difference(found, expected):
    """Largest deviation, relative to the largest expected value."""
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    "architecture",
    [
        "convnet-1",
        "convnet-4",
        "resnet-2",
        "resnet-4",
        "densenet-2",
        *(
            pytest.param(name, marks=pytest.mark.rare)
            for name in (
                "convnet-2",
                "convnet-3",
                "resnet-1",
                "resnet-3",
                "densenet-1",
                "densenet-3",
                "densenet-4",
            )
        ),
    ],
)
def test_answers_are_equal(architecture):
    peer = lived_in(architecture, 3)
    state = {name: tensor.numpy().copy() for name, tensor in peer.state_dict().items()}
    x = torch.randn(4, 3, 32, 32)
    config, variables = from_torch(architecture, 3, state)
    network = build_network(architecture, 3, config)
    images = np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())
    run = jax.jit(
        lambda v, x: (apply_network(network, v, x)[0], apply_network(network, v, x, Pass(train=True))[0])
    )
    evaluated, trained = run(variables, images)
    with torch.no_grad():
        expected_trained = peer.train()(x).numpy()
        peer.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
        expected = peer.eval()(x).numpy()
    assert largest_difference(evaluated, expected) < 1e-5
    assert largest_difference(trained, expected_trained) < (1e-3 if architecture == "densenet-4" else 1e-4)
    np.testing.assert_allclose(squared_norm(variables["params"]), peer.penalty().item(), rtol=1e-5)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown architecture 'resnet-5'; there are convnet-1"):
        peers.torch_network("resnet-5", 10)
