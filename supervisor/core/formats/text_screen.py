"""Read text back from a picture of a VGA screen in a text mode, with the card's own font.

QEMU offers no other way that leaves the guest alone. Its monitor can read the text at 0xb8000. But which part of it is
shown, where the cursor is and whether the mode is a text mode is in registers that are read by first writing their
number to an index port; between two writes of the guest, that would make the guest's second write hit another register.
In the picture all of this is applied already, with the palette, and as the card draws with the font, each cell of the
picture is exactly one of 256 patterns in two colours.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from supervisor.core.formats.vga_font import CHARACTERS, SLOT_BYTES

_HEADER = re.compile(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s")
_WIDTHS, _HEIGHTS = (9, 8), (8, 14, 16)
"""Of a cell, in pixels: those of the text modes. Of nine columns, the last is no part of the font."""
_FONT_WIDTH = 8
_FEWEST_COLUMNS, _MOST_COLUMNS = 40, 160
_FEWEST_ROWS, _MOST_ROWS = 20, 75
_TEXT_HEIGHTS = (350, 400)
"""Of a picture, in pixels: a blank one is a text screen only if it has the size of the common modes."""
_MOST_UNREAD = 0.02
"""The share of cells that may be no character. More: it is no text mode, or the font has changed."""
_BLINK_S = 0.7
"""The cursor is drawn half of the time; it is not drawn for 229 ms at most (hw/display/vga.c)."""
_MOST_REMEMBERED = 20_000
_GRAPHIC = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
"""What code page 437 draws for the codes of control characters."""
_UNREAD = "?"


@dataclass(frozen=True, slots=True)
class Cell:
    """One character. Colours are three bytes: red, green, blue."""

    char: str
    foreground: bytes
    background: bytes


@dataclass(frozen=True, slots=True)
class TextScreen:
    rows: tuple[tuple[Cell, ...], ...]
    cursor: tuple[int, int] | None
    """Row and column, from 0."""
    unread: int
    """The number of cells that are no character of the font, or that seem to have a second cursor. If there are some,
    the guest may have loaded another font."""

    def text(self) -> str:
        """Return the lines, without blanks at their ends."""
        return "\n".join("".join(cell.char for cell in row).rstrip() for row in self.rows)


@dataclass(frozen=True, slots=True)
class _Row:
    cells: tuple[Cell, ...]
    cursors: tuple[int, ...]
    """The columns of cells that look as if the cursor is on them."""
    unread: int


class ScreenReader:
    """Reads one picture after the other. What has not changed is not read again."""

    def __init__(self, font: bytes) -> None:
        self.font = font
        self._font_height = max((at % SLOT_BYTES + 1 for at, line in enumerate(font) if line), default=0)
        self._patterns = {height: _patterns(font, height) for height in _HEIGHTS}
        self._cells: dict[tuple[int, int, bytes], tuple[Cell, bool] | None] = {}
        self._rows: dict[tuple[tuple[int, int], bytes], _Row] = {}
        self._size = (0, 0)
        """Of a cell in the last picture that was text."""
        self._cursor: tuple[float, tuple[int, int]] | None = None

    def read(self, picture: bytes, now_s: float) -> TextScreen | None:
        """Return the text in a PPM picture; None if the card is not in a text mode. `now_s`: of any clock."""
        size = size_of(picture)
        if size is None:
            return None
        best: tuple[int, tuple[int, int], list[_Row]] | None = None
        for cell_size in self._candidates(*size):
            rows = self._read_rows(picture, size, cell_size)
            if rows is not None:
                unread = sum(row.unread for row in rows)
                best = min(best or (unread, cell_size, rows), (unread, cell_size, rows), key=lambda each: each[0])
                if not unread:
                    break
        if best is None:
            return None
        unread, self._size, rows = best
        if size[1] not in _TEXT_HEIGHTS and not any(cell.char.strip() for row in rows for cell in row.cells):
            return None
        cursors = [(number, column) for number, row in enumerate(rows) for column in row.cursors]
        unread += max(0, len(cursors) - 1)
        return TextScreen(tuple(row.cells for row in rows), self._note_cursor(cursors, now_s), unread)

    def _candidates(self, width: int, height: int) -> list[tuple[int, int]]:
        """Return the possible sizes of cells, likely ones first: a blank screen fits them all."""

        def rank(cell_size: tuple[int, int]) -> tuple[bool, bool, int]:
            return cell_size != self._size, cell_size[1] < self._font_height, cell_size[1]

        return sorted(_cell_sizes(width, height), key=rank)

    def _read_rows(self, picture: bytes, size: tuple[int, int], cell_size: tuple[int, int]) -> list[_Row] | None:
        width, height = cell_size
        columns, count = size[0] // width, size[1] // height
        start = len(picture) - 3 * size[0] * size[1]
        row_bytes = 3 * size[0] * height
        rows, unread = [], 0
        known, self._rows = self._rows, {}
        for number in range(count):
            pixels = picture[start + number * row_bytes : start + (number + 1) * row_bytes]
            key = (cell_size, pixels)
            row = self._rows[key] = known.get(key) or self._read_row(pixels, columns, cell_size)
            rows.append(row)
            unread += row.unread
            if unread > _MOST_UNREAD * columns * count:
                return None
        return rows

    def _read_row(self, pixels: bytes, columns: int, cell_size: tuple[int, int]) -> _Row:
        width, height = cell_size
        line_bytes, cell_bytes = 3 * width * columns, 3 * width
        lines = [pixels[at : at + line_bytes] for at in range(0, height * line_bytes, line_bytes)]
        cells: list[Cell] = []
        cursors, unread = [], 0
        for column in range(columns):
            at = column * cell_bytes
            found = self._read_cell(b"".join([line[at : at + cell_bytes] for line in lines]), cell_size)
            if found is None:
                unread += 1
                cells.append(Cell(_UNREAD, pixels[at : at + 3], pixels[at : at + 3]))
                continue
            cells.append(found[0])
            if found[1]:
                cursors.append(column)
        return _Row(tuple(cells), tuple(cursors), unread)

    def _read_cell(self, pixels: bytes, cell_size: tuple[int, int]) -> tuple[Cell, bool] | None:
        """Return the character, and whether the cursor is on it; None if it is none."""
        key = (*cell_size, pixels)
        if key not in self._cells:
            if len(self._cells) >= _MOST_REMEMBERED:
                self._cells.clear()
            self._cells[key] = _recognise(pixels, cell_size, self._patterns[cell_size[1]])
        return self._cells[key]

    def _note_cursor(self, found: list[tuple[int, int]], now_s: float) -> tuple[int, int] | None:
        """Return where the cursor is, also while it is not drawn because it blinks."""
        if found:
            self._cursor = (now_s, found[-1])
        elif self._cursor is not None and now_s - self._cursor[0] > _BLINK_S:
            self._cursor = None
        return self._cursor[1] if self._cursor is not None else None


def size_of(picture: bytes) -> tuple[int, int] | None:
    """Return the width and height of a PPM picture; None if it is none."""
    header = _HEADER.match(picture)
    if header is None:
        return None
    size = int(header[1]), int(header[2])
    return size if len(picture) - header.end() == 3 * size[0] * size[1] and 0 not in size else None


def _cell_sizes(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Yield the sizes of cells that fill a picture of this size."""
    for cell_width in _WIDTHS:
        for cell_height in _HEIGHTS:
            fills = width % cell_width == 0 and height % cell_height == 0
            columns, rows = width // cell_width, height // cell_height
            if fills and _FEWEST_COLUMNS <= columns <= _MOST_COLUMNS and _FEWEST_ROWS <= rows <= _MOST_ROWS:
                yield cell_width, cell_height


