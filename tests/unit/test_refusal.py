"""What a refusal shows, and what it must not."""

import pytest

from supervisor.core.guests.refusal import check_env, check_text, refuse_env, refused
from supervisor.errors import Rejected

PHRASE = "correct horse battery staple"


@pytest.mark.parametrize(("key", "value"), [("PASSWORD", PHRASE), ("PASS-WORD", PHRASE.replace(" ", ""))])
def test_a_variable_is_named_and_its_value_is_not_shown(key: str, value: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_env(((key, value),), without=" ")
    assert "label vtapd.env='true' is refused" in str(caught.value)
    assert repr(key) in str(caught.value)
    assert "horse" not in str(caught.value)


def test_a_kind_without_an_environment_shows_none_of_it() -> None:
    refuse_env((), "raw")
    with pytest.raises(Rejected) as caught:
        refuse_env((("PASSWORD", PHRASE),), "raw")
    assert "horse" not in str(caught.value)


def test_a_label_is_shown_escaped_and_not_at_any_length() -> None:
    assert refused("vtapd.args", "\x1b[2J", "text").message == r"label vtapd.args='\x1b[2J' is refused"
    assert refused("vtapd.args", "x" * 5000, "text").message.endswith("x'… is refused")
    assert len(refused("vtapd.args", "x" * 5000, "text").message) < 200


@pytest.mark.parametrize("value", ["a\tb", "\x00", "\x7f", "\x85", "\ud800", 'a"'])
def test_what_is_refused_is_spelt_out(value: str) -> None:
    with pytest.raises(Rejected, match="text without double quotes, control characters"):
        check_text("vtapd.args", value, '"')


@pytest.mark.parametrize("value", ["", "a b", "\N{NO-BREAK SPACE}", "h\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_all_else_may_be_said(value: str) -> None:
    check_text("vtapd.args", value, '"')
