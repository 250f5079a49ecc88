"""What a procedure is: from a prepared subject to the desired state."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from ..testbed import DaemonTestbed, Subject


class LastChange(Enum):
    """When the daemon makes the last change of a procedure."""

    ACTED = auto()
    REACHED = auto()
    FORGOTTEN = auto()
    """When the daemon has forgotten the run of a container that Docker keeps."""
    GONE = auto()
    """When nothing is left of the container."""


@dataclass(frozen=True)
class Procedure:
    prepare: Callable[[DaemonTestbed], Subject]
    act: Callable[[DaemonTestbed, Subject], None]
    """Start the procedure. It may wait for its end, or for the daemon's."""
    reached: Callable[[DaemonTestbed, Subject], None]
    """Assert that the desired state is reached, although the daemon was killed."""
    last_change: LastChange
    exact: bool = False
    """A detach afterwards must restore the container exactly."""
    mergeable: int = 0
    """How many of its changes may be missing in one run, because the daemon hears of two events at once."""


def requests(operation: str) -> Callable[[DaemonTestbed, Subject], None]:
    """Return an act that requests this operation, of which the daemon may die before it answers."""

    def act(testbed: DaemonTestbed, subject: Subject) -> None:
        with suppress(OSError):
            testbed.daemon.request(operation, subject.container.name)

    return act
