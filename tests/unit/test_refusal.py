"""What a refusal shows, and what it must not show."""

import pytest

from supervisor.core.kinds.refusal import check_text, refused
from supervisor.errors import Rejected


def test_label_value_is_escaped_and_shortened() -> None:
    assert refused("vtapd.args", "\x1b[2J", "text").message == r"label vtapd.args='\x1b[2J' is refused"
    assert refused("vtapd.args", "x" * 5000, "text").message.endswith("x'… is refused")
    assert len(refused("vtapd.args", "x" * 5000, "text").message) < 200


@pytest.mark.parametrize("value", ["a\tb", "\x00", "\x7f", "\x85", "\ud800", 'a"'])
def test_refused_characters_are_named(value: str) -> None:
    with pytest.raises(Rejected, match="text without double quotes or control characters"):
        check_text("vtapd.args", value, '"')


def test_control_characters_are_always_refused() -> None:
    with pytest.raises(Rejected, match="allowed is text without control characters"):
        check_text("vtapd.args", "\n")


@pytest.mark.parametrize("value", ["", "a b", "\N{NO-BREAK SPACE}", "h\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_other_text_is_accepted(value: str) -> None:
    check_text("vtapd.args", value, '"')
