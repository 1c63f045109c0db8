"""Augmentations: what crops and flips give, alone and in a vmapped step, and where they are refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.training.augmentations import AUGMENTATIONS, STREAM, Augmentation
from seqfinal_jax.training.engine.fit import fit
from tests.runs import smoke_run
from tests.training.test_resume import Killed, everything, killed_at
from tests.training.tiny import assert_equal, grid, member, settings, tiny_problem

IMAGES = np.random.default_rng(0).integers(1, 256, (40, 16, 16, 3)).astype(np.uint8)
KEY = jax.random.key(3)


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
    with pytest.raises(
        ValueError, match="'flip' mirrors images, and a mirrored image of digits may be of another class"
    ):
        smoke_run(tmp_path, dry_run=True, methods=("erm_final",), training__augmentation="flip")
    with pytest.raises(ValueError, match="unknown augmentation 'corp'; did you mean 'crop'"):
        smoke_run(tmp_path, dry_run=True, methods=("erm_final",), training__augmentation="corp")
    assert "erm_final" in smoke_run(
        tmp_path, dry_run=True, methods=("erm_final",), training__augmentation="crop"
    )
    allowed = {"training__augmentation": "flip", "data__mirror_keeps_class": True}
    assert "erm_final" in smoke_run(tmp_path, dry_run=True, methods=("erm_final",), **allowed)
