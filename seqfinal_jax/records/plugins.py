"""Users' own files and modules, which add records to the registries when they are loaded (`config.plugins`)."""

import ast
import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from seqfinal_jax.records.code_identity import fresh_digest, imported_files, is_outside
from seqfinal_jax.records.registry import Registry

_loaded: dict[Path, str] = {}


def load_plugins(names: Sequence[str]) -> None:
    """Loads each plugin once: a path to a Python file, or the name of a module that can be imported.

    A file that has changed since it was loaded is loaded again, with the modules of the user's own that it imports. A
    file's folder is put on the module path. Raises ValueError for one that is not there or that raises an error itself.
    """
    for name in names:
        path = _find(name)
        digest = fresh_digest(path)
        if _loaded.get(path) != digest:
            _forget(path)
            _execute(name, path)
            _loaded[path] = digest


def _find(name: str) -> Path:
    """The file of a plugin."""
    path = Path(name).expanduser()
    if path.suffix == ".py":
        if not path.is_file():
            raise ValueError(f"config.plugins: there is no file {name}; give the path of a Python file")
        return path.resolve()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ValueError(
            f"config.plugins: there is no module {name!r}; give a file that ends in .py, or a module that can be imported"
        )
    return Path(spec.origin).resolve()


def _forget(path: Path) -> None:
    """Drops the records and modules of a file that was loaded before."""
    for registry in Registry.every:
        registry.forget(str(path))
    files = {str(each) for each in imported_files(path)}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and str(Path(file).resolve()) in files and module.__name__ != "__main__":
            del sys.modules[name]
    importlib.invalidate_caches()


def _execute(name: str, path: Path) -> ModuleType:
    folder = str(path.parent)
    try:
        if Path(name).suffix != ".py":
            return importlib.import_module(name)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        module_name = f"seqfinal_plugin_{path.stem}"
        spec = importlib.util.spec_from_file_location(module_name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise ValueError(f"config.plugins: {name} cannot be loaded: {user_error(error, path)}") from error


def names_of(value: str | Sequence[str]) -> tuple[str, ...]:
    """The plugins that a flag or field names: by comma, or as a tuple."""
    with contextlib.suppress(ValueError, SyntaxError):
        value = ast.literal_eval(value) if isinstance(value, str) else value
    elements = (value,) if isinstance(value, str) else value
    return tuple(part.strip() for each in elements for part in str(each).split(",") if part.strip())


def outside_place(error: BaseException) -> str:
    """The last place in a user's own code that an error came through, as "FILE, line N: "; empty where there is none."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if Path(frame.filename).exists() and is_outside(Path(frame.filename).resolve())
    ]
    return f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""


def user_error(error: Exception, path: Path) -> str:
    """Where an error arose in a user's file, and what it says, in one line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == path] or frames[-1:]
    where = f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
    return f"{where}{type(error).__name__}: {error}"
