"""Yearbook as the package wild-time-data stores it: `yearbook.hdf5`, one group per year with its photographs.

Groups are `/<year>/{train,test}/{images,labels}`, years 1930 to 2013. A year's training photographs are split into
training and validation samples; its test photographs are the test set.
"""

from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError, data_folder
from seqfinal_jax.data.recorded.recorded import Choices, RecordedSequence, arrays_digest, samples_of
from seqfinal_jax.data.recorded.splits import DRAWN, PARTS
from seqfinal_jax.data.sequences.source import SequenceRequest, sequence

FILE = "yearbook.hdf5"
SIZE = 32
CHANNELS = (1, 3)


@sequence("yearbook")
def yearbook(request: SequenceRequest) -> RecordedSequence:
    """Photographs of American yearbooks, one step per year (`config.data.period=decade`: per decade); no oracle."""
    path = yearbook_file(data_folder(request.data_dir))
    images, labels, years, parts = read_yearbook(path)
    samples = samples_of(images, labels, years, parts)
    names = ("male", "female")
    record = {
        "dataset": "yearbook", "origin": "file", "path": str(path), "official": "unverified", "files": {}, "note": "",
        "content_sha256": arrays_digest(samples, names),
    }  # fmt: skip
    return RecordedSequence(
        "yearbook", names, samples, Choices.of(request.data), record, mirror_keeps_class=True
    )


def yearbook_file(folder: Path | None) -> Path:
    """Where the file lies; raises SourceError where it does not."""
    places = [] if folder is None else [folder / FILE, folder / "Data" / FILE]
    for place in places:
        if place.is_file():
            return place
    raise SourceError(
        f"yearbook: expected {FILE} in the folder of --data_dir, found {folder or 'no folder named'}; the package "
        f"wild-time-data downloads it"
    )


def read_yearbook(path: Path) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Images (n,32,32,c) uint8, labels, years and parts. Raises SourceError for another layout or other values."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]  (optional)
    except ImportError:
        raise SourceError(f"{path}: reading HDF5 needs h5py; pip install h5py") from None
    columns: list[list[Any]] = [[], [], [], []]
    try:
        with h5py.File(path, "r") as file:
            for year in sorted(map(str, file), key=int):
                for name, part in (("train", DRAWN), ("test", PARTS.index("test"))):
                    images, labels = _group(path, file, year, name)
                    for column, values in zip(
                        columns, (images, labels, [year] * len(labels), [part] * len(labels)), strict=True
                    ):
                        column.append(values)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{path}: expected groups /<year>/{{train,test}}/{{images,labels}}, found another layout ({error})"
        ) from None
    images, labels, years, parts = columns
    return (
        np.concatenate(images),
        np.concatenate(labels),
        [y for each in years for y in each],
        np.concatenate(parts),
    )


def _group(path: Path, file: Any, year: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    group = file[year][name]
    return pixels_of(np.asarray(group["images"]), f"{path}, /{year}/{name}/images"), labels_of(
        np.asarray(group["labels"]), len(group["images"]), f"{path}, /{year}/{name}/labels"
    )


def pixels_of(stored: np.ndarray, where: str) -> np.ndarray:
    """Stored images as (n,32,32,c) uint8: channels first or last, whole 0..255 or fractions 0..1."""
    if stored.ndim == 3:
        stored = stored[..., None]
    if stored.ndim == 4 and stored.shape[2:] == (SIZE, SIZE) and stored.shape[1] in CHANNELS:
        stored = np.moveaxis(stored, 1, -1)
    if stored.ndim != 4 or stored.shape[1:3] != (SIZE, SIZE) or stored.shape[3] not in CHANNELS:
        raise SourceError(f"{where}: expected images of 32x32 with 1 or 3 channels, found {stored.shape}")
    low, high = (float(stored.min()), float(stored.max())) if stored.size else (0.0, 0.0)
    fractions = stored.dtype.kind == "f" and high <= 1
    if not (low >= 0 and high <= 255) or stored.dtype.kind not in "uif":
        raise SourceError(
            f"{where}: expected values 0..1 or 0..255, found {stored.dtype} from {low:g} to {high:g}"
        )
    values = np.asarray(stored, np.float64) * (255 if fractions else 1)
    whole = np.rint(values)
    if np.abs(values - whole).max(initial=0) > 1e-3:
        raise SourceError(f"{where}: expected pixels of 8 bits, found values between them")
    return whole.astype(np.uint8)


def labels_of(stored: np.ndarray, count: int, where: str) -> np.ndarray:
    """Stored labels (n,) or (n,1) as (n,) int32 of 0 and 1."""
    flat = stored.reshape(-1) if stored.size == count else stored
    if flat.shape != (count,) or not np.isin(flat, (0, 1)).all():
        raise SourceError(f"{where}: expected {count} labels of 0 and 1, found {stored.dtype} {stored.shape}")
    return flat.astype(np.int32)
