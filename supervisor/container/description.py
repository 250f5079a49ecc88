"""What is known of one container, who said so, and whether it is still to be trusted.

There are two sources. Docker knows everything, but does not answer while it starts the container. The event of the
start often says enough to attach the container at once (`early_attach`); Docker is then asked later.
"""

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from supervisor.core.container import Container, ContainerId, Endpoint, short_id

Inspect = Callable[[ContainerId], Awaitable[Container | None]]
"""Asks Docker for a container; None if Docker does not know it."""


class Knowledge(Enum):
    """How much of a description holds."""

    NONE = auto()
    """Docker has not described it. It must be asked first."""
    FROM_EVENT = auto()
    """Only the event of its start did. That is enough to attach it; Docker is asked when there is time."""
    STALE = auto()
    """Docker described it, and something may have changed since."""
    FRESH = auto()
    """Docker described it, and nothing has changed since, as far as is known."""


class Description:
    """The one place that holds what is known of a container."""

    def __init__(self, inspect: Inspect, container_id: ContainerId, from_event: Container | None = None) -> None:
        self.container = from_event
        """As it was described last; None before that."""
        self.knowledge = Knowledge.NONE if from_event is None else Knowledge.FROM_EVENT
        self.removed = False
        """Docker no longer knows it."""
        self._inspect = inspect
        self._id = container_id

    @property
    def name(self) -> str:
        """The container's name, or its short id if nothing described it."""
        return self.container.name if self.container else short_id(self._id)

    @property
    def is_known(self) -> bool:
        """Whether it was described, and Docker still knows it."""
        return self.container is not None and not self.removed

    @property
    def running(self) -> Container | None:
        """The container, if it runs."""
        return self.container if self.container is not None and self.container.running and not self.removed else None

    @property
    def is_from_docker(self) -> bool:
        """Whether Docker itself described it: an event says nothing of its devices."""
        return self.knowledge in (Knowledge.STALE, Knowledge.FRESH)

    @property
    def endpoints(self) -> tuple[Endpoint, ...] | None:
        """The networks that Docker lists for it; None if Docker has not described it."""
        return self.container.endpoints if self.container is not None and self.is_from_docker else None

    @property
    def is_due(self) -> bool:
        """Whether Docker is to be asked before anything is done."""
        return self.knowledge in (Knowledge.NONE, Knowledge.STALE)

    def expire(self) -> None:
        """Something may have changed: have Docker asked."""
        self.knowledge = Knowledge.STALE if self.is_from_docker else Knowledge.NONE

    def confirm(self) -> None:
        """There is time: have Docker asked if it has not described the container yet."""
        if not self.is_from_docker:
            self.expire()

    async def refresh(self) -> bool:
        """Ask Docker. Returns whether anything changed. Raises Transient or Permanent, and then it is still due."""
        before = self.knowledge
        self.knowledge = Knowledge.FRESH  # before the answer: what expires meanwhile has to be asked again
        try:
            container = await self._inspect(self._id)
        except BaseException:
            self.knowledge = before
            raise
        if container is None:
            changed, self.removed = not self.removed, True
            return changed
        changed = self.removed or container != self.container
        self.container, self.removed = container, False
        return changed
