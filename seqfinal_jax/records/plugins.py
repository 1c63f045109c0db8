"""Users' own files and modules, which add records to the registries when they are loaded (`config.plugins`)."""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from seqfinal_jax.records.code_identity import fresh_digest, imported_files, is_outside
from seqfinal_jax.records.plugin_code import PluginCode, execute, read_code
from seqfinal_jax.records.registry import Registry


class PluginError(ValueError):
    """A plugin cannot be loaded; the message says why, in one line."""


_loaded: dict[Path, tuple[str, PluginCode]] = {}  # by the file: `fresh_digest` of it, and what was executed


def load_plugins(names: Sequence[str]) -> list[PluginCode]:
    """Loads each plugin once: a path to a Python file, or the name of a module that can be imported.

    A file that has changed since it was loaded is loaded again, with the modules of the user's own that it imports. A
    file's folder is put on the module path. Returns the code of each plugin. Raises PluginError for a plugin that does
    not exist or that raises an error itself.
    """
    return [_load(name, _find(name)) for name in names]


def _load(name: str, path: Path) -> PluginCode:
    digest = fresh_digest(path)
    if path not in _loaded or _loaded[path][0] != digest:
        run_code(read_code(name, path), digest)
    return _loaded[path][1]


def run_code(code: PluginCode, digest: str = "") -> None:
    """Executes a plugin; any other version of the same plugin that was loaded before is dropped.

    digest: the result of `fresh_digest` for its file before it was read.
    """
    for path, (_, other) in list(_loaded.items()):
        is_copy = code.path != code.origin
        if other.origin == code.origin or (is_copy and other.main == code.main):
            _forget(path)
            del _loaded[path]
    _forget(code.path)
    _execute(code)
    _loaded[code.path] = (digest or fresh_digest(code.path), code)


def codes_of(names: Sequence[str]) -> list[PluginCode]:
    """The code of loaded plugins as it was executed, even if their files have changed since."""
    return [_loaded[path][1] for path in map(_find, names) if path in _loaded]


def is_loaded(digest: str) -> bool:
    """Whether the plugin with this digest has been executed and not been replaced since."""
    return any(code.digest == digest for _, code in _loaded.values())


def _find(name: str) -> Path:
    """The file of a plugin."""
    path = Path(name).expanduser()
    if path.suffix == ".py":
        if not path.is_file():
            raise PluginError(f"config.plugins: there is no file {name}; give the path of a Python file")
        return path.resolve()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise PluginError(
            f"config.plugins: there is no module {name!r}; give a file that ends in .py, or a module that can be imported"
        )
    return Path(spec.origin).resolve()


def _forget(path: Path) -> None:
    """Drops the records and modules of a file that was loaded before."""
    for registry in Registry.every:
        registry.forget(str(path))
    files = {str(each) for each in imported_files(path)} if path.is_file() else {str(path)}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and str(Path(file).resolve()) in files and module.__name__ != "__main__":
            del sys.modules[name]
    importlib.invalidate_caches()


def _execute(code: PluginCode) -> None:
    """Executes a plugin, and turns what it raises into one line; what it prints before an exit is not shown."""
    try:
        with _held_output():
            execute(code)
    except SystemExit as exit_:
        place = _place(exit_, code.path)
        raise PluginError(
            f"config.plugins: {code.name} cannot be loaded: {place}it called sys.exit({exit_.code!r}); a plugin is "
            f"imported, so keep what belongs to a program behind if __name__ == '__main__'"
        ) from exit_
    except Exception as error:
        raise PluginError(
            f"config.plugins: {code.name} cannot be loaded: {user_error(error, code.path)}"
        ) from error


@contextlib.contextmanager
def _held_output() -> Iterator[None]:
    """Delays printed output until the end; after a sys.exit, such as that of argparse, it is dropped."""
    out, err = io.StringIO(), io.StringIO()
    dropped = False
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    except SystemExit:
        dropped = True
        raise
    finally:
        if not dropped:
            print(out.getvalue(), end="")
            print(err.getvalue(), end="", file=sys.stderr)


def names_of(value: str | Sequence[str]) -> tuple[str, ...]:
    """The plugins that a flag or field names: comma-separated, or a tuple; the name of a file may contain commas."""
    with contextlib.suppress(ValueError, SyntaxError):
        value = ast.literal_eval(value) if isinstance(value, str) else value
    elements = (value,) if isinstance(value, str) else value
    named: list[str] = []
    for each in map(str, elements):
        is_file = not isinstance(value, str) and Path(each).expanduser().is_file()
        named += [each] if is_file else [part.strip() for part in each.split(",") if part.strip()]
    return tuple(named)


def outside_place(error: BaseException) -> str:
    """The last line of a user's own code in an error's traceback, as "FILE, line N: "; empty where there is none.

    An error that was raised from another one is looked up in that one's traceback too.
    """
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if Path(frame.filename).exists() and is_outside(Path(frame.filename).resolve())
    ]
    if own:
        return f"{own[-1].filename}, line {own[-1].lineno}: "
    return outside_place(error.__cause__) if error.__cause__ else ""


def defined_at(function: object) -> str:
    """Where a user's function is defined, as "FILE, line N: "; empty for this package's own."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None or not is_outside(Path(code.co_filename).resolve()):
        return ""
    return f"{code.co_filename}, line {code.co_firstlineno}: "


def told(error: Exception) -> str:
    """An error in one line, with the line of the user's code that raised it; our own refusals without their type."""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{outside_place(error)}{kind}{text}"


@contextlib.contextmanager
def blamed() -> Iterator[None]:
    """Turns an error that a user's code raises into a PluginError of one line, which names the file and the line."""
    try:
        yield
    except PluginError:
        raise
    except Exception as error:
        if not outside_place(error):
            raise
        raise PluginError(told(error)) from error


def user_error(error: Exception, path: Path) -> str:
    """One line with an error's place in a user's file and its message."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    return f"{_place(error, path)}{type(error).__name__}: {error}"


def _place(error: BaseException, path: Path) -> str:
    """The last line of the user's code, in the file itself or in one that it imports; else the last line of any code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == path] or frames[-1:]
    return outside_place(error) or (f"{own[-1].filename}, line {own[-1].lineno}: " if own else "")
