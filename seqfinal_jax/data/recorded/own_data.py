"""A user's own sequence: folders `step/class/image` or `year/month/class/image`, or one .npz with images and times."""

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError, data_folder
from seqfinal_jax.data.images.image_files import Found, contents_digest, decoded, find_images, natural
from seqfinal_jax.data.recorded.recorded import Choices, RecordedSequence, Samples, arrays_digest, samples_of
from seqfinal_jax.data.recorded.splits import DRAWN, PARTS
from seqfinal_jax.data.sequences.source import SequenceRequest, sequence

LAYOUTS = "STEP/CLASS/IMAGE or YEAR/MONTH/CLASS/IMAGE"
YEAR, MONTH = re.compile(r"\d{4}"), re.compile(r"0?[1-9]|1[0-2]")
FEW = 5  # examples in a message
READ_WITH = ("image_size", "grey", "split_file")


@sequence("own_data")
def own_data(request: SequenceRequest) -> RecordedSequence:
    """The images below --data_dir, or in the one .npz file that it names or holds."""
    place = own_place(request.data_dir)
    samples, class_names, record = (
        read_npz(place, request.data) if place.is_file() else read_folders(place, request.data)
    )
    record = {"dataset": "own_data", "path": str(place), "official": "unverified", "files": {}, **record}
    record["content_sha256"] = arrays_digest(samples, class_names)
    notes = (record["note"],) if record["note"] else ()
    read_with = {name: request.data.get(name) for name in READ_WITH}
    return RecordedSequence(
        "own_data", class_names, samples, Choices.of(request.data), record, notes=notes, read_with=read_with
    )


def own_place(data_dir: Path | None) -> Path:
    """The folder or .npz file to read. Raises SourceError where there is none."""
    if data_dir and data_dir.expanduser().is_file():
        if data_dir.suffix.lower() != ".npz":
            raise SourceError(
                f"--data_dir={data_dir}: expected a folder of images or a .npz file, found another file"
            )
        return data_dir.expanduser()
    folder = data_folder(data_dir)
    if folder is None:
        raise SourceError(
            f"own data: name their folder with --data_dir, laid out as {LAYOUTS}, or a .npz file with images, "
            f"labels and time"
        )
    arrays = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".npz")
    return arrays[0] if len(arrays) == 1 else folder


def read_folders(folder: Path, data: Mapping[str, Any]) -> tuple[Samples, tuple[str, ...], dict[str, Any]]:
    """Samples, names of classes and a record, of a folder of images."""
    found = find_images(folder)
    placed = [place_of(path, folder) for path in found.images]
    _refuse_layout(folder, found, placed)
    times, classes = zip(*placed, strict=True)
    class_names = tuple(sorted(set(classes), key=natural))
    labels = [class_names.index(name) for name in classes]
    parts = named_parts(data.get("split_file", ""), folder, found.images)
    contents = contents_digest(folder, found.images)
    images = decoded(found.images, contents, data.get("image_size", 32), 1 if data.get("grey") else 3)
    record = {"origin": "folder", "note": found.note(), "files_sha256": contents}
    return samples_of(images, labels, times, parts), class_names, record


def place_of(path: Path, folder: Path) -> tuple[str, str] | None:
    """The time and class that an image's folders say; None where they are of no known layout."""
    parts = [unicodedata.normalize("NFC", part) for part in path.relative_to(folder).parts]
    if len(parts) == 3:
        return parts[0], parts[1].strip()
    if len(parts) == 4 and YEAR.fullmatch(parts[0]) and MONTH.fullmatch(parts[1]):
        return f"{parts[0]}-{int(parts[1]):02d}", parts[2].strip()
    return None


def _refuse_layout(folder: Path, found: Found, placed: Sequence[Any]) -> None:
    depths = {len(path.relative_to(folder).parts) for path in found.images}
    strange = [path for path, place in zip(found.images, placed, strict=True) if place is None]
    if not strange and len(depths) == 1:
        return
    examples = strange or [
        next(path for path in found.images if len(path.relative_to(folder).parts) == depth)
        for depth in sorted(depths)
    ]
    shown = ", ".join(repr(path.relative_to(folder).as_posix()) for path in examples[:FEW])
    raise SourceError(f"{folder}: expected images in one layout, {LAYOUTS}, found {shown}")


def named_parts(file: str, folder: Path, paths: Sequence[Path]) -> np.ndarray | None:
    """The parts that a CSV file with columns `file` and `part` gives to images; -1 for those that it does not name.

    Raises SourceError for other columns, parts that are none, and files that are not there.
    """
    if not file:
        return None
    place = {path.relative_to(folder).as_posix(): row for row, path in enumerate(paths)}
    parts, path = np.full(len(paths), DRAWN), Path(file).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"config.data.split_file={file!r} cannot be read: {error}") from None
    for number, row in enumerate(rows, start=2):
        name, part = (row.get("file") or "").strip(), (row.get("part") or "").strip()
        if part not in PARTS or name not in place:
            wrong = f"no image {name!r} below {folder}" if part in PARTS else f"part {part!r}"
            raise SourceError(
                f"{path}, line {number}: expected the columns file and part, a path below --data_dir and one of "
                f"{', '.join(PARTS)}, found {wrong}"
            )
        parts[place[name]] = PARTS.index(part)
    return parts


def read_npz(path: Path, data: Mapping[str, Any]) -> tuple[Samples, tuple[str, ...], dict[str, Any]]:
    """The same of a .npz file with images (n,h,w[,c]) uint8, labels (n,) and time (n,); `part` (n,) may be there."""
    arrays = _arrays(path)
    images = arrays["images"]
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise SourceError(
            f"{path}: expected images as uint8 (n, h, w) or (n, h, w, c) with values 0..255, found {images.dtype} "
            f"{images.shape}"
        )
    labels, times = (_texts(path, name, arrays[name], len(images)) for name in ("labels", "time"))
    class_names = tuple(sorted(set(labels), key=natural))
    parts = None
    if "part" in arrays:
        named = _texts(path, "part", arrays["part"], len(images))
        unknown = sorted(set(named) - {*PARTS, ""})
        if unknown:
            raise SourceError(f"{path}: expected part to hold {', '.join(PARTS)} or '', found {unknown[0]!r}")
        parts = [PARTS.index(part) if part else DRAWN for part in named]
    labelled = [class_names.index(label) for label in labels]
    return samples_of(images, labelled, times, parts), class_names, {"origin": "file", "note": ""}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # a cut-off file can fail in any layer of zip and npy
        raise SourceError(
            f"{path}: expected a .npz file of plain arrays, found one that cannot be read ({error})"
        ) from None
    missing = [name for name in ("images", "labels", "time") if name not in arrays]
    if missing:
        raise SourceError(
            f"{path}: expected the arrays images, labels and time, missing {', '.join(missing)}; found "
            f"{', '.join(arrays) or 'none'}"
        )
    return arrays


def _texts(path: Path, name: str, values: np.ndarray, count: int) -> list[str]:
    """Whole numbers, dates or texts as texts."""
    if values.shape != (count,) or values.dtype.kind not in "iuUM":
        raise SourceError(
            f"{path}: expected {name} as ({count},) whole numbers, texts or dates, found {values.dtype} {values.shape}"
        )
    return [unicodedata.normalize("NFC", str(value)) for value in values]
