"""Files of users in tests: what they register is forgotten afterwards."""

import sys
from pathlib import Path

from seqfinal_jax.records import plugins
from seqfinal_jax.records.registry import Registry


def forget(folder: Path) -> None:
    """Undoes all that loading the files of a folder has done to this process."""
    for path in folder.glob("*.py"):
        plugins._loaded.pop(path.resolve(), None)
        for registry in Registry.every:
            registry.forget(str(path.resolve()))
        sys.modules.pop(path.stem, None)
    sys.path[:] = [path for path in sys.path if path != str(folder)]
