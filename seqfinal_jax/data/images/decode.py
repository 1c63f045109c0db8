"""One image file to pixels, by rules that do not depend on the file's format.

The first picture of a file is turned as its EXIF data say, pictures of 16 bits are scaled to 8, transparent ones are laid
on white, all become RGB or grey, and are resized to the size asked for by Pillow's bilinear filter, which averages
when it shrinks; the aspect ratio is not kept.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
)
SIXTEEN_BITS = 65535
RULES = 1  # raised when the same file comes to give other pixels


class BadImage(ValueError):
    """A file that holds no picture which can be used; the message is the reason."""


def decode(content: bytes, size: int, channels: int) -> np.ndarray:
    """The pixels (size, size, channels) uint8 of an image file, or of its own height and width where `size` is 0.

    `channels` is 3 (RGB) or 1 (grey). Raises BadImage with the reason.
    """
    if not content:
        raise BadImage("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which pixels do not depend on
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                return _pixels(image, size, channels)
    except BadImage:
        raise
    except Exception as error:  # a damaged file can fail in any layer of a decoder
        raise BadImage(_reason(error)) from None


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image of a known format"
    if "truncated" in text or "broken data stream" in text or isinstance(error, (EOFError, SyntaxError)):
        return f"the image is truncated or damaged ({text})"
    return f"it cannot be decoded ({type(error).__name__}: {text})"


def _pixels(image: Image.Image, size: int, channels: int) -> np.ndarray:
    image = _eight_bits(ImageOps.exif_transpose(image))
    image = _on_white(image).convert("RGB" if channels == 3 else "L")
    if size and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    return pixels if channels == 3 else pixels[..., None]


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pictures of 16 bits scaled to 8, rounded; raises BadImage for floating-point and 32-bit ones."""
    if image.mode not in ("I", "F", "I;16", "I;16L", "I;16B", "I;16N"):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > SIXTEEN_BITS:
        raise BadImage(
            f"its pixels are {values.dtype} from {values.min():g} to {values.max():g}; store it with 8 or 16 bits"
        )
    return Image.fromarray(np.rint(values / (SIXTEEN_BITS / 255)).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """A picture with transparency laid on white."""
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not transparent:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
