from typing import Any

import pytest

from supervisor.core.formats.docker_event import Event, parse_event

NOW_NS = 99


def of_container(action: str, **attributes: str) -> dict[str, Any]:  # Docker's JSON
    return {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": "c1", "Attributes": {"name": "web", "image": "busybox", **attributes}},
        "timeNano": 7,
    }


def test_event_of_a_container_has_its_name_and_labels() -> None:
    event = parse_event(of_container("start", **{"vtapd.kernel": "/app"}), NOW_NS)
    assert event is not None
    assert (event.action, event.container, event.time_ns) == ("start", "c1", 7)
    assert (event.name, event.labels, event.network_type) == ("web", {"vtapd.kernel": "/app"}, "")


def test_event_of_a_network_names_the_container() -> None:
    attributes = {"container": "c2", "name": "bridge", "type": "bridge"}
    event = parse_event({"Type": "network", "Action": "connect", "Actor": {"Attributes": attributes}}, NOW_NS)
    assert event is not None
    assert (event.container, event.name, event.labels, event.network_type) == ("c2", "", {}, "bridge")
    assert event.time_ns == NOW_NS, "it has no time"


@pytest.mark.parametrize(
    ("action", "signal", "expected"), [("kill", "9", 9), ("kill", "nine", None), ("kill", "", None), ("die", "9", None)]
)
def test_only_a_kill_has_a_signal(action: str, signal: str, expected: int | None) -> None:
    event = parse_event(of_container(action, signal=signal), NOW_NS)
    assert event is not None
    assert event.signal == expected


@pytest.mark.parametrize(
    "data", [{}, "text", {"Type": 1}, {"Action": "start"}, {"Actor": {"ID": "c1"}}, {"Type": "network", "Action": "x"}]
)
def test_what_names_no_container_is_no_event(data: object) -> None:
    assert parse_event(data, NOW_NS) is None


def test_two_equal_events_are_equal() -> None:
    first, second = (parse_event(of_container("start"), NOW_NS) for _ in range(2))
    assert isinstance(first, Event)
    assert first == second