def _patterns(font: bytes, height: int) -> Mapping[bytes, str]:
    """Return the characters by their patterns. Of those that look the same, ASCII's is taken."""
    found = {}
    for code in sorted(range(CHARACTERS), key=lambda code: 0x20 <= code < 0x7F):
        found[font[code * SLOT_BYTES : code * SLOT_BYTES + height]] = _char(code)
    return found


def _char(code: int) -> str:
    if code < len(_GRAPHIC):
        return _GRAPHIC[code]
    return {0x7F: "⌂", 0xFF: " "}.get(code) or bytes((code,)).decode("cp437")


def _recognise(pixels: bytes, cell_size: tuple[int, int], patterns: Mapping[bytes, str]) -> tuple[Cell, bool] | None:
    width, height = cell_size
    colours = [pixels[at : at + 3] for at in range(0, len(pixels), 3)]
    kinds = set(colours)
    if len(kinds) > 2:
        return None
    last = colours[width - 1]  # the background, if the cell has nine columns
    if len(kinds) == 1:
        return Cell(" ", last, last), False
    (other,) = kinds - {last}
    for foreground, background in ((other, last), (last, other)):
        pattern = _pattern(colours, foreground, width, height)
        if pattern in patterns:
            return Cell(patterns[pattern], foreground, background), False
    for foreground, background in ((other, last), (last, other)):
        char = _under_cursor(_pattern(colours, foreground, width, height), patterns)
        if char is not None:
            return Cell(char, foreground, background), True
    return None


def _pattern(colours: list[bytes], foreground: bytes, width: int, height: int) -> bytes:
    """Return a byte for each line, as in the font: the first column is the highest bit."""
    found = bytearray()
    for line in range(height):
        bits = 0
        for colour in colours[line * width : line * width + _FONT_WIDTH]:
            bits = bits << 1 | (colour == foreground)
        found.append(bits)
    return bytes(found)


def _under_cursor(pattern: bytes, patterns: Mapping[bytes, str]) -> str | None:
    """Return the character, if some lines in a row are the cursor; None if no character has the other lines."""
    first = pattern.find(0xFF)
    if first < 0:
        return None
    end = first
    while end < len(pattern) and pattern[end] == 0xFF:
        end += 1
    others = (glyph for glyph in patterns if glyph[:first] == pattern[:first] and glyph[end:] == pattern[end:])
    chars = [patterns[glyph] for glyph in others]
    return " " if " " in chars else next(iter(chars), None)
