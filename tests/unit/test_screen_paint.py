"""What `vtapd screen` writes to the terminal."""

import re

import pytest

from supervisor.cli.screen_paint import Painter, Palette
from supervisor.core.formats.text_screen import Cell, TextScreen
from tests.unit.vga import BLACK, GREY, PURPLE

EXACT, ROUGH, PLAIN = Palette(True, False), Palette(False, False), Palette(True, True)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def screen(*lines: str, cursor: tuple[int, int] | None = None) -> TextScreen:
    return TextScreen(tuple(tuple(Cell(char, GREY, BLACK) for char in line) for line in lines), cursor, 0)


def test_only_what_has_changed_is_drawn_again() -> None:
    painter = Painter(PLAIN, 10, 20)
    first = painter.paint(screen("one", "two"), "note")
    assert [text for text in CONTROL.split(first) if text] == ["one", "two", "note"]
    assert CONTROL.sub("", painter.paint(screen("one", "two"), "note")) == ""
    assert CONTROL.sub("", painter.paint(screen("one", "2"), "note")) == "2"
    assert [text for text in CONTROL.split(painter.resize(9, 20) + painter.paint(screen("one"), "")) if text] == ["one"]


def test_lines_that_are_gone_are_cleared() -> None:
    painter = Painter(PLAIN, 10, 20)
    painter.paint(screen("one", "two"), "")
    assert "\x1b[2;1H\x1b[0m\x1b[K" in painter.paint(screen("one"), "")
    assert "\x1b[1;1H" in painter.show(["graphics"])
    assert "one" in painter.paint(screen("one"), "")


@pytest.mark.parametrize(
    ("palette", "style"),
    [(EXACT, "\x1b[38;2;247;71;255;48;2;0;0;0m"), (ROUGH, "\x1b[38;5;207;48;5;16m"), (PLAIN, "\x1b[0m")],
)
def test_colours(palette: Palette, style: str) -> None:
    cells = (Cell("a", PURPLE, BLACK), Cell("b", PURPLE, BLACK))
    assert f"{style}ab\x1b[0m\x1b[K" in Painter(palette, 10, 20).paint(TextScreen((cells,), None, 0), "")


def test_environment_selects_the_palette() -> None:
    assert Palette.of_environment({"COLORTERM": "truecolor"}) == EXACT
    assert Palette.of_environment({}) == ROUGH
    assert Palette.of_environment({"COLORTERM": "24bit", "NO_COLOR": "1"}) == PLAIN


def test_cursor_is_shown_where_the_guest_has_it() -> None:
    painter = Painter(PLAIN, 10, 20)
    assert painter.paint(screen("ab", "cd", cursor=(1, 1)), "").endswith("\x1b[2;2H\x1b[?25h")
    assert painter.paint(screen("ab", "cd"), "").endswith("\x1b[?25l")
    assert painter.paint(screen("ab", "cd", cursor=(1, 30)), "").endswith("\x1b[?25l")


def test_small_terminal_shows_the_line_of_the_cursor_and_the_notice() -> None:
    lines = [f"line {number}" for number in range(25)]
    shown = CONTROL.split(Painter(PLAIN, 5, 6).paint(screen(*lines, cursor=(20, 0)), "a long notice"))
    assert [text for text in shown if text] == ["line 1", "line 1", "line 1", "line 2", "a long"]
    top = Painter(PLAIN, 5, 80).paint(screen(*lines), "")
    assert [text for text in CONTROL.split(top) if text] == lines[:5]


def test_notice_cannot_control_the_terminal() -> None:
    painter = Painter(PLAIN, 10, 80)
    assert "\\x1b]0;x\\x07" in painter.paint(screen("a"), "\x1b]0;x\x07")
    assert "\\x1b]0;x\\x07" in painter.show(["\x1b]0;x\x07"])
