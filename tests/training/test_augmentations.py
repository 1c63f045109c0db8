"""Augmentations: what crops and flips give, alone and in a vmapped step, and where they are refused."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.config.parse import parse
from seqfinal_jax.methods.stages.transform import estimate_statistics
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.runs.plan import augmentation_of
from seqfinal_jax.training.augmentations import AUGMENTATIONS, STREAM, Augmentation, augmentation
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.objectives.risk import Objective
from tests.runs import smoke_config, smoke_run
from tests.training.test_joint import joint_problem, step_arguments, tiny_steps
from tests.training.test_resume import Killed, everything, killed_at
from tests.training.tiny import assert_equal, grid, member, settings, tiny_problem

IMAGES = np.random.default_rng(0).integers(1, 256, (40, 16, 16, 3)).astype(np.uint8)
KEY = jax.random.key(3)
OWN = SimpleNamespace(name="own_data", image_shape=(16, 16, 3))  # of which no record says what a mirror does


def changed(name, key=KEY):
    return np.asarray(AUGMENTATIONS.get(name)(jnp.asarray(IMAGES), key))


def with_augmentation(record):
    problem = tiny_problem()
    return replace(problem, objective=replace(problem.objective, augmentation=record))


def test_a_flip_mirrors_some_images_and_leaves_the_others():
    found = changed("flip")
    mirrored = (found == IMAGES[:, :, ::-1]).all((1, 2, 3))
    kept = (found == IMAGES).all((1, 2, 3))
    np.testing.assert_array_equal(mirrored ^ kept, True)
    assert 10 < mirrored.sum() < 30


def test_a_crop_is_a_shifted_image_with_a_black_margin():
    """Of 16 pixels the margin is 2; the corner is drawn from the key that the record folds."""
    found, corners = changed("crop"), jax.random.randint(jax.random.fold_in(KEY, STREAM), (40, 2), 0, 5)
    assert len({tuple(map(int, corner)) for corner in corners}) > 10
    for image, own, (row, column) in zip(found, IMAGES, np.asarray(corners), strict=True):
        expected = np.pad(own, ((2, 2), (2, 2), (0, 0)))[row : row + 16, column : column + 16]
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_it_keeps_shape_and_dtype_and_depends_on_the_key_alone(name):
    found = changed(name)
    assert (found.shape, found.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert_equal(found, changed(name))
    assert not np.array_equal(found, changed(name, jax.random.key(4)))


def test_it_acts_on_training_alone():
    """Black training images: the figures of training change, those of the start's evaluation do not."""
    black = Augmentation("black", lambda images, key: jnp.zeros_like(images))
    [plain], [found] = (
        fit(each, [member()], settings(1)) for each in (tiny_problem(), with_augmentation(black))
    )
    assert found.history["valid_loss"][0] == plain.history["valid_loss"][0]
    assert found.history["train_loss"][1] != plain.history["train_loss"][1]


@pytest.mark.slow
def test_members_of_one_program_agree_with_single_ones():
    problem, chosen = with_augmentation(AUGMENTATIONS.get("crop_flip")), settings(2)
    alone = fit(problem, grid((0,)), chosen)
    together = fit(problem, grid((0,)), replace(chosen, vectorise="vmap", members_per_program=8))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.history["train_loss"], other.history["train_loss"], rtol=1e-4)


def test_a_kill_changes_nothing(tmp_path):
    problem, chosen = with_augmentation(AUGMENTATIONS.get("crop_flip")), settings(4)
    unbroken = fit(problem, [member(dropout=0.5)], chosen)
    store = ProgressStore(tmp_path / "progress", SaveBudget(share=1e9))
    with pytest.raises(Killed):
        fit(problem, [member(dropout=0.5)], chosen, killed_at(2), store)
    assert_equal(everything(fit(problem, [member(dropout=0.5)], chosen, None, store)), everything(unbroken))


