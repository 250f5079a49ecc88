"""Containers that Docker is just starting: what their events and the kernel tell, before Docker is asked.

Docker answers nothing about a container while it starts it, and an answer takes longer than all steps of an attach.
So a container without labels for vtapd is attached first; then Docker is asked, as ever, and has the last word.
"""

import math
import time

from supervisor.core.attach.selection import are_ours_among, why_left_alone
from supervisor.core.formats.docker_event import Event
from supervisor.core.model import Container, ContainerId
from supervisor.edges.kernel import cgroups, netns

_MOST_AWAITED = 1024
_COMES_WITHIN_S = 5.0
_NO_NETWORKS = ("host", "null")
"""Types of networks that give a container no network namespace with an interface of its own."""


class Arrivals:
    """What is known of containers that have no worker yet."""

    def __init__(self) -> None:
        self._awaited: dict[ContainerId, float] = {}
        """Connected to a network of their own, which Docker tells before a start; and when, of the monotonic clock."""
        self._around_id: tuple[str, str] | None = None
        """What stood before and behind the id in the last container's cgroup: the next one's lies beside it."""

    def learn(self, container_id: ContainerId, cgroup: str) -> None:
        """Where a container's cgroup lies."""
        before, _, behind = cgroup.partition(container_id)
        self._around_id = before, behind

    def expect(self, event: Event) -> None:
        """A container that does not run was connected to a network: it is about to start, or will be some time."""
        if event.network_type in _NO_NETWORKS:
            return
        if len(self._awaited) >= _MOST_AWAITED:
            self._awaited.clear()  # they are attached a little later
        self._awaited[event.container] = time.monotonic()

    def are_coming(self) -> bool:
        """Whether somebody is likely to need an attach any moment."""
        latest_s = max(self._awaited.values(), default=-math.inf)
        return time.monotonic() - latest_s < _COMES_WITHIN_S

    def take(self, event: Event, containers: str) -> Container | None:
        """The container that this event says has started; None where only Docker can tell enough of it.

        `containers` is `[attach] containers`.
        """
        if event.action != "start" or event.replayed or self._awaited.pop(event.container, None) is None:
            return None  # it may share the network of another container, or of the host
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
            assumed=True,
        )
        return None if why_left_alone(container, containers) else container
