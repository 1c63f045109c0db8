"""Digests (BLAKE2b, hexadecimal) of texts and files; those of images and of published files are SHA-256 and MD5."""

import hashlib
from pathlib import Path


def text_digest(text: str, size: int = 16) -> str:
    """The digest of a text. `size` is its length in bytes: names of files have shorter digests than checksums."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, of 16 bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
