"""Image files as cameras and programs write them: depths, formats, metadata, sizes."""

import io
import logging
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.decode import BadImage, PixelRoom, Reading, decode, decode_file
from seqfinal_jax.data.images.formats import READ
from tests.data.made_images import own_folder, own_source, picture, save

pytestmark = pytest.mark.usefixtures("own_cache")


def encoded(image, kind, **options):
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


# depths


def test_12_bits_in_16_are_as_bright_as_white_says():
    stored = encoded(Image.fromarray(np.array([[0, 2048, 4095, 5000]], np.uint16)), "PNG")
    assert decode(stored, 0, 1)[..., 0].tolist() == [[0, 8, 16, 19]]
    assert decode_file(stored, Reading(0, 1, 4095)).pixels[..., 0].tolist() == [[0, 128, 255, 255]]
    assert decode_file(stored, Reading(0, 1, 4095)).bits == 16


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bits_need_to_know_what_is_white(kind):
    stored = encoded(Image.fromarray(np.array([[0, 100, 199]], kind)), "TIFF")
    with pytest.raises(
        BadImage, match=r"from 0 to 199, and which value is white is not known.*config.data.white"
    ):
        decode(stored, 0, 1)
    assert decode_file(stored, Reading(0, 1, 200)).pixels[..., 0].tolist() == [[0, 128, 254]]


def test_values_that_are_no_brightness_are_refused():
    for value in (-1, np.nan, np.inf):
        pixels = np.ones((600, 2), np.float32)
        pixels[400, 1] = value
        stored = encoded(Image.fromarray(pixels), "TIFF")
        with pytest.raises(BadImage, match="expected brightness from 0 on"):
            decode_file(stored, Reading(0, 1, 200))


def test_white_of_8_bits_and_transparency():
    rgba = np.array([[[10, 20, 40, 255], [0, 0, 0, 0]]], np.uint8)
    stored = encoded(Image.fromarray(rgba), "PNG")
    assert decode_file(stored, Reading(0, 3, 40)).pixels.tolist() == [[[64, 128, 255], [255, 255, 255]]]
    with pytest.raises(BadImage, match="white = 4095 is more than its 8 bits hold"):
        decode_file(stored, Reading(0, 3, 4095))
    palette = encoded(Image.fromarray(rgba[..., :3]).convert("P"), "PNG")
    assert (decode_file(palette, Reading(0, 3, 128)).pixels <= 255).all()


def test_a_transparent_value_of_16_bits_lies_on_white():
    grey = Image.fromarray(np.array([[7, 40000]], np.uint16))
    stored = encoded(grey, "PNG", transparency=7)
    assert decode(stored, 0, 1)[..., 0].tolist() == [[255, 156]]


def test_a_set_that_uses_little_of_its_range_is_said_under_every_table(tmp_path):
    for step in ("step1", "step2"):
        for name in ("cat", "dog"):
            for i in range(10):
                dark = np.random.default_rng([i, len(name), *step.encode(), *name.encode()]).integers(
                    0, 4096, (9, 9)
                )
                save(tmp_path / "data" / step / name / f"{i}.png", dark.astype(np.uint16))
    notes = own_source(tmp_path / "data").notes
    assert "the 40 images of 16 bits use" in notes[0] and "--config.data.white" in notes[0]
    assert notes == own_source(tmp_path / "data").notes  # from the cache
    bright = own_source(tmp_path / "data", white=4095.0)
    assert bright.notes == () and bright.samples.images.max() > 200


# formats


def test_an_eps_file_by_another_name_starts_no_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: started.append(a))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(BadImage, match="it is an EPS or PostScript file, which is not read"):
        decode(eps, 32, 3)
    assert not started and "EPS" not in READ


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x1cftypavif" + b"\0" * 40, "an AVIF image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "a HEIC image"),
        (b"\xff\x0a" + b"\0" * 40, "a JPEG XL image"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
    ],
)
def test_other_formats_are_named(content, said):
    with pytest.raises(BadImage, match=f"it is {said}, which is not read; convert it to PNG or JPEG"):
        decode(content, 32, 3)


def test_images_of_other_formats_are_called_images_and_jfif_is_read(tmp_path):
    folder = own_folder(tmp_path / "data")
    jpeg = encoded(Image.fromarray(picture(3)), "JPEG")
    (folder / "step1" / "cat" / "more.jfif").write_bytes(jpeg)
    for name in ("a.avif", "b.avif", "c.HEIC"):
        (folder / "step1" / "cat" / name).write_bytes(b"x")
    source = own_source(folder)
    assert source.sizes("main")[0] == 21
    assert "2 AVIF images (a format that is not read" in source.notes[0]
    assert "1 HEIC image (" in source.notes[0]


# sizes


