"""Pictures of the data."""

from pathlib import Path

import numpy as np
import pytest

from seqfinal_jax.analysis.data_pictures import base_pictures, sequence_pictures
from seqfinal_jax.data import build_sequence, load_source
from seqfinal_jax.data.sequences.examples import Examples, examples_of
from seqfinal_jax.results.examples import FILE, read_examples, write_examples
from seqfinal_jax.results.run_folder import RunFolderError
from tests.processes import forked

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def examples():
    sequence = build_sequence("digits", "rotation:label_flip", 100, (50, 50), 100, seed=0, cache=False)
    return sequence, examples_of(sequence, ("source", "rotation", "label flip"), (3, 0, 7))


def test_examples_are_the_first_of_their_class(examples):
    sequence, found = examples
    train = sequence.steps[2].train
    first = np.flatnonzero(train.labels == 0)[0]
    assert np.array_equal(found.images[2, 1, 0], train.images[first]) and found.there.all()
    assert found.counts[0].sum(axis=1).tolist() == [80, 20, 0] and found.counts[2, 2].sum() == 100


def test_a_missing_class_leaves_an_empty_place():
    images = np.zeros((2, 3, 1, 8, 8, 1), np.uint8)
    there = np.array([[[True], [False], [True]], [[True], [True], [True]]])
    counts = np.ones((2, 3, 3), np.int64)
    counts[0, 0, 1] = 0
    made = Examples(images, there, counts, (0, 1, 2), ("a", "b", "c"), ("one", "two"))
    panels = sequence_pictures.example_figure(made).get_axes()
    assert [len(axes.images) for axes in panels] == [1, 0, 1, 1, 1, 1]
    texts = [text.get_text() for text in sequence_pictures.count_figure(made).get_axes()[0].texts]
    assert texts == ["1", "1", "0", "1", "1", "1"]


def test_examples_are_read_back_and_damage_is_said(examples, tmp_path):
    write_examples(tmp_path, examples[1])
    back = read_examples(tmp_path)
    assert np.array_equal(back.images, examples[1].images) and back.step_names == examples[1].step_names
    assert back.classes == (3, 0, 7)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:200])
    with pytest.raises(RunFolderError, match="is damaged"):
        read_examples(tmp_path)
    assert read_examples(tmp_path / "elsewhere") is None


def test_the_noise_of_the_published_figure():
    """Data specification, 9.5: one array of noise, drawn with the channels first."""
    noise = np.moveaxis(np.random.RandomState(1007).randint(-3, 3, (2, 3, 32, 32)), 1, -1)
    assert noise.transpose(0, 3, 1, 2).ravel()[:8].tolist() == [-1, -1, 2, -2, -3, -1, -1, -1]
    assert noise.sum() == -3363
    images = np.full((2, 32, 32, 3), 128, np.uint8)
    assert np.array_equal(base_pictures.constant_noise(images, 3), 128 + 3 * noise)


def test_repeated_shifts_of_colour_and_grey_images():
    digits = load_source("digits")
    assert len(base_pictures.repeated_shifts(digits).get_axes()) == 6 * 5


def test_sub_classes_by_their_names(toy_cifar100):
    one, two = base_pictures.subclass_pictures(toy_cifar100)
    titles = [axes.get_title() for axes in one.get_axes()]
    assert titles[:5] == ["otter", "seal", "beaver", "dolphin", "whale"] and "pepper" in titles
    assert two.get_axes()[35].get_title() == "oak"
    assert np.array_equal(one.get_axes()[0].images[0].get_array(), toy_cifar100.train_images[55])


def test_the_command_writes_every_picture(tmp_path):
    command = ["seqfinal_jax.analysis.images", "--config=configs/digits_rcl.py:smoke", f"--out={tmp_path}"]
    done, wrong = forked([command, [*command, "--config.data.shifts=rotatoin"]])
    assert done.returncode == 0, done.stderr
    names = {
        f"{name}.{end}" for name in ("examples", "class_counts", "repeated_shifts") for end in ("png", "pdf")
    }
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (
        wrong.returncode == 2
        and "did you mean 'rotation'" in wrong.stderr
        and len(wrong.stderr.splitlines()) == 1
    )
