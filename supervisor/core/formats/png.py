"""Convert a picture of a guest's screen to PNG. It comes as PPM, which every version of QEMU writes.

(netpbm's ppm(5), QEMU's ui/ui-qmp-cmds.c; PNG, third edition, of the W3C)
"""

import re
import struct
import zlib

from supervisor.errors import Step, Transient

_HEADER = re.compile(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s")
_RGB, _DEPTH = 2, 8
_LEVEL = 6


def png_of_ppm(ppm: bytes) -> bytes:
    """Return the picture as PNG. Raises Transient if it is no PPM, or incomplete."""
    header = _HEADER.match(ppm)
    width, height = (int(header[1]), int(header[2])) if header else (0, 0)
    pixels = memoryview(ppm)[header.end() :] if header else memoryview(b"")
    row_bytes = 3 * width
    if not width or not height or len(pixels) != row_bytes * height:
        raise Transient("QEMU gave a picture that is none", step=Step.SCREEN)
    rows = b"".join(b"\0" + pixels[at : at + row_bytes] for at in range(0, len(pixels), row_bytes))
    size = struct.pack(">IIBBBBB", width, height, _DEPTH, _RGB, 0, 0, 0)
    chunks = (_chunk(b"IHDR", size), _chunk(b"IDAT", zlib.compress(rows, _LEVEL)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