def test_a_bound_on_pixels_is_a_field(tmp_path):
    folder = own_folder(tmp_path / "data")
    save(folder / "step1" / "cat" / "large.png", picture(5, 300, 400))
    with pytest.raises(
        SourceError, match=r"large.png: it has 400 x 300 pixels, more than 0.1 million.*most_megapixels"
    ):
        own_source(folder, most_megapixels=0.1)
    assert own_source(folder, most_megapixels=0.13).sizes("main")[0] == 21


def test_a_jpeg_beyond_the_bound_is_decoded_smaller():
    smooth = Image.fromarray(picture(6, 8, 8)).resize((2000, 1600), Image.Resampling.BICUBIC)
    stored = encoded(smooth, "JPEG", quality=95)
    whole = decode_file(stored, Reading(32, 3)).pixels.astype(int)
    small = decode_file(stored, Reading(32, 3, most_megapixels=1.0)).pixels.astype(int)
    assert np.abs(whole - small).mean() < 3
    with pytest.raises(BadImage, match="2000 x 1600 pixels"):
        decode_file(stored, Reading(0, 3, most_megapixels=1.0))


def test_large_images_are_in_memory_one_at_a_time():
    room, seen = PixelRoom(10), []

    def decode_another():
        with room.holding(6):
            seen.append(room.held)

    other = threading.Thread(target=decode_another)
    with room.holding(6):
        other.start()
        other.join(0.2)
        assert other.is_alive() and not seen
    other.join(5)
    assert seen == [6]
    with room.holding(100):  # one that is larger than the room is decoded alone
        assert room.held == 100


@pytest.mark.rare
def test_two_large_images_stay_below_a_gigabyte(tmp_path):
    """Two images as large as the bound, each in the deepest mode with transparency."""
    folder = own_folder(tmp_path / "data")
    for k in range(2):
        Image.new("RGBA", (7000, 7100), (k, 1, 2, 128)).save(
            folder / "step1" / "cat" / f"large{k}.png", compress_level=1
        )
    code = (
        "from pathlib import Path; from seqfinal_jax.data.images.decode import Reading;"
        "from seqfinal_jax.data.images.image_files import decoded;"
        f"decoded(sorted(Path({str(folder)!r}).rglob('*.png')), '', Reading(32, 3), cache=False);"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_000_000  # KiB


# metadata


def exif(*entries):
    """EXIF data of (tag, type, count, value) entries."""
    body, data, place = b"", b"", 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        held = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", place + len(data))
        data += b"" if len(value) <= 4 else value
        body += struct.pack("<HHI", tag, kind, count) + held
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + b"\0\0\0\0" + data


TURNED = (0x0112, 3, 1, struct.pack("<H", 6))
ODD = {
    "a Make that is a number": exif((0x010F, 5, 1, struct.pack("<II", 1, 2)), TURNED),
    "a negative resolution": exif(TURNED, (0x011A, 10, 1, struct.pack("<ii", -72, 1))),
}


@pytest.mark.parametrize("name", ODD)
def test_a_turned_jpeg_with_odd_metadata_is_turned(name):
    image = Image.fromarray(picture(5))
    plain = decode(encoded(image, "JPEG"), 0, 3)
    found = decode_file(encoded(image, "JPEG", exif=b"Exif\0\0" + ODD[name]), Reading(0, 3))
    assert np.array_equal(found.pixels, np.rot90(plain, -1)) and not found.odd_metadata


def chunk(kind, data, broken=False):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ broken)


@pytest.mark.parametrize(
    ("piece", "turned"),
    [
        (chunk(b"eXIf", b"\xff" * 20), False),
        (chunk(b"tEXt", b"a\0b", broken=True), False),
        (chunk(b"zTXt", b"abc\0\0notzlib"), None),
        (chunk(b"pHYs", b"\0"), False),
        (chunk(b"pHYs", b"\0") + chunk(b"eXIf", exif(TURNED)), True),
    ],
)
def test_a_png_with_broken_metadata_is_read(piece, turned):
    pixels = picture(7)
    png = encoded(Image.fromarray(pixels), "PNG")
    found = decode_file(png[:33] + piece + png[33:], Reading(0, 3))
    assert np.array_equal(found.pixels, np.rot90(pixels, -1) if turned else pixels)
    assert found.odd_metadata == (turned is not None)


def test_broken_pixels_are_still_refused():
    png = encoded(Image.fromarray(picture(7)), "PNG")
    broken = bytearray(png)
    broken[png.index(b"IDAT") + 20] ^= 0xFF
    with pytest.raises(BadImage, match=r"damaged|no image"):
        decode(bytes(broken), 0, 3)


def test_odd_metadata_are_one_warning_for_all(tmp_path, caplog):
    folder = own_folder(tmp_path / "data")
    for i in (0, 1):
        path = folder / "step1" / "cat" / f"{i}.png"
        png = path.read_bytes()
        path.write_bytes(png[:33] + chunk(b"pHYs", b"\0") + png[33:])
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            own_source(folder)
        assert [r.getMessage() for r in caplog.records] == [
            "2 image files have metadata that cannot be read; only the orientation would have been used"
        ]
