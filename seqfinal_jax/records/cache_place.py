"""Where this user's cache is."""

import os
from pathlib import Path

CACHE_DIR_VARIABLE = "SEQFINAL_CACHE_DIR"


def cache_dir() -> Path:
    """SEQFINAL_CACHE_DIR, or ~/.cache/seqfinal_jax."""
    return Path(os.environ.get(CACHE_DIR_VARIABLE) or "~/.cache/seqfinal_jax").expanduser()
