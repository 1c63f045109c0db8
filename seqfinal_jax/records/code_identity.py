"""Identifies the code that a result depends on: the digest of a user's file and of the modules that it imports.

This package's own code is covered by `RESULTS_VERSION`, libraries by their versions. A function or class from
anywhere else is identified by the bytes of its whole file and of every module that this file imports, directly or
not, from outside the standard library, site-packages and this package.
"""

import ast
import hashlib
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from seqfinal_jax.records.digests import text_digest

PACKAGE = Path(__file__).resolve().parents[1]
_digests: dict[Path, str] = {}


def qualified_name(thing: Any) -> str:
    """The name of a function or class with its module, or with the file's name where the file is not a module."""
    if is_ours(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    source = source_file(thing)
    module = source.stem if source and is_outside(source) else thing.__module__
    return f"{module}.{thing.__qualname__}"


def is_ours(thing: Any) -> bool:
    """Whether a function or class, or one of this qualified name, belongs to this package."""
    name = thing if isinstance(thing, str) else thing.__module__
    return name.partition(".")[0] == PACKAGE.name


def objects_named(name: str) -> list[Any]:
    """The functions and classes with a qualified name, of the modules that are loaded; nothing is imported."""
    parts = name.split(".")
    found = [_member(each, parts[1:]) for each in _files_called(parts[0])]
    for end in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:end]))
        found += [_member(module, parts[end:])] if module else []
    return [each for each in found if callable(each)]


def _files_called(name: str) -> list[ModuleType]:
    """The loaded modules of the user's own whose file has this name."""
    named = [(each, vars(each).get("__file__")) for each in list(sys.modules.values()) if each]
    return [
        each for each, file in named if file and Path(file).stem == name and is_outside(Path(file).resolve())
    ]


def _member(module: ModuleType, path: Sequence[str]) -> Any:
    """What stands under a dotted name in a module; None where there is nothing."""
    found: Any = module
    for name in path:
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return found


def defined_in(thing: Any) -> str | None:
    """The user's file that a record's function or class comes from ("__main__" in a session), None for our own.

    Called when the record is made: results depend on the code that is loaded now, even if the file changes afterwards.
    """
    source = source_file(thing)
    if source is None:
        return "__main__" if thing.__module__ == "__main__" else None
    if not is_outside(source):
        return None
    _digests[source] = fresh_digest(source)
    return str(source)


def code_digest(thing: Any) -> str:
    """Digest of the code that a function or class depends on; empty for this package's own code and for libraries.

    For code typed into a notebook or session it is the digest of its own source. Raises ValueError where the source
    cannot be found.
    """
    if is_ours(thing):
        return ""
    source = source_file(thing)
    if source is not None:
        return seen_digest(source) if is_outside(source) else ""
    if thing.__module__ != "__main__":
        return ""  # compiled into Python or a library
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError):
        raise ValueError(
            f"{thing.__qualname__} has no source text, so its results could not be told from those of changed code; "
            f"define it in a Python file"
        ) from None
    return text_digest(text, 8)


def source_file(thing: Any) -> Path | None:
    """The file that a function or class was defined in; None where there is none."""
    function = inspect.unwrap(thing) if callable(thing) and not isinstance(thing, type) else thing
    if isinstance(function, type):
        module = sys.modules.get(function.__module__)
        found = getattr(module, "__file__", None) or next(iter(_methods(function)), None)
    else:
        code = getattr(function, "__code__", None)
        found = code.co_filename if code else None
    path = Path(found) if found else None
    return path.resolve() if path and path.exists() else None


def _methods(kind: type) -> list[str]:
    functions: list[Callable] = [value for value in vars(kind).values() if hasattr(value, "__code__")]
    return [f.__code__.co_filename for f in functions if not f.__code__.co_filename.startswith("<")]


def is_outside(path: Path) -> bool:
    """Whether a file belongs to the user: not to this package, the standard library or an installed library."""
    roots = [PACKAGE, *_library_roots()]
    return not any(path.is_relative_to(root) for root in roots)


@lru_cache(maxsize=1)
def _library_roots() -> list[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_paths()[name] for name in names]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    return [Path(path).resolve() for path in paths]


def seen_digest(path: Path) -> str:
    """Digest of a Python file and of every module from outside that it imports, as they were when first seen."""
    if path not in _digests:
        _digests[path] = fresh_digest(path)
    return _digests[path]


def fresh_digest(path: Path) -> str:
    """The same digest, of the files as they are now."""
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(str(each) for each in imported_files(path)):
        total.update(Path(name).read_bytes() + b"\0")
    return total.hexdigest()


def imported_files(path: Path) -> set[Path]:
    """The file itself and the files from outside that it imports, directly or not, also inside functions."""
    found, waiting = set(), [path.resolve()]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        waiting += [file for file in map(Path.resolve, _imports(here)) if is_outside(file)]
    return found


def _imports(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError:
        return  # shown where the file is loaded
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module_files(path, alias.name)
        elif isinstance(node, ast.ImportFrom):
            yield from _from_files(path, node)


def _from_files(path: Path, node: ast.ImportFrom) -> Iterator[Path]:
    """The module of `from module import names`, and those of the names that are modules themselves."""
    if node.level:
        folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        candidates = [folder.with_suffix(".py"), folder / "__init__.py"]
        candidates += [folder / f"{alias.name}.py" for alias in node.names]
        yield from (candidate for candidate in candidates if candidate.is_file())
        return
    yield from _module_files(path, node.module or "")
    for alias in node.names:
        yield from _module_files(path, f"{node.module}.{alias.name}")


def _module_files(path: Path, name: str) -> Iterator[Path]:
    """The files of a module and of the packages it is in, looked up beside the importing file and on the module path."""
    parts = name.split(".")
    if parts[0] == PACKAGE.name or parts[0] in sys.stdlib_module_names:
        return
    beside = path.parent.joinpath(*parts)
    local = [beside.with_suffix(".py"), beside / "__init__.py"]
    if any(candidate.is_file() for candidate in local):
        yield from (candidate for candidate in local if candidate.is_file())
        return
    for end in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except (ImportError, ValueError, AttributeError):
            return
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return
        yield Path(spec.origin)
