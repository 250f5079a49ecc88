"""Docker's events: one thing that happened to a container or its network. (Docker Engine API v1.41: GET /events)"""

import re
from dataclasses import dataclass, field

import msgspec

from supervisor.core.container import ContainerId

_SIGNAL = re.compile(r"[0-9]{1,3}")

_NOT_LABELS = frozenset({"name", "image"})
"""Attributes that Docker adds to a container's labels in its events. They replace labels of these names."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a container."""

    action: str
    container: ContainerId
    time_ns: int
    """Since the epoch, by Docker's clock."""
    signal: int | None = None
    """The number of the signal, if the action is `kill`."""
    replayed: bool = False
    """It happened before the stream was opened: it may have been seen before, or belong to an earlier run."""
    name: str = ""
    """The container's name; empty if the event is a network's."""
    labels: dict[str, str] = field(default_factory=dict)
    """The container's labels; empty if the event is a network's."""
    network_type: str = ""
    """The driver of the network; empty if the event is a container's."""


class _Actor(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] | None = None


class _Event(msgspec.Struct):
    type: str = msgspec.field(name="Type", default="")
    action: str = msgspec.field(name="Action", default="")
    actor: _Actor = msgspec.field(name="Actor", default_factory=_Actor)
    time_ns: int = msgspec.field(name="timeNano", default=0)


def parse_event(data: object, now_ns: int) -> Event | None:
    """Return an event, or None for one that names no container or is not understood.

    Nothing is lost with it: the next resync sees what it would have reported. `now_ns` stands for a missing time.
    """
    try:
        event = msgspec.convert(data, _Event)
    except msgspec.ValidationError:
        return None
    attributes = event.actor.attributes or {}
    of_network = event.type == "network"
    container = attributes.get("container", "") if of_network else event.actor.id
    if not container or not event.action:
        return None
    number = attributes.get("signal", "")
    return Event(
        event.action,
        ContainerId(container),
        event.time_ns or now_ns,
        int(number) if event.action == "kill" and _SIGNAL.fullmatch(number) else None,
        name="" if of_network else attributes.get("name", ""),
        labels={} if of_network else {key: value for key, value in attributes.items() if key not in _NOT_LABELS},
        network_type=attributes.get("type", "") if of_network else "",
    )
