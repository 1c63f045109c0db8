"""Portraits and Yearbook, from made-up folders and files in the layouts of the real ones."""

import tarfile

import numpy as np
import pytest

from configs.portraits import get_config
from seqfinal_jax.analysis.sequence_command import source_of
from seqfinal_jax.config import base_config
from seqfinal_jax.config.parse import parse, scaling_of
from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.recorded import portraits, yearbook
from seqfinal_jax.data.recorded.splits import SplitRule, split_rows
from seqfinal_jax.data.sequences.source import published_scaling_of
from tests.data.made_images import picture, save

pytestmark = pytest.mark.usefixtures("own_cache")

# Data specification, 9.6: photographs a step, then (train, valid[, test]) sizes, first rows of each.
COUNTS = (105, 98, 110, 99, 100, 97, 103, 211)
SIZES = [(84, 21), (78, 20), (88, 22), (79, 20), (80, 20), (77, 20), (82, 21), (84, 21, 106)]
TRAIN = [
    (104, 30, 63, 19, 93), (35, 86, 23, 13, 84), (17, 1, 2, 62, 85), (32, 75, 70, 3, 60), (12, 85, 39, 0, 22),
    (46, 58, 37, 31, 64), (42, 29, 21, 39, 22), (200, 173, 163, 159, 101),
]  # fmt: skip
VALID = [
    (102, 73, 90), (31, 34, 11), (84, 92, 70), (24, 56, 38), (18, 66, 33), (14, 77, 80), (65, 17, 0), (64, 169, 103),
]  # fmt: skip


def test_the_published_split():
    labels = [np.zeros(count, np.int32) for count in COUNTS]
    parts = [np.full(count, -1) for count in COUNTS]
    rows = split_rows(labels, parts, SplitRule(by_class=False, seed=1007), seed=5)
    for step, sizes, train, valid in zip(rows, SIZES, TRAIN, VALID, strict=True):
        assert tuple(map(len, step))[: len(sizes)] == sizes
        assert tuple(step[0][:5]) == train and tuple(step[1][:3]) == valid
    assert tuple(rows[7][2][:3]) == (174, 164, 91)
    assert all(len(step[2]) == 0 for step in rows[:7])


def test_both_scalings_of_pixels():
    pixels = np.array([0, 128, 255], np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=3)
    config = base_config(name="portraits", dataset="portraits")
    config.protocol.input_scaling = "raw"
    scaling = scaling_of(parse(config), portraits.PUBLISHED_SCALING)
    expected = [
        (-2.117904, -2.035714, -1.804444), (-2.109308, -2.026926, -1.795696), (-2.100779, -2.018207, -1.787015),
    ]  # fmt: skip
    assert np.allclose(scaling(pixels, np.float32)[:, 0, 0], expected, atol=1e-5)
    config.protocol.input_scaling = "standardised"
    white = scaling_of(parse(config), portraits.PUBLISHED_SCALING)(pixels, np.float32)[2, 0, 0]
    assert np.allclose(white, (1 - np.array(portraits.MEAN)) / portraits.STD, atol=1e-5)


def upstream(folder, a_decade=10):
    """Folders M and F with names as upstream, some before 1930."""
    for k, name in enumerate("MF"):
        for t, decade in enumerate((1905, *range(1930, 2010, 10))):
            for i in range(a_decade):
                year = decade + (i if decade < 2000 else i + 4)
                save(folder / name / f"{year}_School_{i:02d}.png", picture([k, t, i], 186, 171))
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return upstream(tmp_path_factory.mktemp("portraits"))


def portraits_of(folder, **data):
    config = get_config()
    config.data.update(data)
    return source_of(parse(config), str(folder))


def test_folders_of_the_upstream_archive(photographs):
    source = portraits_of(photographs)
    assert source.step_names == portraits.DECADES and source.variants == ("main",)
    assert source.sizes("main") == (20,) * 7 + (10,)
    assert source.class_names == ("male", "female") and source.image_shape == (32, 32, 3)
    assert source.samples.labels[:20].tolist() == [0] * 10 + [1] * 10
    assert "1930s 20" in source.record["note"] and source.record["official"] == "unverified"
    assert published_scaling_of(source) == portraits.PUBLISHED_SCALING
    final = source.build("main", 3).steps[-1]
    assert [len(part) for part in (final.train, final.valid, final.test)] == [8, 2, 10]


