"""Portraits: photographs of a century of American yearbooks, by decade, M or F (data specification, section 4).

Read straight from the folders `M` and `F` of the upstream archive, from the archive itself, or from the prepared layout
`time0` to `time7` with a folder for each class.
"""

import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError, data_folder
from seqfinal_jax.data.base.upstream import LARGEST_FILE, archive_md5
from seqfinal_jax.data.images.decode import BadImage, Reading, decode
from seqfinal_jax.data.images.formats import SUFFIXES
from seqfinal_jax.data.images.image_files import contents_digest, decoded
from seqfinal_jax.data.images.image_folders import find_images
from seqfinal_jax.data.recorded.recorded import Choices, RecordedSequence, arrays_digest, samples_of
from seqfinal_jax.data.sequences.source import SequenceRequest, sequence

DECADES = tuple(f"{year}s" for year in range(1930, 2010, 10))  # the last one holds all from 2000 on
SIZE = 32
ARCHIVE = "faces_aligned_small_mirrored_co_aligned_cropped_cleaned.tar.gz"
ARCHIVE_MD5 = "ab853c17ca6630c191457ff1fb16c1a4"  # seen in a public script, never confirmed
FOLDERS = ("M", "F")
YEAR = re.compile(r"(19[3-9]|2)\d+")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The published program subtracts 255 times the mean from pixels that are 0..1 already.
PUBLISHED_SCALING = tuple(255 * value for value in MEAN), tuple(255 * value for value in STD)


@sequence("portraits")
def portraits(request: SequenceRequest) -> RecordedSequence:
    """Photographs of American yearbooks in eight steps; one split, drawn from `config.data.split_seed`; no oracle."""
    folder = data_folder(request.data_dir)
    if folder is None:
        raise SourceError(_wanted("no folder is named", "--data_dir or SEQFINAL_DATA_DIR"))
    place = find_portraits(folder)
    read = read_archive if place.is_file() else read_folder
    images, labels, decades, record = read(place)
    samples = samples_of(images, labels, decades)
    record = {"dataset": "portraits", "path": str(place), "files": {}, "official": "unverified", **record}
    record["content_sha256"] = arrays_digest(samples, FOLDERS)
    choices = Choices.of(request.data, by_class=False)
    names = ("male", "female")
    return RecordedSequence(
        "portraits", names, samples, choices, record, PUBLISHED_SCALING, mirror_keeps_class=True
    )


def _wanted(found: str, where: str) -> str:
    return (
        f"portraits: {found} ({where}); expected a folder with M and F, one with time0 to time7, or {ARCHIVE}, from "
        f"https://people.eecs.berkeley.edu/~shiry/projects/yearbooks/yearbooks.html"
    )


def find_portraits(folder: Path) -> Path:
    """The folder or archive to read, in `folder` itself or one level below; raises SourceError where there is none."""
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if all((place / name).is_dir() for name in FOLDERS) or (place / "time0").is_dir():
            return place
    archives = sorted(
        path for path in folder.iterdir() if path.name.startswith("faces_aligned") and path.is_file()
    )
    if archives:
        return archives[0]
    raise SourceError(_wanted("not found", str(folder)))


def read_folder(place: Path) -> tuple[np.ndarray, list[int], list[str], dict[str, Any]]:
    """Images, labels, decades and a record, of either layout; order: steps, in them class 0 then class 1, by name."""
    prepared = (place / "time0").is_dir()
    groups = list(_prepared(place) if prepared else _upstream(place))
    paths = [path for _, _, files in groups for path in files]
    images = decoded(paths, contents_digest(place, paths), Reading(SIZE, 3)).images
    labels = [label for _, label, files in groups for _ in files]
    decades = [decade for decade, _, files in groups for _ in files]
    layout = "time0 to time7" if prepared else "folders M and F"
    return images, labels, decades, {"origin": "folder", "note": f"{layout}; {_counts(decades)}"}


def _prepared(place: Path) -> Iterator[tuple[str, int, Sequence[Path]]]:
    for t, decade in enumerate(DECADES):
        for label in (0, 1):
            folder = place / f"time{t}" / str(label)
            if not folder.is_dir():
                raise SourceError(f"{folder}: expected a folder of photographs, found nothing there")
            yield decade, label, sorted(find_images(folder).images, key=lambda path: path.name)


def _upstream(place: Path) -> Iterator[tuple[str, int, Sequence[Path]]]:
    by_class = [
        [path for path in find_images(place / name).images if decade_of(path.name)] for name in FOLDERS
    ]
    for decade in DECADES:
        for label, paths in enumerate(by_class):
            own = [path for path in paths if decade_of(path.name) == decade]
            yield decade, label, sorted(own, key=lambda path: path.name)


def decade_of(name: str) -> str | None:
    """The step of a photograph, from the year that its name begins with; None before 1930."""
    match = YEAR.match(name)
    if match is None:
        return None
    return "2000s" if match[1] == "2" else f"{match[1]}0s"


def _counts(decades: Sequence[str]) -> str:
    return ", ".join(f"{decade} {decades.count(decade)}" for decade in DECADES) + " photographs"


def read_archive(path: Path) -> tuple[np.ndarray, list[int], list[str], dict[str, Any]]:
    """The same from the upstream archive, in memory."""
    found: dict[tuple[str, int, str], np.ndarray] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                place = _place(member.name) if member.isfile() else None
                if place is not None:
                    found[place] = _photograph(archive, member, path)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise SourceError(
            f"{path}: expected a whole .tar.gz archive, found one that cannot be read ({error}); fetch it again"
        ) from None
    if not found:
        raise SourceError(f"{path}: expected photographs in folders M and F from 1930 on, found none")
    keys = sorted(found)
    same = archive_md5(path) == ARCHIVE_MD5
    decades = [decade for decade, _, _ in keys]
    note = (
        f"its md5 {'equals' if same else 'differs from'} the one seen in a public script; {_counts(decades)}"
    )
    images = np.stack([found[key] for key in keys])
    return images, [label for _, label, _ in keys], decades, {"origin": "archive", "note": note}


def _place(name: str) -> tuple[str, int, str] | None:
    path = Path(name)
    folder = path.parent.name
    usable = folder in FOLDERS and path.suffix.lower() in SUFFIXES
    decade = decade_of(path.name) if usable and not path.name.startswith(".") else None
    return (decade, FOLDERS.index(folder), path.name) if decade else None


def _photograph(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> np.ndarray:
    file = archive.extractfile(member)
    if file is None or member.size > LARGEST_FILE:
        raise SourceError(f"{path}: expected {member.name} to be a photograph")
    try:
        return decode(file.read(), SIZE, 3)
    except BadImage as error:
        raise SourceError(f"{path}, {member.name}: {error}") from None
