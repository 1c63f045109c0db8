"""The compiled programs themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqfinal_jax.training.engine import fit as engine
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.devices import members_per_program
from seqfinal_jax.training.engine.members import Fit
from seqfinal_jax.training.objectives.risk import InputScaling, answered_right, batch_sums, cross_entropy
from tests.training.tiny import grid, settings, tiny_problem

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "reduce-scatter",
    "send(",
    "recv(",
)


@pytest.mark.parametrize("vectorise", ["map", "vmap"])
def test_the_program_holds_no_collective(vectorise):
    members, problem = grid()[:4], tiny_problem()
    chosen = settings(2, members_per_program=4, vectorise=vectorise)
    device = jax.devices()[0]
    run = Fit(problem, members, chosen, results=[None] * 4)
    chunk = engine._start_chunk(run, np.arange(4), device)
    batches = engine._stack_batches([problem.batches(0, 1)])
    epoch = programs.Epoch(problem.data, chunk.constants, batches, jnp.int32(3), jnp.int32(1), jnp.int32(1))
    lowered = programs.train_epoch.lower(run.program, chunk.state, chunk.members, epoch)
    text = lowered.compile().as_text()
    assert not [word for word in COLLECTIVES if word in text]


def test_cross_entropy_is_optax_s():
    logits = np.random.RandomState(0).normal(size=(7, 5)).astype(np.float32) * 30
    labels = np.arange(7) % 5
    wanted = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(
        cross_entropy(jnp.asarray(logits), jnp.asarray(labels)), wanted, rtol=1e-6, atol=1e-6
    )


def test_non_finite_logits_count_as_wrong():
    logits = jnp.asarray([[jnp.nan, 0.0], [jnp.inf, 0.0], [1.0, 0.0]])
    assert answered_right(logits, jnp.zeros(3, jnp.int32)).tolist() == [False, False, True]


def test_weighted_loss_divides_by_the_number_of_samples():
    """Worked by hand in the spec: weights 1/4, 1/3, 1/2, 1 give 0.67661533357, not the normalised 1.2991."""
    logits = jnp.asarray([[0.5, -0.5], [1, 0], [0, 2], [-1, 1]])
    weights = jnp.asarray([1 / 4, 1 / 3, 1 / 2, 1])
    sums = batch_sums(logits, jnp.asarray([0, 1, 1, 0]), None, weights)
    np.testing.assert_allclose(sums.loss / sums.count, 0.67661533357, rtol=1e-6)
    masked = batch_sums(logits, jnp.asarray([0, 1, 1, 0]), jnp.asarray([True, False, False, True]), None)
    np.testing.assert_allclose(masked.loss, 0.31326168752 + 2.12692801104, rtol=1e-6)
    assert (masked.count, masked.correct) == (2, 1)


def test_input_scaling_by_hand():
    pixels = np.asarray([0, 128, 255], np.uint8).reshape(1, 1, 1, 3)
    scaled = InputScaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(jnp.asarray(pixels), jnp.float32)
    np.testing.assert_allclose(scaled.ravel(), [-2.117904, 0.205182, 2.64], atol=1e-5)
    assert InputScaling()(jnp.asarray(pixels), jnp.float32).ravel().tolist() == [0, 128, 255]


def test_masks_are_exact_also_where_a_gradient_is_not_finite():
    masked = programs.mask_groups(
        {"fc": jnp.asarray([jnp.nan, 1.0]), "conv1": jnp.asarray([2.0])},
        {"fc": jnp.int32(0), "conv1": jnp.int32(1)},
    )
    assert masked["fc"].tolist() == [0, 0] and masked["conv1"].tolist() == [2]
    versions = programs.mask_groups({"fc": jnp.ones((3, 2))}, {"fc": jnp.asarray([0, 1, 0])})
    assert versions["fc"].sum(1).tolist() == [0, 2, 0]


def test_members_a_program_follow_a_fixed_rule():
    gib = 2**30
    assert members_per_program("cpu", 10**6, 10**6) == 1
    # Here no device says how much memory it has: 80 % of 16 GiB, less the images, over a member's.
    assert members_per_program("gpu", gib, 0) == 12
    assert members_per_program("gpu", gib, 3 * gib) == 9
    assert members_per_program("gpu", 100 * gib, 0) == 1
