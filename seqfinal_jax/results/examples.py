"""Examples of a run's data, stored in its folder so that the report can show them wherever the folder is moved."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.sequences.examples import Examples
from seqfinal_jax.results.run_folder import RunFolderError, write_whole

FILE = "data_examples.npz"


def write_examples(workdir: Path, examples: Examples) -> Path:
    """Stores the examples, whole or not at all."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(examples).items()}
    np.savez_compressed(content, **arrays)
    return write_whole(workdir / FILE, content.getvalue())


def read_examples(workdir: Path) -> Examples | None:
    """The stored examples; None where the run has none. Raises RunFolderError for a damaged file."""
    path = Path(workdir) / FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            images, there, counts = (stored[name] for name in ("images", "there", "counts"))
            names = (tuple(stored[name].tolist()) for name in ("classes", "class_names", "step_names"))
            return Examples(images, there, counts, *names)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} is damaged ({error}); delete it; the next run writes it again"
        ) from None
