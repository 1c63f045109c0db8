"""The parts of the benchmarks that need no PyTorch, so that they do not rot."""

import importlib

import numpy as np
import pytest

from benchmarks.engine import images, problem_of, some_members
from benchmarks.floor import Machine, Work, step_work
from benchmarks.stages import one_point
from configs.digits_rcl import get_config
from seqfinal_jax.methods.nodes import all_stages
from tests.runs import make_plan


@pytest.mark.parametrize(
    "name", ["compile_time", "conv_forms", "joint", "matching", "memory", "scale", "start"]
)
def test_it_can_be_imported(name):
    assert importlib.import_module(f"benchmarks.{name}").main


def test_operations_of_a_step_by_hand():
    """Multiply-adds a sample: stem 256·147·64 twice (no gradient of the image), block 16·576·512 three times, head."""
    pixels, labels = images(100, 100)
    work = step_work(problem_of("convnet-1", pixels, labels, 100))
    by_hand = 2 * 100 * (2 * 256 * 147 * 64 + 3 * 16 * 576 * 512 + 3 * 512 * 10)
    np.testing.assert_allclose(work.operations, by_hand, rtol=0.01)


def test_the_floor_is_the_larger_of_two_times():
    assert Machine(rate=10.0, bandwidth=2.0).seconds(Work(operations=30.0, bytes=8.0)) == 4
    assert Machine(rate=10.0, bandwidth=2.0).seconds(Work(operations=50.0, bytes=8.0)) == 5


def test_members_of_one_program():
    pixels, labels = images(100, 100)
    problem = problem_of("convnet-1", pixels, labels, 100)
    specs, settings = some_members(problem, 12)
    assert len(specs) == 12 and {spec.seed for spec in specs} == {0, 1}
    assert (settings.vectorise, settings.members_per_program) == ("vmap", 12)


@pytest.mark.parametrize("method", ["sequential_fine_tune", "sequential_ewc", "erm_linear_probe_fine_tune"])
def test_a_recipe_of_one_point_has_the_same_stages(method):
    config = get_config("")
    config.methods, config.architectures = (method,), ("convnet-1",)
    node = make_plan(config).node("convnet-1", method)
    small = list(all_stages(one_point(node)))
    full = list(all_stages(node))
    assert [stage.label for stage in small] == [stage.label for stage in full]
    assert {len(stage.grid.points()) for stage in small} == {1}
    assert small[-1].grid.points()[0] == full[-1].grid.points()[-1]