def test_the_seed_changes_nothing_unless_asked_to(photographs):
    source = portraits_of(photographs)
    rows = [source.build("main", seed).steps[0].train.source_index.tolist() for seed in (0, 1)]
    assert rows[0] == rows[1]
    free = portraits_of(photographs, split_seed=-1)
    rows = [free.build("main", seed).steps[0].train.source_index.tolist() for seed in (0, 1)]
    assert rows[0] != rows[1]


def test_the_prepared_layout_gives_the_same(photographs, tmp_path):
    for t, decade in enumerate(portraits.DECADES):
        for label, name in enumerate("MF"):
            folder = tmp_path / f"time{t}" / str(label)
            folder.mkdir(parents=True)
            for path in (photographs / name).iterdir():
                if portraits.decade_of(path.name) == decade:
                    (folder / path.name).symlink_to(path)
    upstream_form, prepared = portraits_of(photographs), portraits_of(tmp_path)
    assert prepared.identity("main") == upstream_form.identity("main")


def test_the_archive_gives_the_same(photographs, tmp_path):
    with tarfile.open(tmp_path / portraits.ARCHIVE, "w:gz") as archive:
        archive.add(photographs, "faces_aligned_small_mirrored_co_aligned_cropped_cleaned")
    source = portraits_of(tmp_path)
    assert source.identity("main") == portraits_of(photographs).identity("main")
    assert "differs from the one seen in a public script" in source.record["note"]
    (tmp_path / portraits.ARCHIVE).write_bytes((tmp_path / portraits.ARCHIVE).read_bytes()[:5000])
    with pytest.raises(SourceError, match=r"expected a whole .tar.gz archive"):
        portraits_of(tmp_path)


def test_missing_photographs_are_said(tmp_path):
    with pytest.raises(
        SourceError, match="expected a folder with M and F, one with time0 to time7, or faces_aligned"
    ):
        portraits_of(tmp_path)


def yearbook_file(
    folder, images=lambda n, k: picture(k, 32 * n, 32, 1).reshape(n, 32, 32, 1), years=range(1990, 2003)
):
    h5py = pytest.importorskip("h5py", reason="reading HDF5 needs h5py")
    with h5py.File(folder / "yearbook.hdf5", "w") as file:
        for year in years:
            for name, count in (("train", 20), ("test", 6)):
                file[f"{year}/{name}/images"] = images(count, year)
                file[f"{year}/{name}/labels"] = np.arange(count) % 2
    return folder


def yearbook_of(folder, **data):
    config = base_config(name="yearbook", dataset="yearbook")
    config.data.update(data)
    return source_of(parse(config), str(folder))


def test_yearbook_by_year_and_decade(tmp_path):
    source = yearbook_of(yearbook_file(tmp_path))
    assert source.step_names == tuple(map(str, range(1990, 2003))) and source.sizes("main") == (20,) * 13
    final = source.build("main", 0).steps[-1]
    assert [len(part) for part in (final.train, final.valid, final.test)] == [16, 4, 6]
    decades = yearbook_of(tmp_path, period="decade")
    assert decades.step_names == ("1990s", "2000s") and decades.sizes("main") == (200, 60)
    tested = yearbook_of(tmp_path, period="decade", test_all_steps=True).build("main", 0)
    assert [len(step.test) for step in tested.steps] == [60, 18]


@pytest.mark.parametrize("kind", ["first", "fractions"])
def test_the_order_of_axes_and_the_values_are_read_from_the_file(tmp_path, kind):
    pixels = picture(0, 32 * 20, 32, 3).reshape(20, 32, 32, 3)

    def images(count, year):
        own = pixels[:count]
        return np.moveaxis(own, -1, 1) if kind == "first" else (own / 255).astype(np.float32)

    source = yearbook_of(yearbook_file(tmp_path, images, (1990, 1991)))
    assert np.array_equal(source.samples.images[:20], pixels)


def test_other_values_and_layouts_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"expected values 0..1 or 0..255"):
        yearbook_of(yearbook_file(tmp_path, lambda n, k: np.full((n, 32, 32, 1), -1.0), (1990,)))
    with pytest.raises(SourceError, match="expected images of 32x32"):
        yearbook_of(yearbook_file(tmp_path, lambda n, k: np.zeros((n, 64, 64, 1)), (1990,)))
    (tmp_path / "yearbook.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(SourceError, match="found another layout"):
        yearbook_of(tmp_path)
    with pytest.raises(SourceError, match="wild-time-data downloads it"):
        yearbook.yearbook_file(tmp_path / "elsewhere")
