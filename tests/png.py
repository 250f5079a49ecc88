"""Reads the simplest of PNGs, of true colour without filters, as tests find them."""

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    width: int
    height: int
    pixels: bytes
    """Red, green and blue of each, row by row."""

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        at = 3 * (y * self.width + x)
        red, green, blue = self.pixels[at : at + 3]
        return red, green, blue

    def share(self, red: int, green: int, blue: int) -> float:
        """Of pixels of this colour."""
        wanted = bytes((red, green, blue))
        count = sum(self.pixels[at : at + 3] == wanted for at in range(0, len(self.pixels), 3))
        return count / (self.width * self.height)


def read_png(png: bytes) -> Picture:
    assert png.startswith(SIGNATURE)
    chunks: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        content = png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    rows = zlib.decompress(chunks[b"IDAT"])
    step = 1 + 3 * width
    assert len(rows) == step * height
    assert not any(rows[::step]), "no row is filtered"
    return Picture(width, height, b"".join(rows[at + 1 : at + step] for at in range(0, len(rows), step)))
