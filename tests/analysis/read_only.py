"""Folders that cannot be written, for whoever runs the tests."""

import os
from pathlib import Path


def make_read_only(monkeypatch, folder):
    """From now on nothing below the folder can be written or made; it can be read as before."""
    folder = Path(folder).resolve()

    def refuse(path):
        if Path(path).absolute().is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(path))

    access, write, make = os.access, Path.write_bytes, Path.mkdir

    def may(path, mode, **options):
        below = Path(path).absolute().is_relative_to(folder)
        return access(path, mode, **options) and not (below and mode & os.W_OK)

    monkeypatch.setattr(os, "access", may)
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: (refuse(path), write(path, data))[1])
    monkeypatch.setattr(
        Path, "mkdir", lambda path, *a, **k: None if path.is_dir() else (refuse(path), make(path, *a, **k))[1]
    )
