"""Text is read back from pictures of VGA text modes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.formats import text_screen
from supervisor.core.formats.text_screen import Cell, ScreenReader, TextScreen, size_of
from tests.unit.vga import BLACK, GREY, LINE_GRAPHICS, PURPLE, draw, font, screen

FONT = font()
GRAPHICS = b"P6\n640 480\n255\n" + random.Random(1).randbytes(640 * 480 * 3)  # noqa: S311  # it makes noise


def read(picture: bytes, glyphs: bytes = FONT, now_s: float = 0.0) -> TextScreen | None:
    return ScreenReader(glyphs).read(picture, now_s)


def text_of(found: TextScreen | None) -> str:
    assert found is not None
    return found.text().rstrip("\n")


@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize(("height", "rows"), [(16, 25), (14, 25), (8, 50)])
def test_text_of_each_mode(width: int, height: int, rows: int) -> None:
    glyphs = font(height)
    lines = ("Hiya, Gump!", "", "  ~ 100 % ░▒▓ é")
    picture = draw(screen(*lines, rows=rows), glyphs, width=width, height=height)
    found = read(picture, glyphs)
    assert text_of(found) == "\n".join(lines)
    assert found is not None
    assert (len(found.rows), len(found.rows[0]), found.unread, found.cursor) == (rows, 80, 0, None)


def test_forty_columns() -> None:
    assert text_of(read(draw(screen("wide", columns=40), FONT))) == "wide"


def test_every_character() -> None:
    cells = screen()
    for code in range(256):
        cells[code // 16][code % 16] = (code, PURPLE, BLACK)
    found = read(draw(cells, FONT))
    assert found is not None
    assert found.unread == 0
    read_back = [found.rows[code // 16][code % 16] for code in range(256)]
    assert all(cell.char.isprintable() and len(cell.char) == 1 for cell in read_back)
    assert read_back[0x20:0x7F] == [
        Cell(chr(code), PURPLE if code != 0x20 else BLACK, BLACK) for code in range(0x20, 0x7F)
    ]
    assert len({cell.char for cell in read_back}) == 256 - 3, "blanks and the full block are blanks"


def test_control_characters_are_shown_as_code_page_437_draws_them() -> None:
    cells = screen()
    cells[0][0], cells[0][1], cells[0][2] = ((code, GREY, BLACK) for code in (0x1B, 0x07, 0x7F))
    assert text_of(read(draw(cells, FONT))) == "←•⌂"


def test_cell_of_one_colour_is_a_blank_of_it() -> None:
    cells = screen()
    cells[0][0], cells[0][1] = (0xDB, PURPLE, BLACK), (0x20, GREY, PURPLE)
    found = read(draw(cells, FONT))
    assert found is not None
    assert found.rows[0][0] == found.rows[0][1] == Cell(" ", PURPLE, PURPLE)


@pytest.mark.parametrize("char", "a ")
def test_cursor_is_found_and_the_character_under_it_is_read(char: str) -> None:
    found = read(draw(screen("login: " + char), FONT, cursor=(0, 7)))
    assert found is not None
    assert found.cursor == (0, 7)
    assert found.rows[0][7].char == char


def test_second_cursor_is_a_sign_of_another_font() -> None:
    cells = screen("ab")
    one, both = draw(cells, FONT, cursor=(0, 0)), bytearray(draw(cells, FONT, cursor=(0, 1)))
    cell = range(len(b"P6\n720 400\n255\n"), len(one), 3 * 720)
    for at in list(cell)[:16]:
        both[at : at + 27] = one[at : at + 27]
    found = read(bytes(both))
    assert found is not None
    assert found.unread == 1


def test_cursor_stays_while_it_blinks_and_goes_when_it_is_hidden() -> None:
    reader = ScreenReader(FONT)
    shown, hidden = draw(screen("x"), FONT, cursor=(0, 1)), draw(screen("x"), FONT)

    def cursor(picture: bytes, now_s: float) -> tuple[int, int] | None:
        found = reader.read(picture, now_s)
        assert found is not None
        return found.cursor

    assert cursor(hidden, 0.0) is None
    assert cursor(shown, 0.1) == (0, 1)
    assert cursor(hidden, 0.4) == (0, 1)
    assert cursor(hidden, 2.0) is None


def test_graphics_mode_is_no_text() -> None:
    assert read(GRAPHICS) is None
    two_colours = bytearray(draw(screen(), FONT))
    chance = random.Random(2)  # noqa: S311  # it makes noise
    for at in range(15, len(two_colours), 3):
        two_colours[at : at + 3] = chance.choice((BLACK, GREY))
    assert read(bytes(two_colours)) is None


def test_few_cells_with_something_else_are_counted() -> None:
    picture = bytearray(draw(screen("abc"), FONT))
    at = len(b"P6\n720 400\n255\n")
    picture[at : at + 9] = b"\x01\x02\x03" * 3
    found = read(bytes(picture))
    assert found is not None
    assert found.unread == 1
    assert found.rows[0][1].char == "b"
    assert found.rows[0][0].char == "?"


def test_blank_screen_has_the_size_that_fits_the_font() -> None:
    found = read(draw(screen(), FONT))
    assert found is not None
    assert (len(found.rows), len(found.rows[0])) == (25, 80)


def test_blank_picture_of_another_size_is_a_graphics_mode() -> None:
    assert read(b"P6\n640 480\n255\n" + bytes(640 * 480 * 3)) is None
    assert text_of(read(draw(screen("x", rows=30), FONT))) == "x"


def test_reader_notices_that_the_mode_has_changed() -> None:
    """A font of eight lines takes the place of the upper halves of the one before, whose lower halves stay."""
    reader = ScreenReader(FONT)
    for height, rows in ((16, 25), (8, 50), (16, 25)):
        picture = draw(screen("first", "second", rows=rows), FONT, height=height)
        assert text_of(reader.read(picture, 0.0)) == "first\nsecond"


def test_other_font_is_no_text() -> None:
    assert read(draw(screen("x" * 80, "y" * 80, "z" * 80), font(seed=7))) is None


@pytest.mark.parametrize(
    "picture",
    [b"", b"P5\n720 400\n255\n", b"P6\n720 400\n255\nshort", b"P6\n0 0\n255\n", b"P6\n8 16\n255\n" + bytes(384)],
)
def test_anything_else_is_no_text(picture: bytes) -> None:
    assert read(picture) is None


def test_size_of_a_picture() -> None:
    assert size_of(GRAPHICS) == (640, 480)
    assert size_of(b"P6\n0 0\n255\n") is None


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), changes=st.integers(0, 40))
def test_reader_that_remembers_reads_the_same_as_a_new_one(seed: int, changes: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # it chooses cells
    reader, cells = ScreenReader(FONT), screen("some text", rows=20, columns=40)
    for _ in range(2):
        for _ in range(changes):
            row, column = chance.randrange(20), chance.randrange(40)
            cells[row][column] = (chance.choice([*range(0x20, 0x7F), *LINE_GRAPHICS]), PURPLE, BLACK)
        picture = draw(cells, FONT)
        assert reader.read(picture, 0.0) == read(picture)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_screen, "_MOST_REMEMBERED", 300)
    reader, chance = ScreenReader(FONT), random.Random(3)  # noqa: S311  # it chooses colours
    cells = screen()
    for number in range(1000):
        cells[number // 80][number % 80] = (0x41, chance.randbytes(3), chance.randbytes(3))
    assert reader.read(draw(cells, FONT), 0.0) is not None
    assert len(reader._cells) <= 300
