"""The code of a plugin as bytes: read once, identified, kept, and executed as it was read.

A plugin is a file with the modules of the user's own that it imports. The bytes that are executed are those of which the
digest was taken, even if the files change meanwhile.
"""

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, ClassVar

from seqfinal_jax.records.code_identity import imported_files


@dataclass(frozen=True, eq=False)
class PluginCode:
    """A plugin's files.

    name: as the user named it, a path or a module. path: its file, absolute. origin: the same; for a copy, the path of
    the plugin that it was copied from. root: the folder that is put on the module path. files: the bytes of the plugin
    and of the modules that it imports, by their names below `root` (or another folder of the module path). places: the
    paths of these files.
    """

    name: str
    path: Path
    origin: Path
    root: Path
    files: dict[str, bytes]
    places: dict[str, Path]

    @property
    def main(self) -> str:
        """The name of the plugin's own file among `files`."""
        return next(name for name, place in self.places.items() if place == self.path)

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            total.update(f"{name}\0{len(self.files[name])}\0".encode() + self.files[name])
        return total.hexdigest()

    def record(self) -> dict[str, Any]:
        """The entry of this plugin in a run folder, for `config.plugins` named `name`."""
        return {"name": self.name, "path": str(self.origin), "digest": self.digest, "main": self.main}


def read_code(name: str, path: Path) -> PluginCode:
    """The code of a plugin whose file was found; raises OSError for files that cannot be read."""
    dots = 0 if name.endswith(".py") else name.count(".") + (path.name == "__init__.py")
    root, found = path.parents[dots], imported_files(path)
    for level in range(dots):
        package = path.parents[level] / "__init__.py"
        found |= {package} if package.is_file() else set()
    places = {_below(place, root): place for place in sorted(found)}
    return PluginCode(
        name, path, path, root, {each: place.read_bytes() for each, place in places.items()}, places
    )


def code_in(record: dict[str, Any], folder: Path) -> PluginCode:
    """The code of the plugin that a folder has a copy of; raises OSError where there is none."""
    places = {place.relative_to(folder).as_posix(): place for place in sorted(folder.rglob("*.py"))}
    files = {name: place.read_bytes() for name, place in places.items()}
    if record["main"] not in files:
        raise FileNotFoundError(2, "there is no copy of the plugin", str(folder / record["main"]))
    main, origin = places[record["main"]], Path(record["path"])
    return PluginCode(record["name"], main, origin, folder, files, places)


def _below(place: Path, root: Path) -> str:
    """A file's name below the root, or below the nearest folder of the module path that it lies in."""
    folders = [root, *(Path(each).resolve() for each in sys.path if each)]
    inside = [folder for folder in folders if place.is_relative_to(folder)]
    nearest = root if root in inside else max(inside, key=lambda each: len(each.parts), default=place.parent)
    return place.relative_to(nearest).as_posix()


def execute(code: PluginCode) -> ModuleType:
    """Runs a plugin's bytes; its own modules are imported from its bytes too. Raises whatever the code raises."""
    _Served.contents.update({str(place): code.files[name] for name, place in code.places.items()})
    _Served.install()
    folder = str(code.root)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not code.name.endswith(".py"):
        return importlib.import_module(code.name)
    module_name = f"seqfinal_plugin_{code.path.stem}"
    loader = _BytesLoader(module_name, str(code.path))
    spec = importlib.util.spec_from_file_location(module_name, code.path, loader=loader)
    assert spec is not None  # as there is a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    loader.exec_module(module)
    return module


class _BytesLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from the bytes that were read of its file, never from compiled ones."""

    def get_code(self, fullname: str) -> CodeType:
        """The compiled bytes."""
        content = _Served.contents[os.path.realpath(self.path)]
        return compile(content, self.path, "exec", dont_inherit=True)


class _Served(importlib.abc.MetaPathFinder):
    """Finds modules whose files belong to a plugin that was read."""

    contents: ClassVar[dict[str, bytes]] = {}

    @classmethod
    def install(cls) -> None:
        """Puts the finder before all others, once."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module as usual, loaded from bytes; None for modules that belong to no plugin."""
        if fullname.rpartition(".")[2] not in set(self._names()):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or not spec.origin or os.path.realpath(spec.origin) not in self.contents:
            return None
        spec.loader = _BytesLoader(fullname, spec.origin)
        return spec

    def _names(self) -> Iterator[str]:
        for place in map(Path, self.contents):
            yield place.parent.name if place.name == "__init__.py" else place.stem
