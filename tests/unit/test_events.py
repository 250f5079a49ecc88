"""The events that clients wait for, in bounded memory."""

import json

import click
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.output import describe_event
from supervisor.core.report.events import Waiting, format_event
from supervisor.core.report.schema import EventShape

EVENT = {"container": "web", "event": "guest_exited", "level": "info", "reason": "hang"}
NOW = "2026-01-02T03:04:05.678+00:00"


class TestWaiting:
    def test_lines_are_taken_in_order(self) -> None:
        waiting = Waiting()
        for line in (b"1\n", b"2\n"):
            waiting.put(line)
        assert [waiting.take(), waiting.take(), waiting.take()] == [b"1\n", b"2\n", None]

    def test_lost_events_are_reported_in_their_place(self) -> None:
        waiting = Waiting(most=1)
        for line in (b"1\n", b"2\n", b"3\n"):
            waiting.put(line)
        assert waiting.take() == b"1\n"
        waiting.put(b"4\n")
        lost = json.loads(waiting.take() or b"")
        assert (lost["event"], lost["count"]) == ("events_lost", 3)
        waiting.put(b"5\n")
        assert [waiting.take(), waiting.take()] == [b"5\n", None]


class TestFormat:
    def test_json_starts_with_time_event_and_container(self) -> None:
        result = json.loads(format_event(EVENT, NOW))
        assert list(result) == ["time", "event", "container", "level", "reason"]
        assert set(EventShape.__annotations__) == set(result) - {"reason"}
        assert json.loads(format_event({"event": "x"}, "")) == {"time": None, "event": "x", "container": None}

    def test_value_that_is_not_json_is_shown_as_text(self) -> None:
        assert json.loads(format_event({"event": "x", "value": {1}}, NOW))["value"] == "{1}"

    def test_event_is_described_for_people(self) -> None:
        shown = describe_event(json.loads(format_event(EVENT | {"code": None, "detail": ""}, NOW)))
        assert click.unstyle(shown) == f"{NOW} guest_exited container=web reason=hang"
        assert click.unstyle(describe_event({"event": "docker_connected"})) == "- docker_connected"

    def test_colour_of_an_event_shows_its_level(self) -> None:
        assert click.style("guest_exited", bold=True) in describe_event(EVENT)
        assert click.style("guest_exited", fg="yellow", bold=True) in describe_event(EVENT | {"level": "warning"})
        assert click.style("x", fg="red", bold=True) in describe_event({"event": "x", "level": "error"})

    @given(st.text(), st.text())
    def test_described_event_contains_no_control_characters(self, name: str, detail: str) -> None:
        shown = describe_event(EVENT | {"container": name, "event": name, "time": name, "detail": detail})
        assert click.unstyle(shown).isprintable()
