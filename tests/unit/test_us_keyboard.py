"""What is typed on a terminal becomes keys."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.us_keyboard import is_chord, key_events, parse_typed


@pytest.mark.parametrize(
    ("typed", "chords"),
    [
        ("a1 ", [("a",), ("1",), ("spc",)]),
        ("A!?", [("shift", "a"), ("shift", "1"), ("shift", "slash")]),
        ("\r\n\t\x7f\x08", [("ret",), ("ret",), ("tab",), ("backspace",), ("backspace",)]),
        ("\x03\x1a\0\x1c", [("ctrl", "c"), ("ctrl", "z"), ("ctrl", "spc"), ("ctrl", "backslash")]),
        ("\x1b", [("esc",)]),
        ("\x1b\x1b", [("esc",), ("esc",)]),
        ("\x1bx", [("alt", "x")]),
        ("\x1bX", [("alt", "shift", "x")]),
        ("\x1bé", []),
        ("\x1b[A\x1bOB\x1b[C\x1b[D", [("up",), ("down",), ("right",), ("left",)]),
        ("\x1b[1;5A", [("ctrl", "up")]),
        ("\x1b[3;6~", [("shift", "ctrl", "delete")]),
        ("\x1b[Z", [("shift", "tab")]),
        ("\x1bOP\x1b[15~\x1b[24~", [("f1",), ("f5",), ("f12",)]),
        ("\x1b[H\x1b[F\x1b[2~\x1b[5~\x1b[6~", [("home",), ("end",), ("insert",), ("pgup",), ("pgdn",)]),
        ("\x1b[99~\x1b[?1;2c", []),
        ("\x1b[1;", []),
        ("é日", []),
    ],
)
def test_keys(typed: str, chords: list[tuple[str, ...]]) -> None:
    assert list(parse_typed(typed)) == chords


def test_all_of_ascii_can_be_typed() -> None:
    for char in string.printable.strip("\x0b\x0c"):
        assert list(parse_typed(char)), char


@given(st.text())
def test_whatever_is_typed_gives_keys_that_are_accepted(typed: str) -> None:
    assert all(is_chord(list(chord)) for chord in parse_typed(typed))


@pytest.mark.parametrize("value", [None, "a", [], ["nokey"], [1], ["shift"] * 5, [["a"]], {"a": 1}])
def test_other_values_are_refused(value: object) -> None:
    assert not is_chord(value)


def test_keys_are_released_in_the_reverse_order() -> None:
    events = key_events(("ctrl", "c"))["events"]
    assert isinstance(events, list)
    steps = [(each["data"]["key"]["data"], each["data"]["down"]) for each in events]
    assert steps == [("ctrl", True), ("c", True), ("c", False), ("ctrl", False)]
    assert events[0] == {"type": "key", "data": {"down": True, "key": {"type": "qcode", "data": "ctrl"}}}
