"""Convolutions on a CPU's units for bfloat16: every form's three products, whole networks, and a CPU that fails."""

import logging
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from seqfinal_jax.models import NetworkConfig, apply_network, build_network, init_variables
from seqfinal_jax.models.families.architectures import published_architectures
from seqfinal_jax.models.parts import layers, precision
from seqfinal_jax.models.parts.convolution import choose_form, conv
from seqfinal_jax.models.parts.cpu_bfloat16 import conv_in_bfloat16
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.runs.environment import machine
from seqfinal_jax.training.engine.fit import fit
from tests.training.tiny import assert_equal, grid, settings, tiny_problem

needs_units = pytest.mark.skipif(not precision.cpu_units(), reason="this CPU has no units for bfloat16")
# (n,h,w,c), (kh,kw,o), stride, padding: the layers of the three families, and sizes that none of them has.
LAYERS = {
    "stem": ((4, 16, 16, 3), (7, 7, 8), 2, 3),
    "stem of odd sizes": ((3, 13, 11, 1), (5, 5, 7), 2, 2),
    "same size": ((4, 8, 8, 6), (3, 3, 10), 1, 1),
    "same size, large kernel": ((2, 6, 6, 5), (5, 5, 6), 1, 2),
    "fewer outputs": ((4, 8, 8, 12), (3, 3, 4), 1, 1),
    "stride 2": ((4, 8, 8, 6), (3, 3, 10), 2, 1),
    "odd numbers of pixels": ((3, 5, 5, 6), (3, 3, 10), 2, 1),
    "projection": ((4, 8, 8, 6), (1, 1, 10), 2, 0),
    "1x1": ((4, 4, 4, 6), (1, 1, 3), 1, 0),
    "maps of 2x2": ((6, 2, 2, 5), (3, 3, 7), 1, 1),
    "maps of one pixel": ((7, 1, 1, 5), (3, 3, 7), 1, 1),
    "one image": ((1, 1, 1, 5), (3, 3, 7), 1, 1),
    "wide": ((3, 4, 8, 6), (3, 3, 6), 1, 1),
}
NETWORKS = [
    n if n == "convnet-1" else pytest.param(n, marks=pytest.mark.rare) for n in published_architectures()
]


def rounded(x) -> np.ndarray:
    """The nearest numbers of bfloat16, by another library than the one that is tested."""
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float32)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def out_and_gradients(layer, x, kernel, above):
    out, back = jax.vjp(layer, x, kernel)
    return out, *back(above)


def test_the_layers_here_have_every_form():
    forms = {
        choose_form(x, (*k[:2], x[3], k[2]), stride, padding) for x, k, stride, padding in LAYERS.values()
    }
    assert forms == {"tap_rows", "patches", "shifts", "whole"}


@needs_units
@pytest.mark.parametrize("over_members", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LAYERS)
def test_products_are_those_of_rounded_operands(name, over_members):
    """Against XLA's own convolution in float32, forward and both gradients, alone and under `vmap`."""
    size, (height, width, features), stride, padding = LAYERS[name]
    x, kernel = random(2, *size), random(2, height, width, size[3], features, seed=1)
    plain = partial(conv, stride=stride, padding=padding, form="native")
    above = random(2, *jax.eval_shape(plain, x[0], kernel[0]).shape, seed=2)
    ours = partial(out_and_gradients, partial(conv_in_bfloat16, stride=stride, padding=padding))
    if over_members:
        found = jax.jit(jax.vmap(ours))(x, kernel, above)
    else:
        found = jax.jit(partial(jax.lax.map, lambda args: ours(*args)))((x, kernel, above))
    exact = jax.vmap(partial(out_and_gradients, plain))(rounded(x), rounded(kernel), rounded(above))
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


def logits_and_gradients(network, variables, x, labels) -> tuple[np.ndarray, np.ndarray]:
    def loss(params):
        logits = apply_network(network, {**variables, "params": params}, x, Pass(train=True))[0]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    return np.asarray(logits), np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradients)])


@needs_units
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_on_the_units_is_nearer_to_the_emulated_one_than_float32_is(name, monkeypatch):
    """Another order of sums moves a number to the other side of a rounding, the more often the deeper the network."""
    network = build_network(name, 10, NetworkConfig(width_factor=0.25), "bfloat16")
    full = replace(network, precision="highest")
    arguments = init_variables(network, jax.random.key(1)), random(20, 32, 32, 3), np.arange(20) % 10
    calls, product = [], layers.conv_in_bfloat16
    monkeypatch.setattr(layers, "conv_in_bfloat16", lambda *x, **how: calls.append(1) or product(*x, **how))
    on_units = logits_and_gradients(network, *arguments)
    assert calls and precision.units_in_use()
    monkeypatch.setattr(precision, "cpu_units", lambda: ())
    emulated, in_float32 = (logits_and_gradients(each, *arguments) for each in (network, full))
    for found, expected, other in zip(on_units, emulated, in_float32, strict=True):
        assert np.linalg.norm(found - expected) < 0.9 * np.linalg.norm(other - expected)


def test_float64_does_not_go_to_the_units(monkeypatch):
    monkeypatch.setattr(precision, "cpu_units", lambda: ("amx_bf16",))
    with precision.products_in("bfloat16"), jax.enable_x64(True):
        x = jnp.asarray(random(4, 3), jnp.float64)
        found = precision.layer_product(jnp.matmul, x, x.T, lambda *_: pytest.fail("float64 on the units"))
    np.testing.assert_allclose(found, rounded(x).astype(np.float64) @ rounded(x).T.astype(np.float64))


def test_units_are_those_that_linux_lists(tmp_path):
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16 sse2 amx_tile\nflags\t\t: other\n")
    assert precision.cpu_units(listed) == ("amx_bf16",)
    listed.write_text("Features\t: fp asimd bf16\n")
    assert precision.cpu_units(listed / "none") == precision.cpu_units(tmp_path) == ()


def test_the_machine_of_a_run_in_bfloat16_names_its_units(monkeypatch):
    assert "bfloat16_units" not in machine()
    for units in (("amx_bf16",), ()):
        monkeypatch.setattr(precision, "cpu_units", lambda units=units: units)
        assert machine("bfloat16")["bfloat16_units"] == list(units)


def low_problem():
    problem = tiny_problem()
    network = replace(problem.objective.network, precision="bfloat16")
    return replace(problem, objective=replace(problem.objective, network=network))


@pytest.fixture
def units_again():
    """Units may be used again after a test in which they failed."""
    yield
    precision.allow_units(True)


def test_where_a_product_fails_the_fit_goes_on_in_float32(monkeypatch, caplog, units_again):
    """The error is XLA's own, at run time; the result is that of the emulated products, bit for bit."""
    caplog.set_level(logging.WARNING)
    precision.allow_units(False)
    emulated = fit(low_problem(), grid()[:1], settings())
    monkeypatch.setattr(precision, "cpu_units", lambda: ("amx_bf16",))

    def fails(x, kernel, stride, padding):
        raise jax.errors.JaxRuntimeError(
            "UNIMPLEMENTED: Unsupported element type for DotThunk: BF16 x BF16 = F32"
        )

    monkeypatch.setattr(layers, "conv_in_bfloat16", fails)
    precision.allow_units(True)
    found = fit(low_problem(), grid()[:1], settings())
    assert caplog.text.count("multiplied in float32") == 1
    assert_equal([each.best for each in found], [each.best for each in emulated])
