"""Folders as people have them: what cannot be read, links, odd names, other people's layouts."""

import json
import os
import shutil

import numpy as np
import pytest

from configs.own_data import get_config
from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.own_images import load_own_images
from tests.data.made_images import own_folder, own_source, picture, save

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def folder(tmp_path):
    return own_folder(tmp_path / "data", ("2019", "2020", "2021"))


def lock(monkeypatch, *places):
    """Makes folders unreadable, for whoever runs the tests."""
    scan = os.scandir

    def refusing(place):
        if any(os.path.samefile(place, each) for each in places):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.parametrize("place", ["2021", "2020/cat"])
def test_a_folder_that_cannot_be_read_is_an_error(folder, monkeypatch, place):
    lock(monkeypatch, folder / place)
    with pytest.raises(SourceError, match=rf"{place}: the folder cannot be read \(Permission denied\)"):
        own_source(folder)


@pytest.mark.parametrize("name", ["lost+found", ".git", "@eaDir"])
def test_folders_that_are_skipped_anyway_need_not_be_readable(folder, monkeypatch, name):
    (folder / name).mkdir()
    lock(monkeypatch, folder / name)
    assert own_source(folder).step_names == ("2019", "2020", "2021")


def test_a_link_to_nothing_is_an_error(folder):
    (folder / "2021" / "owl").symlink_to("/gone/owl")
    with pytest.raises(SourceError, match=r"owl: the link to /gone/owl cannot be followed \(No such file"):
        own_source(folder)
    (folder / "2021" / "owl").unlink()
    (folder / "2021" / "cat" / "x.png").symlink_to("x.png")
    with pytest.raises(SourceError, match=r"x.png: the link to x.png cannot be followed \(Too many levels"):
        own_source(folder)


def test_a_step_that_is_a_link_to_a_step_is_refused_until_the_steps_are_named(folder):
    (folder / "2022").symlink_to("2021")
    with pytest.raises(
        SourceError, match=r"'2021' and '2022' are one folder.*--config.data.steps=FIRST,SECOND"
    ):
        own_source(folder)
    assert own_source(folder, steps=("2019", "2020", "2022")).step_names == ("2019", "2020", "2022")


def test_a_link_to_a_class_is_read_and_its_copies_are_counted(folder):
    shutil.rmtree(folder / "2020" / "dog")
    (folder / "2020" / "dog").symlink_to("../2021/dog")
    source = own_source(folder)
    assert source.sizes("main")[1] + int(source._rows(0)[1][1]) == 20
    assert "2020" in source.build("main", 0).warnings[0]


def test_a_link_upwards_ends_the_walk(folder):
    (folder / "2020" / "cat" / "up").symlink_to("../..")
    source = own_source(folder)
    assert source.notes == ("left out 1 link that leads back to a folder above it",)


def test_run_folders_among_the_data_are_left_out(folder):
    before = own_source(folder).identity("main")
    run = folder / "runs" / "own"
    save(run / "figures" / "methods.png", picture(0))
    (run / "config.json").write_text(json.dumps(get_config().to_dict(), default=list))
    assert own_source(folder).identity("main") == before


def test_the_folder_of_the_files_named_by_split_twice(folder, tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("file,part\n2021/cat/0.png,test\n2021/dog/0.png,test\n2021/cat/0.png,test\n")
    own_source(folder, split_file=str(split))
    split.write_text("file,part\n2021/cat/0.png,test\n2021/dog/0.png,test\n\n2021/cat/0.png,train\n")
    with pytest.raises(
        SourceError, match=r"lines 2 and 4: the image '2021/cat/0.png' is named twice, as 'test'"
    ):
        own_source(folder, split_file=str(split))


def test_a_stray_quote_names_the_line(folder, tmp_path):
    split = tmp_path / "split.csv"
    rows = [f'2021/cat/{i}.png,"{"train" * 30}' if i == 1 else f"2021/cat/{i}.png,train" for i in range(5)]
    split.write_text("\n".join(["file,part", *rows, *["2021/dog/0.png,train"] * 7000]))
    with pytest.raises(SourceError, match=r"line 3: .*quote that is not closed"):
        own_source(folder, split_file=str(split))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("2019-04", "2019-4"), "'2019-04' and '2019-4' are one date"),
        (("2019-12", "2019-13"), "'2019-13' is not a date: there is no month 13"),
        (("2019-01-01", "2019-01-32"), "'2019-01-32' is not a date: there is no day 32"),
    ],
)
def test_dates_that_are_none(tmp_path, names, said):
    with pytest.raises(SourceError, match=said):
        own_source(own_folder(tmp_path / "data", names))
    assert own_source(tmp_path / "data", steps=names).step_names == names


