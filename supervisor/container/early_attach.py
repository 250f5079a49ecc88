"""Describe a container that Docker is just starting, by the event of its start and by what the kernel shows.

Docker answers nothing about a container while it starts it, and its answer takes longer than all steps of an attach.
So a container without labels for vtapd is attached first. Docker is asked afterwards, and its answer counts.
"""

import math
import time

from supervisor.core.attach.selection import are_ours_among, why_left_alone
from supervisor.core.container import Container, ContainerId
from supervisor.core.formats.docker_event import Event
from supervisor.edges.kernel import cgroups, netns

_MAX_CONNECTED = 1024
_STARTS_WITHIN_S = 5.0
_NO_NETWORKS = ("host", "null")
"""Types of networks that give a container no network namespace with an interface of its own."""


class EarlyAttach:
    """What is known of containers that are about to start."""

    def __init__(self) -> None:
        self._connected: dict[ContainerId, float] = {}
        """Containers that were connected to a network, which Docker reports before a start; monotonic time of that."""
        self._around_id: tuple[str, str] | None = None
        """The last container's cgroup, before and after its id. The next container's cgroup is in the same place."""

    def note_cgroup(self, container_id: ContainerId, cgroup: str) -> None:
        """Learn where Docker puts the cgroups of containers."""
        before, _, after = cgroup.partition(container_id)
        self._around_id = before, after

    def note_connect(self, event: Event) -> None:
        """A container that does not run was connected to a network: it will probably start soon."""
        if event.network_type in _NO_NETWORKS:
            return
        if len(self._connected) >= _MAX_CONNECTED:
            self._connected.clear()  # those are attached a little later
        self._connected[event.container] = time.monotonic()

    def is_burst(self) -> bool:
        """Whether containers are likely to start right now."""
        latest_s = max(self._connected.values(), default=-math.inf)
        return time.monotonic() - latest_s < _STARTS_WITHIN_S

    def describe(self, event: Event, containers: str) -> Container | None:
        """Return the container that has started by this event, or None if only Docker can describe it well enough.

        `containers` is `[attach] containers`.
        """
        if event.action != "start" or event.replayed or self._connected.pop(event.container, None) is None:
            return None  # without a network of its own it may use another container's, or the host's
        if are_ours_among(event.labels):
            return None
        pid = cgroups.find_init(event.container.join(self._around_id)) if self._around_id else None
        if pid is None or netns.is_own(pid):
            return None
        container = Container(
            id=event.container,
            name=event.name,
            pid=pid,
            started_ns=event.time_ns,
            running=True,
            paused=False,
            network_mode="default",
            labels=event.labels,
        )
        return None if why_left_alone(container, containers) else container
