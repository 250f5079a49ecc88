"""What is kept of a container that has ended, as long as Docker knows it: enough for `vtapd ps -a` and `inspect`."""

from dataclasses import dataclass, replace

from supervisor.core.attach.state import Seen, SeenInterface
from supervisor.core.container import ContainerId, Incarnation
from supervisor.core.guest.spec import Environment, GuestSpec
from supervisor.core.links import Interface
from supervisor.core.record import GuestRecord, Record
from supervisor.core.report.interfaces import known_interfaces
from supervisor.core.report.status import ContainerEnd, ContainerStatus, GuestStatus

MOST_ENDED = 256
"""How many containers are kept. Those that ended first are dropped first."""

_KEPT_STATES = ("failed", "rejected")
_EXITED = "the container has ended; start it again: docker start"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedGuest:
    """The guest that a container had, or asked for."""

    spec: GuestSpec
    """Without the variables of the environment, which may be secret."""
    kind: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedContainer:
    """The last run of a container."""

    id: ContainerId
    name: str
    incarnation: Incarnation
    end: ContainerEnd
    record: GuestRecord
    guest: EndedGuest | None = None
    interfaces: tuple[Interface, ...] = ()
    """As they were known last, with their default routes."""
    version: int = 1

    @property
    def status(self) -> ContainerStatus:
        """What views read."""
        record = Record(self.id, self.name, self.incarnation, guest=self.record)
        guest = _status_of(self.guest, self.record) if self.guest else None
        seen = Seen(None, interfaces=tuple(SeenInterface(each) for each in self.interfaces))
        return ContainerStatus(id=self.id, name=self.name, end=self.end, record=record, guest=guest, seen=seen)


def _status_of(guest: EndedGuest, record: GuestRecord) -> GuestStatus:
    dropped = record.console_dropped_bytes
    return GuestStatus(spec=guest.spec, kind=guest.kind, because=guest.because, console_dropped_bytes=dropped)


def ended_container(status: ContainerStatus, incarnation: Incarnation, at: str) -> EndedContainer | None:
    """Return what to keep of a container that has just ended, or None if vtapd left it alone.

    `status` is its last one, and `at` the time of its end, ISO 8601.
    """
    if status.ignored_reason is not None:
        return None
    state, reason = status.state, status.reason
    end = ContainerEnd(at, state, reason) if state in _KEPT_STATES else ContainerEnd(at, "exited", _EXITED)
    guest = _guest_of(status.guest) if status.guest else None
    return EndedContainer(
        id=status.id,
        name=status.name,
        incarnation=incarnation,
        end=end,
        record=status.guest_record,
        guest=guest,
        interfaces=tuple(_brief(each) for each in known_interfaces(status)),
    )


def _brief(interface: Interface) -> Interface:
    routes = tuple(route for route in interface.routes if route.prefix == 0)
    return Interface(interface.name, interface.index, interface.mac, interface.mtu, interface.addresses, routes)


def _guest_of(status: GuestStatus) -> EndedGuest:
    return EndedGuest(spec=replace(status.spec, env=Environment()), kind=status.kind, because=status.because)
