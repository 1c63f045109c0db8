"""One image file to pixels, by rules that do not depend on the file's format.

The first picture of a file is turned as its EXIF data say, pictures of 16 bits are scaled to 8, transparent ones are laid
on white, all become RGB or grey, and are resized to the size asked for by Pillow's bilinear filter, which averages
when it shrinks; the aspect ratio is not kept. Of the metadata the orientation alone is read.
"""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from seqfinal_jax.data.images.formats import READ, exif_block, known_as, without_metadata

EIGHT_BITS, SIXTEEN_BITS = 255, 65535
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
RULES = 2  # raised when the cached form of decoded files changes
MOST_MEGAPIXELS = 50.0
STRIP = 256  # rows that are worked on at a time
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


class BadImage(ValueError):
    """A file that holds no picture which can be used; the message is the reason."""


class Decoded(NamedTuple):
    """pixels (h, w, channels) uint8, the bits of a stored value, and whether metadata were there that made no sense."""

    pixels: np.ndarray
    bits: int
    odd_metadata: bool


class PixelRoom:
    """How many pixels may be in memory at a time over all threads; a larger image waits until it is alone."""

    def __init__(self, most: float) -> None:
        self.most, self.held, self.changed = most, 0.0, threading.Condition()

    @contextlib.contextmanager
    def holding(self, pixels: float) -> Iterator[None]:
        """Waits until there is room for so many pixels, and keeps it."""
        with self.changed:
            self.changed.wait_for(lambda: not self.held or self.held + pixels <= self.most)
            self.held += pixels
        try:
            yield
        finally:
            with self.changed:
                self.held -= pixels
                self.changed.notify_all()


@dataclass(frozen=True)
class Reading:
    """How files are read.

    size: pixels high and wide, or 0 for a file's own. channels: 3 (RGB) or 1 (grey). white: the stored value that is
    white, or 0 for the largest of 8 or 16 bits. most_megapixels: of one image.
    """

    size: int
    channels: int
    white: float = 0.0
    most_megapixels: float = MOST_MEGAPIXELS

    @property
    def key(self) -> str:
        """Everything that the pixels depend on, as a string."""
        return f"{self.size} {self.channels}" + (f" white {self.white:g}" if self.white else "")


def decode(content: bytes, size: int, channels: int) -> np.ndarray:
    """The pixels (size, size, channels) uint8 of an image file, or of its own height and width where `size` is 0.

    `channels` is 3 (RGB) or 1 (grey). Raises BadImage with the reason.
    """
    return decode_file(content, Reading(size, channels)).pixels


