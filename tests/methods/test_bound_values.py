"""Functions that one factory makes differ in the values that they hold, and count as different."""

import importlib.util
import subprocess
import sys

import pytest

from seqfinal_jax.methods import Stage
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import Transform, described

MINE = """
import functools
from dataclasses import dataclass

import jax
import numpy as np
from seqfinal_jax.methods.stages.objectives import Pooled
from seqfinal_jax.training.objectives.risk import EmpiricalRisk


def mixing(share):
    import math

    def mixed(a, b):
        return jax.tree.map(lambda x, y: (1 - share) * x + share * math.fabs(1) * y, a, b)
    return mixed


def defaulting(share):
    def mixed(a, b, share=share):
        return a
    return mixed


def plain(a, b, share=0.5):
    return a


def nested():
    def inner(a, b):
        return a
    return inner


def smoothing(strength):
    class Risk(EmpiricalRisk):
        def sample_losses(self, logits, labels, hyper):
            return strength * super().sample_losses(logits, labels, hyper)

    @dataclass(frozen=True)
    class Smoothed(Pooled):
        risk_class = Risk
    return Smoothed()


def choosing(risk):
    @dataclass(frozen=True)
    class Chosen(Pooled):
        risk_class = risk
    return Chosen()


@dataclass(frozen=True)
class Mixer:
    share: float

    def __call__(self, a, b):
        return a

    def method(self, a, b):
        return a


class Loose:
    def __init__(self, share):
        self.share = share

    def __call__(self, a, b):
        return a

    def method(self, a, b):
        return a


def array_mixing(share):
    values = np.full(3, share)
    def mixed(a, b):
        return values
    return mixed


shares = [lambda a, b: a, lambda a, b: b]
half, most = functools.partial(plain, share=0.5), functools.partial(plain, share=0.9)
unsayable = functools.partial(plain, share=np.ones(2))
jitted = [jax.jit(mixing(0.0)), jax.jit(mixing(0.9))]
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "factories_of_mine.py"
    path.write_text(MINE)
    spec = importlib.util.spec_from_file_location("factories_of_mine", path)
    module = sys.modules["factories_of_mine"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["factories_of_mine"]


FINAL = Stage("final", "final", (3,), (3,), Grid())


def key(function):
    return Transform(function, (FINAL, FINAL)).key


@pytest.mark.parametrize(
    "pair",
    [
        lambda m: (m.mixing(0.0), m.mixing(0.9)),
        lambda m: (m.defaulting(0.0), m.defaulting(0.9)),
        lambda m: (m.half, m.most),
        lambda m: (m.Mixer(0.0), m.Mixer(0.9)),
        lambda m: (m.Mixer(0.0).method, m.Mixer(0.9).method),
        lambda m: m.jitted,
        lambda m: (m.mixing(m.mixing(0.0)), m.mixing(m.mixing(0.9))),
    ],
)
def test_two_of_one_factory_have_different_keys(mine, pair):
    one, other = pair(mine)
    assert key(one) != key(other)
    assert key(pair(mine)[0]) == key(one)


def test_objectives_of_one_factory_have_different_keys(mine):
    stages = [
        Stage("final", "final", (3,), (3,), Grid(), objective=each)
        for each in (
            mine.smoothing(0.0),
            mine.smoothing(0.9),
            mine.choosing(mine.EmpiricalRisk),
            mine.choosing(type(mine.smoothing(0.0)).risk_class),
        )
    ]
    assert len({stage.key for stage in stages}) == 4


def test_what_a_module_defines_is_described_as_before(mine):
    """Name and digest alone: results from before stay."""
    for function in (mine.plain, mine.nested(), mine.Mixer, jaxed := mine.jax.tree.map):
        assert len(described(function)) == 2, jaxed


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda m: m.shares[0], r"the lambda of .*factories_of_mine.py, line \d+, has no name"),
        (
            lambda m: m.array_mixing(0.5),
            r"array_mixing.<locals>.mixed is a closure over values = array.*`candidates`",
        ),
        (lambda m: m.unsayable, "is a partial over 2 = .*frozen data class"),
        (lambda m: m.Loose(0.5).method, "Loose.method is a method over self = .*frozen data class"),
    ],
)
def test_what_cannot_be_written_down_is_refused(mine, made, message):
    with pytest.raises(ValueError, match=message) as error:
        key(made(mine))
    assert "\n" not in str(error.value)


def test_an_object_that_is_no_data_class_is_refused(mine):
    with pytest.raises(TypeError, match="cannot be part of a stage"):
        key(mine.Loose(0.5))


def test_two_processes_give_a_closure_the_same_key(mine, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(mine.__file__.rpartition('/')[0])!r})\n"
        "import factories_of_mine as m\nfrom tests.methods.test_bound_values import key\nprint(key(m.mixing(0.9)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == key(mine.mixing(0.9)), done.stderr
