"""Compiled programs kept from one process to the next, so that a second start neither traces nor compiles them.

JAX's own cache of compiled programs is found by the traced program, and tracing a DenseNet takes seconds. Here a
program is found by all that it is traced from: this package's source, the versions of the libraries, JAX's
configuration, the hardware, the static arguments, and the shapes of the others. What cannot be written down that way,
such as an objective of the user's own, is left to JAX. The folder holds machine code, so it must be as safe from
others as the programs that one runs.
"""

import dataclasses
import hashlib
import logging
import os
import pickle
import platform
import tempfile
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, update_wrapper
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from seqfinal_jax.training.compile_clock import compiling

log = logging.getLogger(__name__)
PACKAGE = __name__.split(".")[0]
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
# Parts of names of JAX's settings that say nothing of a program; its device is known from its arguments.
NOT_OF_A_PROGRAM = ("cache", "log", "dump", "traceback", "default_device")
_folder: dict[str, Path | None] = {"path": None}


class NotStorable(Exception):
    """A program whose identity cannot be written down."""


def store_programs(folder: Path | None) -> None:
    """From now on compiled programs are kept in this folder; None ends it."""
    _folder["path"] = folder


class StoredProgram:
    """A jitted function whose compiled programs are read from the folder, where there is one, and written to it.

    `static` names the leading arguments that are part of the program. All arguments are positional, and not traced.
    """

    def __init__(self, function: Callable, static: Sequence[str], donated: Sequence[str] = ()) -> None:
        self._jitted = jax.jit(function, static_argnames=tuple(static), donate_argnames=tuple(donated))
        self._statics, self._name = len(static), function.__name__
        self._ready: dict[Any, Callable] = {}
        self.lower, self.trace = self._jitted.lower, self._jitted.trace
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """What the function gives."""
        folder = _folder["path"]
        if folder is None:
            return self._jitted(*arguments)
        static, rest = arguments[: self._statics], arguments[self._statics :]
        leaves, structure = jax.tree.flatten(rest)
        key = (folder, static, structure, tuple(map(_shape, leaves)), _settings())
        if key not in self._ready:
            self._ready[key] = self._find(folder, static, structure, leaves, arguments)
        return self._ready[key](*rest)

    def clear_cache(self) -> None:
        """Forgets what this process has compiled and read."""
        self._ready.clear()
        self._jitted.clear_cache()

    def _find(
        self, folder: Path, static: tuple, structure: Any, leaves: list[Any], arguments: tuple
    ) -> Callable:
        """The program for such arguments: stored, compiled and stored, or JAX's."""
        try:
            device = _device(leaves)
            shapes = [str(_shape(leaf)) for leaf in leaves]
            identity = "\n".join([_surroundings(device), *map(written, static), str(structure), *shapes])
        except NotStorable as reason:
            log.info("%s is not stored: %s", self._name, reason)
            return lambda *rest: self._jitted(*static, *rest)
        digest = hashlib.sha256(identity.encode()).hexdigest()
        path = folder / f"{self._name}-{digest[:32]}"
        with compiling():
            found = _read(path, device)
        if found is None:
            found = self._jitted.lower(*arguments).compile()
            _write(path, found)
        return found


def written(value: Any) -> str:
    """A static argument as text that differs where the programs traced from it may.

    Raises NotStorable for what is not plain data or a data class of this package.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"({','.join(map(written, value))})"
    kind = type(value)
    if not dataclasses.is_dataclass(value) or kind.__module__.split(".")[0] != PACKAGE:
        raise NotStorable(f"{kind.__module__}.{kind.__qualname__} is not a class of {PACKAGE}")
    names = [field.name for field in dataclasses.fields(value) if field.name != "parent"]  # Flax's own
    fields = ",".join(f"{name}={written(getattr(value, name))}" for name in names)
    return f"{kind.__module__}.{kind.__qualname__}({fields})"


def _shape(leaf: Any) -> tuple[Any, ...]:
    kind = jax.typeof(leaf)
    devices = leaf.sharding.device_set if isinstance(leaf, jax.Array) else ()
    return kind.shape, str(kind.dtype), kind.weak_type, tuple(sorted(device.id for device in devices))


def _device(leaves: list[Any]) -> Any:
    """The one device that all arguments are on."""
    devices = {
        device for leaf in leaves if isinstance(leaf, jax.Array) for device in leaf.sharding.device_set
    }
    if len(devices) != 1:
        raise NotStorable(f"its arguments are on {len(devices)} devices")
    return devices.pop()


def _settings() -> str:
    """JAX's configuration, as far as programs depend on it."""
    values = sorted(jax.config.values.items())
    return str(
        [(name, value) for name, value in values if not any(part in name for part in NOT_OF_A_PROGRAM)]
    )


def _surroundings(device: Any) -> str:
    client = device.client
    hardware = (
        device.device_kind,
        client.platform,
        client.platform_version,
        device.id,
        len(client.devices()),
    )
    flags = [os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    return "\n".join([_source(), _processor(), _settings(), str(hardware), *flags])


@lru_cache(maxsize=1)
def _source() -> str:
    """Digest of this package's source and of the versions of the libraries that trace it."""
    digest = hashlib.sha256(str([(name, metadata.version(name)) for name in LIBRARIES]).encode())
    root = Path(__file__).resolve().parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _processor() -> str:
    """The host's kind of processor: machine code for one may not run on another that shares the folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = {line.split(":")[0].strip(): line for line in lines}
    return "\n".join(
        [platform.machine(), *(told.get(name, "") for name in ("model name", "flags", "Features"))]
    )


def _read(path: Path, device: Any) -> Callable | None:
    """The program in a file; None if there is none, and after a warning if the file is damaged."""
    from jax.experimental import serialize_executable

    try:
        digest, content = path.read_bytes().split(b"\n", 1)
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise ValueError("its contents do not match their digest")
        stored = pickle.loads(zlib.decompress(content))
        return serialize_executable.deserialize_and_load(
            *stored, backend=device.client, execution_devices=[device]
        )
    except FileNotFoundError:
        return None
    except Exception as error:  # JAX, pickle and zlib raise many kinds
        log.warning("%s cannot be used (%s: %s) and is built anew", path, type(error).__name__, error)
        return None


def _write(path: Path, program: Any) -> None:
    """Stores a program whole or not at all; where that fails, the next process compiles again."""
    from jax.experimental import serialize_executable

    try:
        content = zlib.compress(pickle.dumps(serialize_executable.serialize(program)), 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
            beside = Path(file.name)
            try:
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
                file.flush()
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
    except Exception as error:  # no room, or a kind of program that JAX cannot write
        log.info("%s is not stored: %s: %s", path, type(error).__name__, error)