def test_cat_and_Cat(tmp_path):
    folder = own_folder(tmp_path / "data", ("2019",), ("Cat", "dog"))
    own_folder(folder, ("2020",), ("cat", "dog"))
    with pytest.raises(SourceError, match="'Cat' and 'cat' differ in capital letters alone"):
        own_source(folder)
    letters = own_folder(tmp_path / "letters", ("2019", "2020"), ("A", "a"))
    assert own_source(letters).class_names == ("A", "a")


def test_an_empty_class_folder_is_said(folder):
    (folder / "2020" / "owl").mkdir()
    assert own_source(folder).notes == ("left out 1 folder that holds no file ('2020/owl')",)


@pytest.mark.parametrize("level", [0, 1])
def test_parts_of_a_split_are_no_time_steps(tmp_path, level):
    for part in ("train", "val", "test"):
        own_folder(tmp_path / "data" / ("2019" if level else ""), (part,))
        if level:
            shutil.move(tmp_path / "data" / "2019" / part, tmp_path / "data" / "2019" / "x")
            own_folder(tmp_path / "data" / "2019" / part, ("a",))
            shutil.rmtree(tmp_path / "data" / "2019" / "x")
    with pytest.raises(SourceError, match="found the folders test, train, val, which are parts of a split"):
        own_source(tmp_path / "data")


@pytest.mark.parametrize("names", [("①", "②"), ("5²", "5³"), ("٣", "٤")])
def test_classes_with_digits_of_all_kinds(tmp_path, names):
    assert own_source(own_folder(tmp_path / "data", classes=names)).class_names == names


def test_a_name_in_latin_1_is_one_line(folder):
    os.makedirs(os.fsencode(folder / "2020") + b"/caf\xe9")
    with pytest.raises(SourceError, match=r"2020: the name b'caf\\xe9' in this folder is not in UTF-8"):
        own_source(folder)


@pytest.mark.parametrize("unit", ["ns", "us", "s", "D"])
def test_dates_of_every_unit(tmp_path, unit):
    days = np.array(["2019-04-01", "2019-05-01"], f"datetime64[{unit}]").repeat(20)
    images = np.stack([picture(i, 8, 8) for i in range(40)])
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(40) % 2, time=days)
    assert own_source(tmp_path / "data.npz").step_names == ("2019-04-01", "2019-05-01")
    assert own_source(tmp_path / "data.npz", period="month").step_names == ("2019-04", "2019-05")


def test_channels_first_and_missing_dates(tmp_path):
    images = np.stack([picture(i, 8, 8) for i in range(40)])
    days = np.array(["2019-04-01", "NaT"], "datetime64[ns]").repeat(20)
    arrays = {"labels": np.arange(40) % 2, "time": days}
    np.savez(tmp_path / "data.npz", images=np.moveaxis(images, -1, 1), **arrays)
    with pytest.raises(SourceError, match=r"\(40, 3, 8, 8\); these look like \(n, c, h, w\)"):
        own_source(tmp_path / "data.npz")
    np.savez(tmp_path / "data.npz", images=images, **arrays)
    with pytest.raises(SourceError, match="time holds 20 dates that are missing"):
        own_source(tmp_path / "data.npz")


def test_channels_first_of_own_images(tmp_path):
    images = np.stack([picture(i, 8, 8) for i in range(8)])
    arrays = {f"{part}_labels": np.arange(8) % 2 for part in ("train", "test")}
    arrays |= {f"{part}_images": np.moveaxis(images, -1, 1) for part in ("train", "test")}
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(SourceError, match=r"\(8, 3, 8, 8\); these look like \(n, c, h, w\)"):
        load_own_images(tmp_path)
