"""Draws text screens as QEMU does (hw/display/vga.c, vga_draw_text), with a font that is made up."""

import random

from supervisor.core.formats.vga_font import CHARACTERS, SLOT_BYTES

BLACK, GREY, PURPLE = b"\0\0\0", b"\xaa\xaa\xaa", b"\xf7\x47\xff"
LINE_GRAPHICS = range(0xC0, 0xE0)
BLANKS, FULL = (0x00, 0x20, 0xFF), 0xDB


def font(height: int = 16, seed: int = 0) -> bytes:
    """Return a font in which all characters differ, except for blanks. None has a line that is full, as a cursor is."""
    chance = random.Random(seed)  # noqa: S311  # it makes patterns
    glyphs = [bytes(chance.randrange(1, 0xFF) for _ in range(height)) for _ in range(CHARACTERS)]
    for code in BLANKS:
        glyphs[code] = bytes(height)
    glyphs[FULL] = b"\xff" * height
    return b"".join(glyph.ljust(SLOT_BYTES, b"\0") for glyph in glyphs)


def draw(
    cells: list[list[tuple[int, bytes, bytes]]],
    glyphs: bytes,
    *,
    width: int = 9,
    height: int = 16,
    cursor: tuple[int, int] | None = None,
) -> bytes:
    """Return a PPM. A cell is a code and two colours. The cursor is the two lines before the last one."""
    rows = []
    for row, line in enumerate(cells):
        for y in range(height):
            for column, (code, foreground, background) in enumerate(line):
                bits = glyphs[code * SLOT_BYTES + y]
                if cursor == (row, column) and y in (height - 3, height - 2):
                    bits = 0xFF
                pixels = [foreground if bits >> (7 - x) & 1 else background for x in range(8)]
                ninth = pixels[7] if code in LINE_GRAPHICS or (bits == 0xFF and cursor == (row, column)) else background
                rows.append(b"".join(pixels + [ninth] * (width - 8)))
    return b"P6\n%d %d\n255\n" % (width * len(cells[0]), height * len(cells)) + b"".join(rows)


def screen(
    *lines: str, columns: int = 80, rows: int = 25, colours: tuple[bytes, bytes] = (GREY, BLACK)
) -> list[list[tuple[int, bytes, bytes]]]:
    """Return the cells of a screen with these lines."""
    padded = [*lines, *[""] * (rows - len(lines))]
    return [[(code, *colours) for code in line.ljust(columns).encode("cp437")] for line in padded]
