"""Recognises an image file's format by its contents: the formats that are read, and the names of those that are not."""

import struct
import zlib
from collections.abc import Callable, Iterator

# The decoders of Pillow that may see a file. Others start programs (EPS) or are there on some machines only (AVIF).
READ = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
)
# Images of other formats, by their endings: they are named where they are left out.
OTHER_SUFFIXES = {
    ".avif": "AVIF", ".heic": "HEIC", ".heif": "HEIC", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jxl": "JPEG XL",
    ".eps": "EPS", ".ps": "PostScript", ".svg": "SVG", ".ico": "ICO", ".psd": "Photoshop", ".tga": "TGA",
    ".dcm": "DICOM", ".dng": "raw", ".cr2": "raw", ".nef": "raw", ".arw": "raw",
}  # fmt: skip
BEGINNINGS = (
    (b"%!PS", "an EPS or PostScript file"), (b"\xc5\xd0\xd3\xc6", "an EPS file"), (b"%PDF", "a PDF file"),
    (b"8BPS", "a Photoshop file"), (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"), (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\xff\x0a", "a JPEG XL image"), (b"\0\0\0\x0cJXL ", "a JPEG XL image"), (b"\0\0\1\0", "an ICO file"),
    (b"<svg", "an SVG file"), (b"<?xml", "an XML or SVG file"), (b"<!DOCTYPE", "a web page"), (b"<html", "a web page"),
)  # fmt: skip
BRANDS = {b"avif": "an AVIF image", b"avis": "an AVIF image", b"heic": "a HEIC image", b"heix": "a HEIC image",
          b"hevc": "a HEIC image", b"mif1": "a HEIC image", b"msf1": "a HEIC image"}  # fmt: skip
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PIXELS_OF_PNG = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # chunks that pixels depend on
ADOBE, SCAN = 0xEE, 0xDA


def known_as(content: bytes) -> str:
    """The name of a file's format, such as "an AVIF image", for formats that are not read; empty for unknown ones."""
    if content[4:8] == b"ftyp" and content[8:12] in BRANDS:
        return BRANDS[content[8:12]]
    return next((name for beginning, name in BEGINNINGS if content.startswith(beginning)), "")


def without_metadata(content: bytes) -> bytes | None:
    """A PNG or JPEG file with nothing but what its pixels depend on; None for other formats and damaged files."""
    strip: dict[bytes, Callable[[bytes], Iterator[bytes]]] = {PNG: _png_parts, JPEG: _jpeg_parts}
    for beginning, parts in strip.items():
        if content.startswith(beginning):
            try:
                return beginning + b"".join(parts(content))
            except (struct.error, IndexError):
                return None
    return None


def _png_parts(content: bytes) -> Iterator[bytes]:
    place = len(PNG)
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        chunk = content[place : place + 12 + length]
        if kind in PIXELS_OF_PNG:
            yield chunk
        place += 12 + length


def _jpeg_parts(content: bytes) -> Iterator[bytes]:
    place = len(JPEG)
    while content[place] == 0xFF and content[place + 1] != SCAN:
        marker = content[place + 1]
        (length,) = struct.unpack(">H", content[place + 2 : place + 4])
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker == ADOBE:
            yield content[place : place + 2 + length]
        place += 2 + length
    yield content[place:]


def exif_block(content: bytes) -> bytes:
    """The EXIF data of a PNG or JPEG file as bytes, empty where there are none that are whole."""
    try:
        return next(_exif_parts(content), b"")
    except (struct.error, IndexError):
        return b""


def _exif_parts(content: bytes) -> Iterator[bytes]:
    if content.startswith(PNG):
        place = len(PNG)
        while place < len(content):
            length, kind = struct.unpack(">I4s", content[place : place + 8])
            data = content[place + 8 : place + 8 + length]
            (check,) = struct.unpack(">I", content[place + 8 + length : place + 12 + length])
            if kind == b"eXIf" and zlib.crc32(kind + data) == check:
                yield data
            place += 12 + length
    elif content.startswith(JPEG):
        place = len(JPEG)
        while content[place] == 0xFF and content[place + 1] != SCAN:
            (length,) = struct.unpack(">H", content[place + 2 : place + 4])
            data = content[place + 4 : place + 2 + length]
            if content[place + 1] == 0xE1 and data.startswith(b"Exif\0\0"):
                yield data
            place += 2 + length