def decode_file(content: bytes, reading: Reading, room: PixelRoom | None = None) -> Decoded:
    """The same with what was found besides. Raises BadImage with the reason."""
    if not content:
        raise BadImage("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which pixels do not depend on
            return _decode(content, content, reading, room or PixelRoom(float("inf")))
    except BadImage:
        raise
    except Exception as error:  # a damaged file can fail in any layer of a decoder
        raise BadImage(_reason(error, content)) from None


def _decode(content: bytes, whole: bytes, reading: Reading, room: PixelRoom) -> Decoded:
    """Decodes a file, and without its metadata where they end in an error; `whole` is the file with them."""
    try:
        image = Image.open(io.BytesIO(content), formats=READ)
    except Exception:
        stripped = without_metadata(content)
        if stripped is None or stripped == content:
            raise
        found = _decode(stripped, whole, reading, room)
        return found._replace(odd_metadata=True)
    with image:
        _keep_small(image, reading)
        with room.holding(image.width * image.height):
            image.load()
            turn, odd = _orientation(image, whole)
            bits = _bits(image)
            return Decoded(_pixels(image, turn, bits, reading), bits, odd)


def _keep_small(image: Image.Image, reading: Reading) -> None:
    """Lets a JPEG that is too large be decoded at a smaller size. Raises BadImage for what is still too large."""
    most = reading.most_megapixels * 1e6
    if image.width * image.height > most and reading.size:
        image.draft(None, (4 * reading.size, 4 * reading.size))
    if image.width * image.height > most:
        raise BadImage(
            f"it has {image.width} x {image.height} pixels, more than {reading.most_megapixels:g} million; make it "
            f"smaller, or raise --config.data.most_megapixels (which takes up to 20 MB of memory for each million)"
        )


def _reason(error: Exception, content: bytes) -> str:
    text = str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        kind = known_as(content)
        return (
            f"it is {kind}, which is not read; convert it to PNG or JPEG"
            if kind
            else "it is not an image of a known format"
        )
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than can be decoded safely; make it smaller"
    if "truncated" in text or "broken data stream" in text or isinstance(error, (EOFError, SyntaxError)):
        return f"the image is truncated or damaged ({text})"
    return f"it cannot be decoded ({type(error).__name__}: {text})"


def _orientation(image: Image.Image, whole: bytes) -> tuple[int, bool]:
    """How the picture is to be turned (1: not at all), and whether the EXIF data cannot be read."""
    try:
        exif = image.getexif()
        if not exif and (block := exif_block(whole)):
            exif.load(block)
        found = exif.get(ORIENTATION, 1)
    except Exception:  # the EXIF data of cameras can fail in any layer of their reader
        return 1, True
    return (found, False) if found in TURNS else (1, found not in (0, 1))


def _bits(image: Image.Image) -> int:
    """The bits of a stored value."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _pixels(image: Image.Image, turn: int, bits: int, reading: Reading) -> np.ndarray:
    if turn in TURNS:
        image = image.transpose(TURNS[turn])
    if image.mode in DEEP:
        image = _eight_bits(image, bits, reading.white)
    elif reading.white > EIGHT_BITS:
        raise BadImage(f"config.data.white = {reading.white:g} is more than its 8 bits hold (0 to 255)")
    elif reading.white:
        image = _whitened(_flat(image), reading.white)
    image = _on_white(image).convert("RGB" if reading.channels == 3 else "L")
    size = (reading.size, reading.size)
    if reading.size and image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    return pixels if reading.channels == 3 else pixels[..., None]


def _eight_bits(image: Image.Image, bits: int, white: float) -> Image.Image:
    """Pictures of more than 8 bits scaled to 8, rounded; a transparent value becomes white.

    Raises BadImage for floating-point and 32-bit ones where `white` is not named, and for values that are no brightness.
    """
    strips = [np.asarray(strip) for strip in _strips(image)]
    low, high = np.min([each.min() for each in strips]), np.max([each.max() for each in strips])
    if bits == 32 and not white:
        raise BadImage(
            f"its pixels are {low.dtype} from {low:g} to {high:g}, and which value is white is not known: name it "
            f"with --config.data.white, or store it with 8 or 16 bits"
        )
    if not (low >= 0 and high < np.inf):
        raise BadImage(f"its pixels are {low.dtype} from {low:g} to {high:g}; expected brightness from 0 on")
    clear, scale = image.info.get("transparency"), (white or SIXTEEN_BITS) / EIGHT_BITS
    found = []
    for values in strips:
        bright = np.minimum(np.rint(values / scale), EIGHT_BITS).astype(np.uint8)
        if isinstance(clear, int):
            bright[values == clear] = EIGHT_BITS
        found.append(bright)
    return Image.fromarray(np.concatenate(found))


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    """A picture in strips of some rows, to save memory."""
    for begin in range(0, image.height, STRIP):
        yield image.crop((0, begin, image.width, min(begin + STRIP, image.height)))


def _flat(image: Image.Image) -> Image.Image:
    """A picture of 8 bits whose values are brightness, not places in a palette."""
    if image.mode in ("P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV"):
        return _on_white(image).convert("RGB")
    return _on_white(image) if "transparency" in image.info else image


def _whitened(image: Image.Image, white: float) -> Image.Image:
    """A picture of 8 bits with its values scaled so that `white` becomes 255; transparency is kept."""
    table = [min(EIGHT_BITS, round(value * EIGHT_BITS / white)) for value in range(EIGHT_BITS + 1)]
    unchanged = list(range(EIGHT_BITS + 1))
    bands = [unchanged if band in "Aa" else table for band in image.getbands()]
    return image.point([value for band in bands for value in band])


def _on_white(image: Image.Image) -> Image.Image:
    """A picture with transparency laid on white, a strip at a time to save memory."""
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not transparent:
        return image
    laid = Image.new("RGB", image.size)
    for number, strip in enumerate(_strips(image)):
        white = Image.new("RGBA", strip.size, (255, 255, 255, 255))
        opaque = Image.alpha_composite(white, strip.convert("RGBA")).convert("RGB")
        laid.paste(opaque, (0, number * STRIP))
    return laid
