"""Screenshots as PNG."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.png import png_of_ppm
from supervisor.errors import Transient
from tests.png import read_png


@given(st.integers(1, 20), st.integers(1, 20), st.data())
def test_every_pixel_is_preserved(width: int, height: int, data: st.DataObject) -> None:
    pixels = data.draw(st.binary(min_size=3 * width * height, max_size=3 * width * height))
    png = png_of_ppm(f"P6\n{width} {height}\n255\n".encode() + pixels)
    picture = read_png(png)
    assert (picture.width, picture.height, picture.pixels) == (width, height, pixels)


@pytest.mark.parametrize(
    "ppm",
    [
        b"",
        b"P6\n",
        b"P5\n1 1\n255\nabc",
        b"P6\n1 1\n255\nab",
        b"P6\n1 1\n255\nabcd",
        b"P6\n0 1\n255\n",
        b"P6\n1 0\n255\n",
        b"P6\n99999 99999\n255\nabc",
        b"P6\n999999 1\n255\nabc",
        b"P6\n1 1\n65535\nabcdef",
    ],
)
def test_invalid_ppm_is_refused(ppm: bytes) -> None:
    with pytest.raises(Transient, match="a picture that is none"):
        png_of_ppm(ppm)


def test_png_has_its_chunks_and_checksums() -> None:
    png = png_of_ppm(b"P6\n1 1\n255\n\xf4\x44\xff")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    (length,) = struct.unpack_from(">I", png, 8)
    assert png[12 : 16 + length] == b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    assert struct.unpack_from(">I", png, 16 + length) == (zlib.crc32(png[12 : 16 + length]),)
    assert png.endswith(b"\0\0\0\0IEND\xaeB`\x82")
