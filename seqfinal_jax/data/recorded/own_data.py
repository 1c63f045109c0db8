"""A user's own sequence: folders `step/class/image` or `year/month/class/image`, or one .npz with images and times."""

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError, data_folder
from seqfinal_jax.data.images.decode import MOST_MEGAPIXELS, Reading
from seqfinal_jax.data.images.image_files import channels_are_first, contents_digest, decoded, pixel_digests
from seqfinal_jax.data.images.image_folders import Found, find_images, natural, refuse_linked_steps
from seqfinal_jax.data.recorded.recorded import Choices, RecordedSequence, Samples, arrays_digest, samples_of
from seqfinal_jax.data.recorded.splits import DRAWN, PARTS
from seqfinal_jax.data.sequences.source import SequenceRequest, sequence

LAYOUTS = "STEP/CLASS/IMAGE or YEAR/MONTH/CLASS/IMAGE"
YEAR, MONTH = re.compile(r"\d{4}"), re.compile(r"0?[1-9]|1[0-2]")
FEW, SHOWN = 5, 80  # examples in a message, characters of a name
READ_WITH = ("image_size", "grey", "split_file", "white")
SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


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
    if not data.get("steps"):
        refuse_linked_steps({time: path.parents[1] for time, path in zip(times, found.images, strict=True)})
    class_names = tuple(sorted(set(classes), key=natural))
    refuse_alike(folder, times, classes)
    labels = [class_names.index(name) for name in classes]
    parts, groups = named_parts(data.get("split_file", ""), folder, found.images)
    contents = contents_digest(folder, found.images)
    pictures = decoded(found.images, contents, reading_of(data))
    notes = [note for note in (found.note(), pictures.note()) if note]
    record = {"origin": "folder", "note": "; ".join(notes), "files_sha256": contents}
    names = [path.relative_to(folder).as_posix() for path in found.images]
    samples = samples_of(pictures.images, labels, times, parts, pictures.digests, groups, names)
    return samples, class_names, record


def reading_of(data: Mapping[str, Any]) -> Reading:
    """How image files are read, from the section `config.data`."""
    return Reading(
        data.get("image_size", 32),
        1 if data.get("grey") else 3,
        data.get("white", 0.0),
        data.get("most_megapixels", MOST_MEGAPIXELS),
    )


def refuse_alike(folder: Path, times: Sequence[str], classes: Sequence[str]) -> None:
    """Raises SourceError for two classes that differ by case alone and never stand in one step, such as Cat and cat."""
    steps: dict[str, set[str]] = {}
    for time, name in zip(times, classes, strict=True):
        steps.setdefault(name, set()).add(time)
    first: dict[str, str] = {}
    for name in sorted(steps):
        other = first.setdefault(name.casefold(), name)
        if other != name and not steps[other] & steps[name]:
            raise SourceError(
                f"{folder}: the classes {other!r} and {name!r} differ in capital letters alone, and no time step has "
                f"both; give the folders of one class one name"
            )


def place_of(path: Path, folder: Path) -> tuple[str, str] | None:
    """The time and class that an image's folders say; None where they are of no known layout."""
    parts = [unicodedata.normalize("NFC", part) for part in path.relative_to(folder).parts]
    if len(parts) == 3:
        return parts[0], parts[1].strip()
    if len(parts) == 4 and YEAR.fullmatch(parts[0]) and MONTH.fullmatch(parts[1]):
        return f"{parts[0]}-{int(parts[1]):02d}", parts[2].strip()
    return None


def _refuse_layout(folder: Path, found: Found, placed: Sequence[Any]) -> None:
    paths = [path.relative_to(folder) for path in found.images]
    depths = {len(path.parts) for path in paths}
    strange = [path for path, place in zip(paths, placed, strict=True) if place is None]
    for level in (0, 1):
        names = {path.parts[level] for path in paths if len(path.parts) > level + 2}
        if len(names) > 1 and {name.lower() for name in names} <= SPLIT_NAMES:
            raise SourceError(
                f"{folder}: found the folders {', '.join(sorted(names))}, which are parts of a split and no time steps; "
                f"expected {LAYOUTS}. Name parts in a file (--config.data.split_file); for images of one time, see "
                f"--config.data.dataset=own_images"
            )
    if not strange and len(depths) == 1:
        return
    examples = strange or [
        next(path for path in paths if len(path.parts) == depth) for depth in sorted(depths)
    ]
    shown = ", ".join(repr(path.as_posix()) for path in examples[:FEW])
    raise SourceError(f"{folder}: expected images in one layout, {LAYOUTS}, found {shown}")


