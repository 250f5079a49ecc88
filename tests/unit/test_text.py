"""Any text is shown with printable characters only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.text import escape_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain é", "plain é"), ("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("\u202e", r"\u202e"), ("\ud800", r"\ud800")],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@given(st.text(st.characters()))
def test_escaped_text_is_printable(text: str) -> None:
    assert escape_controls(text).isprintable()
