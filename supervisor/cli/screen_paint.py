"""Draw a guest's text screen on a terminal: what has changed since the last time, with colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from supervisor.core.formats.text_screen import Cell, TextScreen
from supervisor.text import escape_controls

_STEPS = (0, 95, 135, 175, 215, 255)
"""Of red, green and blue in the 256 colours of terminals (xterm's 256colres.h)."""
_FIRST_OF_CUBE = 16
_CLEAR, _CLEAR_LINE, _PLAIN = "\x1b[0m\x1b[2J", "\x1b[0m\x1b[K", "\x1b[0m"
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
ENTER, LEAVE = f"\x1b[?1049h{_CLEAR}{_HIDE}", f"{_PLAIN}{_SHOW}\x1b[?1049l"
"""The terminal's second screen, which keeps what is on the first (xterm, ctlseqs)."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Which colours the terminal has: 2**24, 256 or none."""

    is_exact: bool
    is_plain: bool

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Palette":
        """Return what the variables COLORTERM and NO_COLOR say."""
        return cls(environment.get("COLORTERM") in ("truecolor", "24bit"), bool(environment.get("NO_COLOR")))

    def style(self, cell: Cell) -> str:
        """Return the sequence that selects the colours of a cell."""
        if self.is_plain:
            return _PLAIN
        return f"\x1b[38;{self._colour(cell.foreground)};48;{self._colour(cell.background)}m"

    def _colour(self, colour: bytes) -> str:
        if self.is_exact:
            return f"2;{colour[0]};{colour[1]};{colour[2]}"
        red, green, blue = (min(range(6), key=lambda step: abs(_STEPS[step] - level)) for level in colour)
        return f"5;{_FIRST_OF_CUBE + 36 * red + 6 * green + blue}"


class Painter:
    """Knows what is on the terminal, and returns what to write to it."""

    def __init__(self, palette: Palette, lines: int, columns: int) -> None:
        self._palette = palette
        self._lines, self._columns = lines, columns
        self._shown: list[Sequence[Cell] | str] = []
        self._screen: TextScreen | None = None

    def resize(self, lines: int, columns: int) -> str:
        """The terminal has another size: draw all of it."""
        self._lines, self._columns, self._shown = lines, columns, []
        return _CLEAR

    def paint(self, screen: TextScreen, notice: str) -> str:
        """Draw the screen. The notice is in the line below it, or in the last line of a terminal that is too small."""
        first = self._first_row(screen, notice)
        rows: list[Sequence[Cell] | str] = [row[: self._columns] for row in screen.rows[first : first + self._lines]]
        if notice:
            rows = [*rows[: self._lines - 1], escape_controls(notice)[: self._columns]]
        return self._change(rows) + self._place_cursor(screen, first)

    def show(self, lines: Sequence[str]) -> str:
        """Show lines of text in place of the screen."""
        return self._change([escape_controls(line)[: self._columns] for line in lines[: self._lines]]) + _HIDE

    def _first_row(self, screen: TextScreen, notice: str) -> int:
        """Return the first row to draw: in a terminal that is too small, the cursor is in it."""
        space = max(1, self._lines - bool(notice))
        lowest = screen.cursor[0] if screen.cursor else 0
        return max(0, min(lowest + 1, len(screen.rows)) - space)

    def _change(self, rows: list[Sequence[Cell] | str]) -> str:
        painted = []
        for number, row in enumerate(rows):
            if number >= len(self._shown) or self._shown[number] != row:
                text = row if isinstance(row, str) else self._coloured(row)
                painted.append(f"\x1b[{number + 1};1H{_PLAIN}{text}{_CLEAR_LINE}")
        painted.extend(f"\x1b[{number + 1};1H{_CLEAR_LINE}" for number in range(len(rows), len(self._shown)))
        self._shown = rows
        return "".join(painted)

    def _coloured(self, row: Sequence[Cell]) -> str:
        runs = groupby(row, key=self._palette.style)
        return "".join(style + "".join(cell.char for cell in cells) for style, cells in runs)

    def _place_cursor(self, screen: TextScreen, first: int) -> str:
        if screen.cursor is None or screen.cursor[1] >= self._columns or screen.cursor[0] < first:
            return _HIDE
        return f"\x1b[{screen.cursor[0] - first + 1};{screen.cursor[1] + 1}H{_SHOW}"