def test_flips_of_digits_are_refused_and_crops_are_not(tmp_path):
    def planned(name, **fields):
        return smoke_run(
            tmp_path, dry_run=True, methods=("erm_final",), training__augmentation=name, **fields
        )

    refused = r"config.training.augmentation = 'flip' .* of digits do not keep their classes; expected 'crop'"
    for allowed in (False, True):
        with pytest.raises(ValueError, match=refused):
            planned("flip", data__mirror_keeps_class=allowed)
    with pytest.raises(ValueError, match="unknown augmentation 'corp'; did you mean 'crop'"):
        planned("corp")
    assert "erm_final" in planned("crop")


def of_run(name, source=OWN, **fields):
    return augmentation_of(parse(smoke_config(training__augmentation=name, **fields)), source)


def test_own_data_say_themselves_whether_they_may_be_mirrored():
    with pytest.raises(ValueError, match=r"'flip' mirrors .* own_data may be .*mirror_keeps_class = True"):
        of_run("flip")
    assert of_run("flip", data__mirror_keeps_class=True) == AUGMENTATIONS.get("flip")


@pytest.fixture
def registered():
    """Registers functions of this file as augmentations, for one test."""
    yield lambda change: augmentation(change.__name__)(change)
    AUGMENTATIONS.forget(str(Path(__file__).resolve()))


def as_floats(images, key):
    return images / 2


def broken(images, key):
    return images.no_such_thing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (as_floats, r"augmentation 'as_floats' .* uint8 \(2, 16, 16, 3\).* found float32 \(2, 16, 16, 3\)"),
        (broken, "AttributeError: .*no_such_thing"),
    ],
)
def test_what_a_function_of_the_user_does_wrong_is_told_with_its_line(registered, change, said):
    registered(change)
    with pytest.raises(ValueError, match=rf"test_augmentations\.py, line \d+: {said}"):
        of_run(change.__name__)


@dataclass(frozen=True)
class Unchanged(Objective):
    """Makes its training inputs itself, and so without the augmentation."""

    def training_logits(self, params, context):
        images = self.inputs(context.data, context.batch.index, jnp.float32)
        variables = {"params": params, "batch_stats": context.batch_stats}
        return self.network.apply(variables, images, Pass(train=True))[:2]


def test_an_objective_that_leaves_the_augmentation_out_is_refused():
    plain = tiny_problem()
    own = Unchanged(network=plain.objective.network, scaling=plain.objective.scaling)
    assert len(fit(replace(plain, objective=own), [member()], settings(1))) == 1
    augmented = replace(plain, objective=replace(own, augmentation=AUGMENTATIONS.get("crop")))
    with pytest.raises(
        ValueError, match=r"Unchanged .* take them from self.training_inputs\(context, dtype\)"
    ):
        fit(augmented, [member()], settings(1))


def test_vmapped_keys_give_what_single_ones_give():
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(AUGMENTATIONS.get("crop_flip"), in_axes=(None, 0))(jnp.asarray(IMAGES), keys)
    for found, key in zip(together, keys, strict=True):
        assert_equal(np.asarray(found), changed("crop_flip", key))


def test_time_steps_of_the_joint_model_have_draws_of_their_own():
    """Equal weights and samples at every step, so that only the crops can differ."""
    problem = joint_problem(tiny_steps(), (7, 7, 7), augmentation=AUGMENTATIONS.get("crop"))
    params, context = step_arguments(problem, 0)
    own, given = jax.tree.map(lambda leaf: leaf[0], params), context._replace(batch=context.batch.stream(0))
    loss = jax.jit(problem.objective.step_loss)
    each = [loss(own, given, jnp.int32(t), jnp.float32(1)) for t in range(3)]
    assert len({float(value) for value, _ in each}) == 3


def test_statistics_are_estimated_from_images_as_they_are():
    """Also where an objective makes its logits in a way of its own."""
    problem, batches = with_augmentation(AUGMENTATIONS.get("crop")), [(None, np.arange(8))]
    objective, variables = problem.objective, problem.start(member())
    given = (
        objective.network,
        objective.scaling,
        variables,
        jax.tree.map(jnp.asarray, problem.data),
        batches,
    )
    jax.tree.map(
        lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-5),
        estimate_statistics(*given, objective),
        estimate_statistics(*given),
    )