def named_parts(file: str, folder: Path, paths: Sequence[Path]) -> tuple[np.ndarray | None, list[str] | None]:
    """The parts and groups that a CSV file with columns `file`, `part` and `group` gives to images.

    Parts are -1 for images that the file does not name, or names without one; groups are empty for them. Either column
    may lack. Raises SourceError for parts that are none, files that are not there, and images named twice.
    """
    if not file:
        return None, None
    place = {path.relative_to(folder).as_posix(): row for row, path in enumerate(paths)}
    parts, groups, path = np.full(len(paths), DRAWN), [""] * len(paths), Path(file).expanduser()
    seen: dict[str, tuple[int, str, str]] = {}
    for number, row in _csv_rows(file, path):
        name, part, group = ((row.get(column) or "").strip() for column in ("file", "part", "group"))
        missing = not part and "group" not in row
        if part not in (*PARTS, "") or missing or name not in place:
            wrong = f"no image {name[:SHOWN]!r} below {folder}" if name not in place else f"part {part!r}"
            raise SourceError(
                f"{path}, line {number}: expected the columns file and part, or file, part and group, with a path below "
                f"--data_dir and one of {', '.join(PARTS)}, found {wrong}"
            )
        before, *there = seen.setdefault(name, (number, part, group))
        if there != [part, group]:
            raise SourceError(
                f"{path}, lines {before} and {number}: the image {name!r} is named twice, as {there[0] or 'drawn'!r} and "
                f"as {part or 'drawn'!r}{'' if there[1] == group else f', of groups {there[1]!r} and {group!r}'}; "
                f"leave one of the two"
            )
        parts[place[name]] = PARTS.index(part) if part else DRAWN
        groups[place[name]] = group
    return parts, groups


def _csv_rows(file: str, path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with the numbers of the lines that they begin on."""
    rows: list[tuple[int, dict[str, str]]] = []
    begin = 2
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            for row in reader:
                rows.append((begin, row))
                begin = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{path}, line {begin}: expected a row of CSV, found one that cannot be read ({error}); look for a quote "
            f"that is not closed"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"config.data.split_file={file!r} cannot be read: {error}") from None
    return rows


def read_npz(path: Path, data: Mapping[str, Any]) -> tuple[Samples, tuple[str, ...], dict[str, Any]]:
    """The same of a .npz file with images (n,h,w[,c]) uint8, labels (n,), time (n,), and perhaps `part`, `group` (n,)."""
    arrays = _arrays(path)
    images = _images(path, arrays["images"])
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
    refuse_alike(path, times, labels)
    groups = _texts(path, "group", arrays["group"], len(images)) if "group" in arrays else None
    names = [f"image {row}" for row in range(len(images))]
    samples = samples_of(images, labelled, times, parts, pixel_digests(images), groups, names)
    return samples, class_names, {"origin": "file", "note": ""}


def _images(path: Path, images: np.ndarray) -> np.ndarray:
    """The images of an archive as (n,h,w,c) uint8."""
    if images.ndim == 3:
        images = images[..., None]
    channels_first = channels_are_first(images.shape)
    if images.dtype != np.uint8 or images.ndim != 4 or channels_first:
        advice = "; these look like (n, c, h, w), save np.moveaxis(images, 1, -1)" if channels_first else ""
        raise SourceError(
            f"{path}: expected images as uint8 (n, h, w) or (n, h, w, c) with values 0..255, found {images.dtype} "
            f"{images.shape}{advice}"
        )
    return images


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
    """Whole numbers, dates or strings as strings; dates of any unit to the day, or their own month or year."""
    if values.shape != (count,) or values.dtype.kind not in "iuUM":
        raise SourceError(
            f"{path}: expected {name} as ({count},) whole numbers, strings or dates, found {values.dtype} {values.shape}"
        )
    if values.dtype.kind == "M":
        if np.isnat(values).any():
            raise SourceError(
                f"{path}: {name} holds {int(np.isnat(values).sum())} dates that are missing (NaT)"
            )
        unit = np.datetime_data(values.dtype)[0]
        values = values if unit in ("Y", "M") else values.astype("datetime64[D]")
    return [unicodedata.normalize("NFC", str(value)) for value in values]
