"""A user's own images in time steps: each kind of file and folder works, or is refused with its reason."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.own_data import get_config
from seqfinal_jax.analysis.report import report_run
from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.decode import BadImage, decode
from seqfinal_jax.data.sequences.class_gaps import class_gaps
from seqfinal_jax.results.examples import read_examples
from tests.data.made_images import own_folder, own_source, picture, save
from tests.processes import forked
from tests.runs import make_plan, run, smoke_config

pytestmark = pytest.mark.usefixtures("own_cache")


def encoded(tmp_path, image, end, **options):
    image.save(tmp_path / f"image{end}", **options)
    return (tmp_path / f"image{end}").read_bytes()


# single files


def test_a_file_of_its_own_size_is_its_pixels(tmp_path):
    pixels = picture(0)
    assert np.array_equal(decode(encoded(tmp_path, Image.fromarray(pixels), ".png"), 0, 3), pixels)


def test_other_sizes_are_resized_as_pillow_does(tmp_path):
    image = Image.fromarray(picture(1, 40, 23))
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(decode(encoded(tmp_path, image, ".png"), 32, 3), expected)


def test_a_gradient_shrinks_as_the_published_one(tmp_path):
    """186x171, value floor((row + column) / 2): the numbers of the data specification, 9.6."""
    grey = (np.add.outer(np.arange(186), np.arange(171)) // 2).astype(np.uint8)
    pixels = decode(encoded(tmp_path, Image.fromarray(np.stack([grey] * 3, -1)), ".png"), 32, 3)
    channel = pixels[..., 0].astype(int)
    assert channel[0, :5] == pytest.approx([3, 5, 8, 10, 13], abs=1)
    assert channel[-1, -3:] == pytest.approx([169, 172, 174], abs=1)
    assert channel.sum() == pytest.approx(90624, abs=1024)


def test_grey_becomes_three_equal_channels(tmp_path):
    grey = picture(2, channels=1)
    pixels = decode(encoded(tmp_path, Image.fromarray(grey[..., 0]), ".png"), 0, 3)
    assert np.array_equal(pixels, np.repeat(grey, 3, axis=2))


def test_colour_becomes_grey_where_asked_for(tmp_path):
    assert decode(encoded(tmp_path, Image.fromarray(picture(2)), ".png"), 0, 1).shape == (12, 10, 1)


def test_transparent_pixels_lie_on_white(tmp_path):
    rgba = np.concatenate([picture(3), np.zeros((12, 10, 1), np.uint8)], axis=-1)
    rgba[:6, :, 3] = 255
    pixels = decode(encoded(tmp_path, Image.fromarray(rgba, "RGBA"), ".png"), 0, 3)
    assert np.array_equal(pixels[:6], rgba[:6, :, :3]) and (pixels[6:] == 255).all()


def test_grey_with_alpha(tmp_path):
    la = Image.fromarray(np.stack([picture(4)[..., 0], np.full((12, 10), 255, np.uint8)], -1), "LA")
    assert np.array_equal(decode(encoded(tmp_path, la, ".png"), 0, 1)[..., 0], picture(4)[..., 0])


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(np.zeros((12, 10), np.uint8), "P")
    image.putpalette([200, 10, 20] + [0, 0, 0] * 255)
    assert (decode(encoded(tmp_path, image, ".gif"), 0, 3) == (200, 10, 20)).all()
    assert (decode(encoded(tmp_path, image, ".png", transparency=0), 0, 3) == 255).all()


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (10, 12), (0, 255, 255, 0))
    pixels = decode(encoded(tmp_path, image, ".jpg"), 0, 3)
    assert (pixels[..., 0] > 200).all() and (pixels[..., 1:] < 60).all()


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    values = np.array([[0, 257, 30000, 65535]], np.uint16)
    pixels = decode(encoded(tmp_path, Image.fromarray(values), ".png"), 0, 1)[..., 0]
    assert pixels.tolist() == [[0, 1, 117, 255]]


def test_floating_point_pixels_are_refused(tmp_path):
    image = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    with pytest.raises(BadImage, match="store it with 8 or 16 bits"):
        decode(encoded(tmp_path, image, ".tif"), 0, 3)


def test_a_picture_is_turned_as_its_exif_data_say(tmp_path):
    pixels, exif = picture(5), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = decode(encoded(tmp_path, Image.fromarray(pixels), ".png", exif=exif), 0, 3)
    assert np.array_equal(turned, np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not an image", "not an image of a known format"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "not an image|truncated|damaged|cannot be decoded"),
    ],
)
def test_what_is_no_picture_is_refused(content, reason):
    with pytest.raises(BadImage, match=reason):
        decode(content, 32, 3)


def test_a_truncated_jpeg_is_refused(tmp_path):
    whole = encoded(tmp_path, Image.fromarray(picture(6, 64, 64)), ".jpg")
    with pytest.raises(BadImage, match="truncated"):
        decode(whole[: len(whole) // 2], 32, 3)


# folders


def test_twelve_steps_are_in_the_order_of_their_numbers(tmp_path):
    source = own_source(
        own_folder(tmp_path / "data", [f"step{t}" for t in (10, 2, 1, 12, 11, 3, 4, 5, 6, 7, 8, 9)])
    )
    assert source.step_names == tuple(f"step{t}" for t in range(1, 13))
    assert len(source.sizes("main")) == 12


@pytest.mark.parametrize(
    "names", [("2019", "2021", "2020"), ("2020-02-01", "2019-12-31"), ("2019-9", "2019-10"), ("1", "12", "2")]
)
def test_dates_and_numbers_have_their_order(tmp_path, names):
    source = own_source(own_folder(tmp_path / "data", names))
    assert list(source.step_names) == sorted(names, key=lambda n: [int(p) for p in n.split("-")])


def test_an_unclear_order_asks_for_a_list(tmp_path):
    folder = own_folder(tmp_path / "data", ("winter", "spring"))
    with pytest.raises(SourceError, match=r"--config.data.steps=FIRST,SECOND"):
        own_source(folder)
    assert own_source(folder, steps=("winter", "spring")).step_names == ("winter", "spring")
    with pytest.raises(SourceError, match="no step 'summer'"):
        own_source(folder, steps=("winter", "summer"))


def test_years_and_months_are_steps_of_any_length(tmp_path):
    folder = tmp_path / "data"
    for year in (2019, 2020):
        own_folder(folder / str(year), ("1", "02", "11"), count=5)
    assert own_source(folder).step_names[:3] == ("2019-01", "2019-02", "2019-11")
    assert own_source(folder, period="year").step_names == ("2019", "2020")
    with pytest.raises(SourceError, match=r"two time steps or more, found one \('2010s'\)"):
        own_source(folder, period="decade", steps=("2010s",))


def test_composed_and_decomposed_names_are_one_class(tmp_path):
    name = "café"
    folder = own_folder(
        tmp_path / "a b", ("step1",), (unicodedata.normalize("NFC", name), "дом", "dog house")
    )
    own_folder(folder, ("step2",), (unicodedata.normalize("NFD", name), "дом", "dog house"))
    source = own_source(folder)
    assert source.class_names == ("café", "dog house", "дом")
    sequence = source.build("main", 0)
    assert class_gaps(sequence) == ()


def test_junk_and_other_files_are_counted(tmp_path):
    folder = own_folder(tmp_path / "data")
    for name in (
        ".DS_Store",
        "step1/cat/.hidden.png",
        "__MACOSX/step1/cat/0.png",
        "step1/Thumbs.db",
        "notes.txt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "step1" / "cat" / ".ipynb_checkpoints").mkdir()
    (folder / "step1" / "cat" / ".ipynb_checkpoints" / "0.png").write_bytes(b"x")
    source = own_source(folder)
    assert source.notes == ("left out 5 hidden or system files and 1 file that is not an image",)


def test_every_bad_file_is_listed_before_training(tmp_path):
    folder = own_folder(tmp_path / "data")
    whole = save(folder / "step1" / "cat" / "cut.jpg", picture(0, 64, 64)).read_bytes()
    (folder / "step1" / "cat" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "step2" / "dog" / "empty.PNG").write_bytes(b"")
    (folder / "step2" / "dog" / "text.jpeg").write_text("no picture")
    with pytest.raises(SourceError) as found:
        own_source(folder)
    said = str(found.value)
    assert said.startswith("3 of 43 image files cannot be used")
    assert (
        "cut.jpg: the image is truncated" in said
        and "empty.PNG: the file is empty" in said
        and "text.jpeg" in said
    )


def test_a_png_named_jpg_and_sizes_of_all_kinds(tmp_path):
    folder = own_folder(tmp_path / "data")
    png = save(folder / "step1" / "cat" / "large.png", picture(1, 200, 90))
    png.rename(png.with_suffix(".JPG"))
    source = own_source(folder)
    assert source.image_shape == (32, 32, 3) and source.sizes("main")[0] == 21
    with pytest.raises(SourceError, match=r"2 sizes \(12x10, 200x90\).*--config.data.image_size"):
        own_source(folder, image_size=0)


def test_other_layouts_are_refused_with_examples(tmp_path):
    folder = own_folder(tmp_path / "data")
    save(folder / "step1" / "stray.png", picture(0))
    with pytest.raises(SourceError, match=r"expected images in one layout.*'step1/stray.png'"):
        own_source(folder)
    with pytest.raises(SourceError, match="found none"):
        (tmp_path / "empty").mkdir()
        own_source(tmp_path / "empty")


def test_a_step_with_one_image_is_refused_with_counts(tmp_path):
    folder = own_folder(tmp_path / "data", ("step1", "step2", "step3"))
    save(folder / "step1b" / "cat" / "0.png", picture(0))
    with pytest.raises(
        SourceError, match="'step1b' has 1 image, too few to split into 1 training, 0 validation"
    ):
        own_source(folder, steps=("step1", "step1b", "step2"))


def test_a_last_step_too_small_to_split(tmp_path):
    folder = own_folder(tmp_path / "data", ("step1",))
    own_folder(folder, ("step2",), count=1)
    with pytest.raises(SourceError, match=r"'step2' has 2 images, too few to split .* --config.data.split"):
        own_source(folder)


def test_classes_that_are_missing_are_said_or_refused(tmp_path):
    folder = own_folder(tmp_path / "data", ("step1", "step2"))
    own_folder(folder, ("step2",), ("cat", "dog", "owl"))
    notes = class_gaps(own_source(folder).build("main", 0))
    assert notes[0] == "step 0 (step1): none of its 16 training samples is of class 'owl'"
    own_folder(folder, ("step3",), ("cat", "dog"))
    with pytest.raises(
        ValueError, match=r"step 2 \(step3\): none of its .* is of class 'owl'; a model could not"
    ):
        class_gaps(own_source(folder).build("main", 0))


def test_the_split_is_drawn_by_class_from_the_seed(tmp_path):
    source = own_source(own_folder(tmp_path / "data", count=20))
    first, again, other = (source.build("main", seed) for seed in (0, 0, 1))
    final = first.steps[1]
    assert [len(part) for part in (final.train, final.valid, final.test)] == [16, 4, 20]
    assert np.bincount(final.test.labels).tolist() == [10, 10]
    assert np.array_equal(final.test.source_index, again.steps[1].test.source_index)
    assert not np.array_equal(final.test.source_index, other.steps[1].test.source_index)
    rows = np.concatenate([part.source_index for part in (final.train, final.valid, final.test)])
    assert sorted(rows.tolist()) == list(range(40, 80))


def test_shares_and_files_of_the_split_are_the_users(tmp_path):
    folder = own_folder(tmp_path / "data", count=10)
    source = own_source(folder, split=(0.6, 0.2, 0.2))
    assert [len(getattr(source.build("main", 0).steps[1], p)) for p in ("train", "valid", "test")] == [
        12,
        4,
        4,
    ]
    (tmp_path / "split.csv").write_text(
        "file,part\nstep2/cat/0.png,test\nstep2/dog/3.png,test\nstep1/cat/1.png,valid\n"
    )
    sequence = own_source(folder, split_file=str(tmp_path / "split.csv")).build("main", 0)
    assert len(sequence.steps[1].test) == 2 and len(sequence.steps[0].valid) == 1
    (tmp_path / "split.csv").write_text("file,part\nstep2/cat/0.png,tset\n")
    with pytest.raises(SourceError, match=r"line 2: .*found part 'tset'"):
        own_source(folder, split_file=str(tmp_path / "split.csv"))
    with pytest.raises(SourceError, match="three shares"):
        own_source(folder, split=(0.6, 0.3, 0.2))


def test_presets_take_a_part(tmp_path):
    folder = own_folder(tmp_path / "data", count=40)
    whole, quick, smoke = (own_source(folder, presets).build("main", 0) for presets in ("", "quick", "smoke"))
    sizes = [
        [len(s.train), len(s.valid), len(s.test) if s.test else 0]
        for w in (whole, quick, smoke)
        for s in w.steps
    ]
    assert sizes == [[64, 16, 0], [32, 8, 40], [32, 8, 0], [16, 4, 40], [20, 16, 0], [20, 8, 20]]
    assert set(quick.steps[0].train.source_index.tolist()) < set(whole.steps[0].train.source_index.tolist())


def test_arrays_of_a_file(tmp_path):
    times = np.repeat(["2019-01", "2019-02", "2020-01"], 20)
    labels = np.tile(["b", "a"], 30)
    np.savez(
        tmp_path / "data.npz",
        images=picture(0, 60 * 28, 28, 1).reshape(60, 28, 28),
        labels=labels,
        time=times,
    )
    source = own_source(tmp_path / "data.npz", period="year")
    assert source.image_shape == (28, 28, 1) and source.class_names == ("a", "b")
    assert source.step_names == ("2019", "2020") and source.sizes("main") == (40, 10)
    np.savez(tmp_path / "bad.npz", images=np.zeros((3, 4, 4)), labels=np.arange(3), time=np.arange(3))
    with pytest.raises(SourceError, match="expected images as uint8"):
        own_source(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", images=np.zeros((3, 4, 4), np.uint8), labels=np.arange(3))
    with pytest.raises(SourceError, match="missing time"):
        own_source(tmp_path / "bad.npz")


def test_decoded_images_come_from_the_cache_until_a_file_changes(tmp_path, monkeypatch):
    folder = own_folder(tmp_path / "data")
    first = own_source(folder)
    monkeypatch.setattr(
        "seqfinal_jax.data.images.image_files.decode_file", lambda *_: pytest.fail("decoded again")
    )
    again = own_source(folder)
    assert np.array_equal(again.samples.images, first.samples.images)
    assert again.identity("main") == first.identity("main")
    monkeypatch.undo()
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
    save(folder / "step1" / "cat" / "0.png", picture(99))
    assert own_source(folder).identity("main") != first.identity("main")


def test_fields_of_recorded_data_act_or_are_refused_elsewhere(tmp_path):
    with pytest.raises(ValueError, match=r"config.data.period = 'year' changes nothing in this run"):
        make_plan(smoke_config(data__period="year"), overrides=("data.period",))
    config = get_config("smoke")
    folder = str(own_folder(tmp_path / "data"))
    config.data.split, config.data.image_size = (0.5, 0.25, 0.25), 0
    assert make_plan(config, folder, overrides=("data.split", "data.image_size")).source.image_shape == (
        12,
        10,
        3,
    )


def test_the_command_shows_the_order_in_a_plain_locale(tmp_path):
    folder = own_folder(tmp_path / "my images", ("step10", "step2"), ("café", "дом"))
    command = [
        "seqfinal_jax.main", "--config=configs/own_data.py:smoke", f"--data_dir={folder}",
        f"--workdir={tmp_path / 'run'}", "--dry_run",
    ]  # fmt: skip
    done, other = forked([command, [*command, "--config.data.steps=step10,step2"]], LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "time steps: step2 (20), step10 (10) training and validation samples" in done.stdout
    assert not (tmp_path / "run").exists()
    assert "time steps: step10 (20), step2 (10)" in other.stdout, other.stderr


@pytest.mark.slow
def test_from_a_folder_of_images_to_table_and_report(tmp_path):
    folder = own_folder(
        tmp_path / "my images", [f"step{t}" for t in range(1, 13)], ("café", "дом", "x"), count=12
    )
    config = get_config("smoke")
    config.seeds, config.methods, config.grid.dropout = (0,), ("erm_final", "erm_fine_tune"), (0.0,)
    workdir = tmp_path / "run"
    assert run(config, workdir, str(folder)) == 0
    report_run(workdir)
    assert (workdir / "results.csv").read_text().count("convnet-1") == 2
    examples = read_examples(workdir)
    assert examples.step_names[-1] == "step12" and examples.there.all()
    assert {"data_examples.png", "class_counts.png"} <= set(os.listdir(workdir / "figures"))
    page = (Path(workdir) / "report" / "index.html").read_text()
    assert "data_examples.png" in page
