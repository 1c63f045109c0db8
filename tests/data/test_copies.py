"""Images that occur more than once: what the final model is judged by stands in no training set."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from configs.own_data import get_config
from seqfinal_jax.analysis.sequence_command import source_of
from seqfinal_jax.analysis.tables.results_table import results_table
from seqfinal_jax.config.parse import parse
from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.copies import two_labels, units_of
from seqfinal_jax.data.images.own_images import load_own_images
from seqfinal_jax.data.recorded.splits import SplitRule, drawn_rows, split_rows
from seqfinal_jax.data.sequences.source import SequenceRequest, sequence_source
from seqfinal_jax.runs import loop
from tests.data.made_images import own_folder, own_source, picture, save
from tests.runs import make_plan, run, smoke_config

pytestmark = pytest.mark.usefixtures("own_cache")


def snapshots(folder, steps=("2019", "2020", "2021"), count=10):
    """Each step holds all images of the step before, and `count` more of each of two classes."""
    for t, step in enumerate(steps):
        if t:
            shutil.copytree(folder / steps[t - 1], folder / step)
        for k, name in enumerate(("cat", "dog")):
            for i in range(count):
                save(folder / step / name / f"{step}-{i}.png", picture([t, k, i]))
    return folder


def keys(split):
    return {image.tobytes() for image in split.images}


def judged(sequence):
    return keys(sequence.steps[-1].valid) | keys(sequence.steps[-1].test)


def test_yearly_snapshots_leave_no_judged_image_in_any_training_set(tmp_path):
    source = own_source(snapshots(tmp_path / "data"))
    for seed in (0, 1):
        sequence = source.build("main", seed)
        assert [len(getattr(sequence.steps[-1], part)) for part in ("train", "valid", "test")] == [24, 6, 30]
        for step in sequence.steps:
            assert not keys(step.train) & judged(sequence)
        note = sequence.warnings[0]
        assert "taken out of training" in note and "2019" in note and "2020" in note
    assert source.record["copies"] == {"duplicates": "remove", "samples_with_others": 100}


def test_the_count_is_that_of_the_images(tmp_path):
    folder = own_folder(tmp_path / "data", ("step1", "step2"), count=10)
    whole = own_source(folder)
    first = whole.build("main", 0).steps[1].test
    shown = whole.samples.names[first.source_index[:3]]
    for number, name in enumerate(
        shown
    ):  # three test images also stand in step 1, under the class that they have
        label = name.split("/")[1]
        shutil.copy(folder / name, folder / "step1" / label / f"copy{number}.png")
    kept = own_source(folder, duplicates="keep").build("main", 0)
    copies = sum(image.tobytes() in judged(kept) for image in kept.steps[0].train.images)
    assert 0 < copies <= 3
    assert kept.warnings[0].startswith(f"{copies} training images are copies of images of the final")
    assert "'keep'" in kept.warnings[0]
    removed = own_source(folder).build("main", 0)
    assert len(removed.steps[0].train) == len(kept.steps[0].train) - copies
    with pytest.raises(
        SourceError, match=rf"{copies} training images are copies .*\(step1 {copies}\).*'refuse'"
    ):
        own_source(folder, duplicates="refuse")


def test_data_without_copies_have_the_split_and_identity_that_they_had(tmp_path):
    """The figures of the release before copies were looked for."""
    labels, parts = [np.arange(20) % 2, np.arange(30) % 3], [np.full(20, -1), np.full(30, -1)]
    rows = split_rows(labels, parts, SplitRule(), seed=3)
    assert rows[0][1].tolist() == [3, 6, 5, 16] and rows[1][1].tolist() == [26, 19, 15]
    assert rows[1][0].tolist() == [14, 8, 16, 6, 11, 12, 24, 22, 3, 5, 7, 13]
    assert rows[1][2][:5].tolist() == [29, 21, 4, 20, 25]
    source = own_source(own_folder(tmp_path / "data"))
    assert not source.has_copies and len(source.identity("main")) == 7 and "copies" not in source.record
    assert own_source(tmp_path / "data", duplicates="keep").identity("main") == source.identity("main")
    own_source(tmp_path / "data", duplicates="refuse")


def test_copies_and_groups_of_a_step_come_into_one_part():
    labels = [np.arange(60) % 2, np.arange(60) % 2]
    units = [np.arange(60) // 4, 100 + np.arange(60) // 6]
    for seed in range(5):
        drawn = drawn_rows(labels, [np.full(60, -1)] * 2, SplitRule(), seed, units)
        for own, rows in zip(units, drawn, strict=True):
            assert sorted(np.concatenate(rows).tolist()) == list(range(60))
            parts = [set(own[part].tolist()) for part in rows]
            assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert 24 <= len(drawn[1][2]) <= 36  # half of 60, but for a group or so


def test_a_drawn_copy_follows_the_named_one(tmp_path):
    folder = own_folder(tmp_path / "data", count=10)
    shutil.copy(folder / "step2" / "cat" / "0.png", folder / "step2" / "cat" / "again.png")
    (tmp_path / "split.csv").write_text("file,part\nstep2/cat/0.png,test\nstep2/dog/1.png,test\n")
    final = own_source(folder, split_file=str(tmp_path / "split.csv")).build("main", 0).steps[-1]
    assert len(final.test) == 3


def test_a_group_is_never_on_both_sides(tmp_path):
    folder = own_folder(tmp_path / "data", count=10)
    lines = [
        f"{step}/{name}/{i}.png,,{'AB'[i % 2] if step == 'step1' else 'BCDEF'[i // 2]}"
        for step in ("step1", "step2")
        for name in ("cat", "dog")
        for i in range(10)
    ]
    (tmp_path / "split.csv").write_text("\n".join(["file,part,group", *lines]))
    source = own_source(folder, split_file=str(tmp_path / "split.csv"), split=(0.4, 0.2, 0.4))
    group = dict(zip(range(40), source.samples.groups.tolist(), strict=True))
    for seed in range(4):
        steps = source.build("main", seed).steps
        found = [{group[row] for row in part.source_index.tolist()} for part in vars(steps[-1]).values()]
        assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
        assert not {group[row] for row in steps[0].train.source_index.tolist()} & (found[1] | found[2])


def test_groups_of_an_archive(tmp_path):
    images = np.stack([picture(i, 8, 8) for i in range(40)])
    arrays = {"images": images, "labels": np.arange(40) % 2, "time": np.repeat([2019, 2020], 20)}
    np.savez(tmp_path / "data.npz", **arrays, group=np.arange(40) // 4)
    source = own_source(tmp_path / "data.npz")
    final = source.build("main", 0).steps[-1]
    groups = [set((part.source_index // 4).tolist()) for part in (final.train, final.valid, final.test)]
    assert not groups[0] & groups[2] and source.has_copies


def test_one_image_under_two_classes_and_an_emptied_step_are_errors(tmp_path):
    folder = own_folder(tmp_path / "data")
    shutil.copy(folder / "step1" / "cat" / "0.png", folder / "step1" / "dog" / "same.png")
    with pytest.raises(
        SourceError, match=r"step1/cat/0.png \('cat'\) and step1/dog/same.png \('dog'\) have the same"
    ):
        own_source(folder)
    (folder / "step1" / "dog" / "same.png").unlink()
    (tmp_path / "split.csv").write_text("file,part\nstep2/cat/0.png,test\nstep2/dog/0.png,test\n")
    source = tmp_path / "data" / "step0"
    for name in ("cat", "dog"):
        save(source / name / "valid.png", picture(name == "cat"))
        shutil.copy(folder / "step2" / name / "0.png", source / name / "0.png")
    with pytest.raises(SourceError, match=r"'step0' has no training image left: all 2 are copies"):
        own_source(
            folder,
            split_file=str(tmp_path / "split.csv"),
            split_seed=next(seed for seed in range(50) if _copies_train(folder, tmp_path, seed)),
        )


def _copies_train(folder, tmp_path, seed):
    """Whether this split puts both copies of step0 into training."""
    kept = own_source(
        folder,
        split_file=str(tmp_path / "split.csv"),
        split_seed=seed,
        duplicates="keep",
        steps=("step0", "step2"),
    )
    sequence = kept.build("main", 0)
    return len(sequence.steps[0].train) == 2 and keys(sequence.steps[0].train) <= judged(sequence)


def test_units_join_over_groups():
    digests, groups = np.array([5, 5, 7, 8, 9], np.uint64), np.array(["", "a", "a", "", "b"], dtype=object)
    units = units_of(digests, groups)
    assert units[0] == units[1] == units[2] and len({*units.tolist()}) == 3
    assert two_labels(digests, np.array([0, 0, 1, 1, 1])) is None
    assert set(two_labels(digests, np.array([0, 1, 1, 1, 1]))) == {0, 1}


def test_own_images_under_shifts(tmp_path):
    for part, count in (("train", 8), ("test", 4)):
        for k, name in enumerate("ab"):
            for i in range(count):
                save(
                    tmp_path / "data" / part / name / f"{i}.png", picture([k, i])
                )  # the test images are copies
    source = load_own_images(tmp_path / "data")
    assert len(source.train_labels) == 8 and len(source.test_labels) == 8
    assert source.record["notes"] == [
        "8 training images are copies of test images; they were taken out of training"
    ]
    kept = load_own_images(tmp_path / "data", "keep")
    assert len(kept.train_labels) == 16 and "'keep'" in kept.record["notes"][0]
    with pytest.raises(
        SourceError, match=r"8 training images are copies of test images.*'refuse' accepts none"
    ):
        load_own_images(tmp_path / "data", "refuse")
    arrays = {
        f"{part}_{what}": getattr(kept, f"{part}_{what}")
        for part in ("train", "test")
        for what in ("images", "labels")
    }
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "own.npz", **arrays)
    assert len(load_own_images(tmp_path / "npz").train_labels) == 8
    shutil.rmtree(tmp_path / "data" / "train")
    (tmp_path / "data" / "train").symlink_to("test")
    with pytest.raises(
        SourceError, match="all 8 training images are copies of test images; is one folder a link"
    ):
        load_own_images(tmp_path / "data")


def test_how_own_images_are_read_is_chosen(tmp_path, monkeypatch):
    for part in ("train", "test"):
        for k, name in enumerate("ab"):
            for i in range(20):
                save(tmp_path / "data" / part / name / f"{i}.png", picture([part == "train", k, i]) // 4)
    config = smoke_config(data__dataset="own_images", methods=("erm_final",), data__white=64.0)
    config.data.source_size, config.data.target_sizes, config.data.test_size = 20, (10, 10, 10), 10
    bright = make_plan(config, str(tmp_path / "data"), overrides=("data.white",)).source
    config.data.white = 0.0
    assert (
        bright.source.train_images.max()
        > 3 * make_plan(config, str(tmp_path / "data")).source.source.train_images.max()
    )
    config.data.most_megapixels = 1e-6
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "other-cache"))
    with pytest.raises(SourceError, match="more than 1e-06 million"):
        make_plan(config, str(tmp_path / "data"))


def test_copies_among_drawn_own_images_stay_together(tmp_path):
    for k, name in enumerate("ab"):
        for i in range(30):
            save(tmp_path / "data" / name / f"{i}.png", picture([k, i // 3]))
    source = load_own_images(tmp_path / "data")
    assert not keys_of(source.train_images) & keys_of(source.test_images) and len(source.test_images)
    assert "notes" not in source.record


def keys_of(images):
    return {image.tobytes() for image in images}


def test_published_sets_have_no_such_rule():
    config = get_config("smoke")
    config.data.update(dataset="digits", duplicates="keep")
    with pytest.raises(ValueError, match=r"config.data.duplicates = 'keep' is for own_data and own_images"):
        sequence_source(SequenceRequest(config.data.to_dict(), 10))


@pytest.mark.rare
def test_a_run_on_snapshots_of_noise_says_what_was_taken_out(tmp_path, monkeypatch):
    """Seeds of other sizes are fits of their own, also where programs train several together."""
    several = loop.fit_settings
    monkeypatch.setattr(loop, "fit_settings", lambda *a: replace(several(*a), members_per_program=8))
    config = get_config("smoke")
    config.seeds, config.methods, config.grid.dropout = (0, 1, 2), ("erm_all",), (0.0,)
    config.training.batch_size, config.architectures, config.training.max_epochs = 3, ("convnet-1",), 1
    folder = snapshots(tmp_path / "data", count=6)
    sizes = [source_of(parse(config), str(folder)).build("main", seed) for seed in config.seeds]
    assert len({sum(len(step.train) for step in each.steps) for each in sizes}) > 1
    assert run(config, tmp_path / "run", str(folder)) == 0
    captions = " ".join(results_table(tmp_path / "run").captions)
    assert "taken out of training" in captions
