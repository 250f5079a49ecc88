"""Patterns from labels: which are accepted, which are refused, and that their time grows linearly with the text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.regex import MAX_LENGTH, compile_pattern

LINE = 1024
WORST = [
    "(a+)+$",
    "(a|aa)+$",
    "(a|a?)+$",
    "(.*a){20}$",
    "(a*)*b",
    "([a-z]+)*=",
    "(x+x+)+y",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
]


@pytest.mark.parametrize(
    ("text", "data", "found"),
    [
        ("ready", b"now ready to serve", True),
        (r"ready on port \d+", b"\xff\x00 ready on port 80\r", True),
        (r"^ready$", b"not ready", False),
        (r"a,b=c: \(done\)", b"a,b=c: (done)", True),
        (r"(?i)READY", b"ready", True),
        (r"x{2,3}", b"xx", True),
    ],
)
def test_pattern_is_searched(text: str, data: bytes, found: bool) -> None:
    pattern = compile_pattern(text)
    assert pattern.search(data) is found
    assert repr(pattern) == f"Pattern({text!r})"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "*",
        r"(a)\1",
        "(?=a)",
        "a{1001}",
        "((a{50}){50}){50}",
        "[[:foo:]]",
        "é",
        "a\n",
        "\x1b[2J",
        "a" * 201,
        "\0",
    ],
)
def test_invalid_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RE2's syntax, of up to 200 printable ASCII characters"):
        compile_pattern(text)


def test_longest_pattern_is_accepted() -> None:
    assert compile_pattern("a" * MAX_LENGTH).search(b"a" * MAX_LENGTH)


def seconds(text: str, data: bytes) -> float:
    pattern = compile_pattern(text)
    began_s = time.perf_counter()
    for _ in range(20):
        pattern.search(data)
    return time.perf_counter() - began_s


@pytest.mark.parametrize("text", WORST)
def test_search_time_does_not_explode(text: str) -> None:
    """A backtracking search would take 2^512 times as long for twice the line."""
    short, long = seconds(text, b"a" * (LINE // 2) + b"!"), seconds(text, b"a" * LINE + b"!")
    assert long < 100 * short + 0.1


@given(st.text(st.characters(max_codepoint=126), max_size=40), st.binary(max_size=LINE))
def test_any_text_is_a_pattern_or_is_refused(text: str, data: bytes) -> None:
    try:
        pattern = compile_pattern(text)
    except ValueError:
        return
    assert pattern.search(data) in (True, False)
