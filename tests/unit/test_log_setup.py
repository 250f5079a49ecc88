"""Log lines with text from outside, on a terminal and as JSON."""

import json
import os
from collections.abc import Iterator
from typing import Literal

import anyio
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from supervisor.observability.event_stream import BROADCAST, MOST_KEPT
from supervisor.observability.log_setup import configure_logs

FORGED = '\n{"event": "forged"}'


@pytest.fixture(autouse=True)
def _reset_structlog() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def line(capsys: pytest.CaptureFixture[str], form: Literal["json", "console"], **values: object) -> str:
    configure_logs("info", form)
    structlog.get_logger().info("guest_exited", **values)
    return capsys.readouterr().err


@pytest.mark.parametrize("value", ["\x1b]0;owned\x07", f"x{FORGED}", "\x9b2J", "\u202eabc", "a\rb", "a\u2028b"])
def test_console_line_escapes_control_characters(capsys: pytest.CaptureFixture[str], value: str) -> None:
    """structlog prints a value without blanks unquoted."""
    printed = line(capsys, "console", detail=value)
    assert value not in printed
    assert len(printed.splitlines()) == 1


@given(value=st.text(st.characters()), key=st.text(st.characters()).filter(lambda key: key not in ("event", "self")))
def test_json_log_entry_is_one_line(value: str, key: str) -> None:
    rendered = structlog.processors.JSONRenderer()(None, "info", {key: value, "event": "e"})
    assert len(rendered.splitlines()) == 1
    assert json.loads(rendered)["event"] == "e"


def test_colours_are_only_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in line(capsys, "console", detail="x")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert "\x1b[" in line(capsys, "console", detail="x")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in line(capsys, "console", detail="x")


def test_log_level_can_change(capsys: pytest.CaptureFixture[str]) -> None:
    """This also applies to loggers that were used before, such as the one of each module."""
    log = structlog.get_logger()
    for level, shown in (("info", True), ("error", False), ("info", True)):
        configure_logs(level, "json")
        log.info("guest_exited")
        assert bool(capsys.readouterr().err) == shown


def test_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    printed = line(capsys, "console", exception="Traceback\n  line 1\x1b[2J")
    assert printed.endswith("\nTraceback\n  line 1\\x1b[2J\n")


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return the end to read of a pipe that is standard error."""
    reader, writer = os.pipe()
    with open(reader, "rb") as owned, open(writer, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        configure_logs("info", "json")
        yield owned.fileno()


def test_unread_standard_error_never_stops_the_program(pipe: int) -> None:
    log = structlog.get_logger()
    for number in range(1000):
        log.info("event", number=number, text="x" * 5000)
    os.read(pipe, 1 << 20)
    log.info("last")
    lost, last = map(json.loads, os.read(pipe, 1 << 20).splitlines()[-2:])
    assert (lost["event"], last["event"]) == ("log_lines_lost", "last")
    assert 980 < lost["count"] < 1000


def test_closed_standard_error_never_stops_the_program(pipe: int) -> None:
    replacement = os.open(os.devnull, os.O_RDONLY)
    os.dup2(replacement, pipe)  # the pipe has no reader any more
    os.close(replacement)
    structlog.get_logger().info("event")


@pytest.mark.parametrize(("level", "printed"), [("debug", 3), ("info", 2), ("error", 1)])
def test_event_followers_get_events_at_every_log_level(
    capsys: pytest.CaptureFixture[str], level: str, printed: int
) -> None:
    """A follower gets events of level info and above, from the moment it follows, if they pass its filter."""

    async def follow() -> list[str]:
        configure_logs(level, "json")
        log = structlog.get_logger()
        log.info("before")
        capsys.readouterr()
        with BROADCAST.follow(lambda event: event.get("container") == "web") as follower:
            for write in (log.debug, log.info, log.error):
                write("x", container="web")
            structlog.get_logger().critical("x", container="other")
            levels = [json.loads(line)["level"] for line in [await follower.next(), await follower.next()] if line]
            assert await follower.next(0) is None
        return levels

    assert anyio.run(follow) == ["info", "error"]
    lines = [line for line in capsys.readouterr().err.splitlines() if '"web"' in line]
    assert len(lines) == printed


@pytest.mark.parametrize(("past_s", "shown"), [(0.0, ["new"]), (3600.0, ["old", "new"])])
def test_event_follower_gets_past_events_of_the_time_it_asks_for(past_s: float, shown: list[str]) -> None:
    async def follow() -> list[str]:
        configure_logs("error", "json")
        log = structlog.get_logger().bind(container=f"past-{past_s}")
        log.info("old")
        structlog.get_logger().info("old", container="other")
        with BROADCAST.follow(lambda event: event.get("container") == f"past-{past_s}", past_s) as follower:
            log.info("new")
            return [json.loads(line)["event"] for line in [await follower.next(0), await follower.next(0)] if line]

    assert anyio.run(follow) == shown


def test_events_are_kept_in_bounded_memory() -> None:
    async def follow() -> list[int]:
        configure_logs("error", "json")
        for number in range(MOST_KEPT + 5):
            structlog.get_logger().info("x", number=number, container="many")
        with BROADCAST.follow(lambda event: event.get("container") == "many", 3600.0) as follower:
            lines = [await follower.next(0) for _ in range(MOST_KEPT)]
            assert await follower.next(0) is None
        return [json.loads(line)["number"] for line in lines if line]

    assert anyio.run(follow) == list(range(5, MOST_KEPT + 5))
