"""The keys of `vtapd top`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.report.load import Order
from supervisor.core.report.top_view import View, parse_keys, press

PAGE = 10


def after(typed: str, view: View | None = None) -> View:
    view = view or View()
    for key in parse_keys(typed):
        view = press(view, key, PAGE)
    return view


@pytest.mark.parametrize(
    ("key", "order"),
    [("c", Order.CPU), ("m", Order.MEMORY), ("n", Order.NETWORK), ("r", Order.RESTARTS), ("a", Order.NAME)],
)
def test_key_sorts(key: str, order: Order) -> None:
    assert after(key, View(order=Order.NAME if order is not Order.NAME else Order.CPU, first=5)) == View(order=order)


def test_same_key_again_reverses_the_order() -> None:
    assert after("m").is_reversed is False
    assert after("mm").is_reversed is True
    assert after("mmm").is_reversed is False
    assert after("mmr").is_reversed is False


@pytest.mark.parametrize("key", ["q", "\x03", "\x04", "/\x03"])
def test_key_quits(key: str) -> None:
    assert after(key).done


def test_filter_is_typed_corrected_and_ended() -> None:
    assert after("/wexb") == View(filter="wexb", typing=True)
    assert after("/wex\x7fb\r") == View(filter="web")
    assert after("/web\r/2\n") == View(filter="web2")
    assert after("/q\x04").done is False, "q is a letter here"
    assert len(after("/" + "x" * 1000).filter) == 100


@pytest.mark.parametrize("typed", ["/web\x1b", "/web\r\x1b"])
def test_escape_shows_all(typed: str) -> None:
    assert after(typed) == View()


def test_filter_starts_at_the_first_row() -> None:
    assert after("/w", View(first=30)).first == 0


@pytest.mark.parametrize(
    ("typed", "first"),
    [("\x1b[B", 21), ("\x1b[A", 19), ("\x1bOB\x1bOA", 20), ("\x1b[6~", 30), ("\x1b[5~", 10), ("\x1b[H", 0), ("x", 20)],
)
def test_keys_scroll(typed: str, first: int) -> None:
    assert after(typed, View(first=20)).first == first


def test_first_row_is_never_before_the_first() -> None:
    assert after("\x1b[A").first == 0
    assert after("\x1b[5~").first == 0


def test_arrows_do_not_change_a_filter_that_is_typed() -> None:
    assert after("/we\x1b[Ab").filter == "web"


@pytest.mark.parametrize("typed", ["\x1b[15~", "\x1bOP", "\x00\x01\x1f", "\u200b"])
def test_other_keys_have_no_effect(typed: str) -> None:
    assert after(typed) == View()


@given(st.text())
def test_any_input_is_read_as_keys_without_control_characters(typed: str) -> None:
    assert all(key.isprintable() and key for key in parse_keys(typed))
