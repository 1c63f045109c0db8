"""Sealed folders: whole or not at all, and every changed byte is found."""

import json

import numpy as np
import pytest

from seqfinal_jax.results.checkpoints import FORMAT, read_folder, read_meta, write_folder
from seqfinal_jax.results.sealed import (
    DamagedFolder,
    OtherFormat,
    read_record,
    read_sealed,
    record_digest,
    write_sealed,
)


@pytest.fixture
def folder(tmp_path):
    """A folder below a path that globbing would take for a pattern."""
    place = tmp_path / "a[1] b*?" / "stage"
    write_sealed(place, "record.json", {"n": 1, "x": 0.1}, {"a.txt": "text", "b.bin": b"\x00\x01"})
    return place


def test_what_was_written_is_read(folder):
    record = read_sealed(folder, "record.json")
    assert (record["n"], record["x"]) == (1, 0.1)
    assert {path.name for path in folder.iterdir()} == {"record.json", "a.txt", "b.bin"}
    assert [path.name for path in folder.parent.iterdir()] == ["stage"]


@pytest.mark.parametrize("name", ["record.json", "a.txt", "b.bin"])
@pytest.mark.parametrize("harm", ["change", "cut", "remove"])
def test_any_harm_is_found(folder, name, harm):
    path = folder / name
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-2] if harm == "cut" else content.replace(content[:1], b"~", 1))
    with pytest.raises(DamagedFolder):
        read_sealed(folder, "record.json")


def test_a_number_in_the_record_is_covered(folder):
    path = folder / "record.json"
    path.write_text(path.read_text().replace('"n": 1', '"n": 2'))
    with pytest.raises(DamagedFolder, match="failed its checksum"):
        read_record(folder, "record.json")


def test_a_replaced_folder_is_the_new_one_whole(folder):
    write_sealed(folder, "record.json", {"n": 2}, {"c.txt": "other"})
    assert read_sealed(folder, "record.json")["n"] == 2
    assert {path.name for path in folder.iterdir()} == {"record.json", "c.txt"}


def test_a_write_that_fails_leaves_the_old_folder(folder):
    def fails(path):
        path.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_sealed(folder, "record.json", {"n": 3}, {"a.txt": fails})
    assert read_sealed(folder, "record.json")["n"] == 1
    assert [path.name for path in folder.parent.iterdir()] == ["stage"]


def test_arrays_and_texts_come_back_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    arrays = {"a.kernel": random.normal(size=(3, 4)).astype(np.float32), "b": np.array([np.nan, -0.0])}
    write_folder(tmp_path / "f[0]", arrays, {"chosen": 1}, {"grid.csv": "member\n0\n"})
    read, meta, files = read_folder(tmp_path / "f[0]")
    assert {name: array.tobytes() for name, array in read.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }
    assert meta["chosen"] == 1 and files == {"grid.csv": "member\n0\n"}


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1])
def test_another_format_is_named_as_such(tmp_path, number):
    write_folder(tmp_path / "f", {"a": np.ones(2)}, {})
    path = tmp_path / "f" / "meta.json"
    record = json.loads(path.read_text()) | {"format": number}
    path.write_text(json.dumps(record | {"seal": record_digest(record)}))
    with pytest.raises(OtherFormat, match=f"has format {number}, and this version reads {FORMAT}"):
        read_meta(tmp_path / "f")
