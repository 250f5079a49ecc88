"""The values of `vtapd.ready` and `vtapd.alive`."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.guest.console_scanner import MAX_LINE_BYTES, ConsoleSearch
from supervisor.core.guest.health_spec import Aliveness, Probe, Readiness, parse_alive, parse_ready
from supervisor.core.guest.regex import compile_pattern


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("none", None),
        ("tcp:80", Readiness(Probe(80))),
        ("http:80/", Readiness(Probe(80, "/"))),
        ("http:8080/health?full=1", Readiness(Probe(8080, "/health?full=1"))),
        ("ping", Readiness(Probe())),
        ("console:serving on .*:80$", Readiness(pattern="serving on .*:80$")),
    ],
)
def test_ready_values_are_parsed(text: str, meant: Readiness | None) -> None:
    assert parse_ready(text) == meant
    assert str(meant or "none") == text


@pytest.mark.parametrize(
    "text",
    ["", "tcp", "tcp:", "tcp:0", "tcp:65536", "udp:53", "ping:1", "console:", "console:(", "http:80", "http:/",
     "http:0/", "http:80/a b", "http:80/a\r\nHost:", "http:80/a,b", "tcp:80/"],
)  # fmt: skip
def test_wrong_ready_value_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"tcp:PORT|regular expression"):
        parse_ready(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ping", Aliveness(Probe())),
        ("tcp:80", Aliveness(Probe(80), 5.0, 3)),
        ("http:80/ok,every=1s", Aliveness(Probe(80, "/ok"), 1.0, 3)),
        ("tcp:80,fails=1,every=500ms", Aliveness(Probe(80), 0.5, 1)),
    ],
)
def test_alive_values_are_parsed(text: str, meant: Aliveness) -> None:
    assert parse_alive(text) == meant
    assert parse_alive(str(meant)) == meant


@pytest.mark.parametrize(
    "text",
    ["", "off", "tcp:x", "ping,", "ping,every", "ping,every=5", "ping,every=1ms", "ping,fails=0",
     "ping,fails=1,fails=2", "ping,often=1s", "console:x"],
)  # fmt: skip
def test_wrong_alive_value_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"tcp:PORT|duration"):
        parse_alive(text)


def test_pattern_does_not_backtrack() -> None:
    pattern = compile_pattern("(a|a|a|a|a|a)*(a|a)*b")
    began = time.process_time()
    assert not pattern.search(b"a" * MAX_LINE_BYTES)
    assert time.process_time() - began < 1.0, "the pattern backtracks"


@pytest.mark.parametrize("text", ["", "(", "a{1000}{1000}", "x" * 513, r"(a)\1"])
def test_wrong_pattern_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        compile_pattern(text)


@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_is_rejected(text: str) -> None:
    try:
        pattern = compile_pattern(text)
    except ValueError:
        return
    pattern.search(text.encode("utf-8", "replace"))


def found(pattern: str, *pieces: bytes) -> bool:
    search = ConsoleSearch(compile_pattern(pattern))
    return any(search.feed(piece) for piece in pieces)


def test_pattern_is_found_across_chunks_in_floods_and_in_prompts() -> None:
    assert found("^serving$", b"boot\r\nser", b"ving\r\n")
    assert found("^serving$", b"x" * 100_000 + b"\nserving\n" + b"y" * 100_000)
    assert found("login:", b"\x1b[1mkek\x1b[0m login: ")
    assert not found("^serving$", b"not serving\nserving well\n")
    assert not found("z", b"x" * MAX_LINE_BYTES + b"z\n")
