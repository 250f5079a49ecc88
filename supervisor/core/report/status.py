"""What is known of one container at one moment. Views, metrics and commands take each state, reason and number from it.

It holds no descriptor and asks nothing of the kernel or of Docker, so any thread may read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.core.attach.state import Seen
from supervisor.core.attach.troubles import Trouble
from supervisor.core.container import ContainerId, Incarnation
from supervisor.core.guest.restart import summary_of_end
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.record import GuestRecord, ProcessRecord, Record
from supervisor.errors import Permanent, Rejected, VtapdError


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStatus:
    """The guest that a container's labels ask for."""

    spec: GuestSpec
    kind: str
    because: str
    """Why it is of this kind."""
    qemu: ProcessRecord | None = None
    """The QEMU that runs; None if none does."""
    booted: bool = False
    """That QEMU has answered on QMP."""
    answers: bool | None = None
    """Whether the guest answers `vtapd.alive`; None before its first answer, or if no check was asked for."""
    console_dropped_bytes: int = 0
    """Console output that the container's log did not take in time, in this run of the container."""
    dns_queries: Mapping[str, int] = field(default_factory=dict)
    """How many of its DNS queries had each result, since the daemon follows it."""

    changed_macs: Mapping[int, str] = field(default_factory=dict)
    """The MACs that it has set itself, by slot."""

    @property
    def is_up(self) -> bool:
        """Whether it runs, ready or not."""
        return self.qemu is not None and self.booted

    @property
    def is_ready(self) -> bool:
        """Whether it runs, passed the health check of `vtapd.ready` and does not fail that of `vtapd.alive`."""
        return self.qemu is not None and self.qemu.ready_at_s is not None and self.answers is not False


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """The end of a container's last run."""

    at: str
    """The time, ISO 8601."""
    state: str
    """The state that it is shown in from then on."""
    reason: str | None
    """Why it is in this state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """One container. Without `incarnation` it does not run, as far as is known."""

    id: ContainerId
    name: str
    incarnation: Incarnation | None = None
    paused: bool = False
    stopping: bool = False
    """Docker sent it its stop signal, and it may be about to end."""
    attached: bool = False
    """It has all that it should have."""
    ignored_reason: str | None = None
    """Why it gets nothing, though nothing failed."""
    error: VtapdError | None = None
    """What failed last. A Permanent one holds until the container changes."""
    troubles: tuple[Trouble, ...] = ()
    """What failed on its interfaces."""
    guest_error: VtapdError | None = None
    """Why its guest could not be started."""
    record: Record | None = None
    """The record of this run."""
    seen: Seen | None = None
    cgroup: str | None = None
    device_rule_note: str | None = None
    link_address: str | None = None
    """The container's address on the private link that its guest should have; None if there should be none."""
    guest: GuestStatus | None = None
    """None if it asks for no guest, or that is not decided yet."""
    end: ContainerEnd | None = None
    """None if it runs, as far as is known."""

    @property
    def qemu(self) -> ProcessRecord | None:
        """The QEMU that runs, if any."""
        return self.guest.qemu if self.guest else None

    @property
    def guest_record(self) -> GuestRecord:
        """What is on record of its guest."""
        return self.record.guest if self.record else GuestRecord()

    @property
    def guest_stopped_by_operator(self) -> bool:
        return self.record is not None and self.record.held

    @property
    def detached_by_operator(self) -> bool:
        return self.record is not None and self.record.detached

    @property
    def state(self) -> str:
        """One of the documented states."""
        return state_of(self)

    @property
    def reason(self) -> str | None:
        """Why it is in this state; None if nothing more is known."""
        return reason_of(self)


_PAUSABLE = ("attached", "booting", "running", "ready", "asleep", "backoff")
_PAUSED = "paused"


def state_of(status: ContainerStatus) -> str:
    """Return the one of the documented states that the container is in."""
    if status.end is not None:
        return status.end.state
    state = _state_unless_paused(status)
    return _PAUSED if status.paused and state in _PAUSABLE else state


def _state_unless_paused(status: ContainerStatus) -> str:
    if isinstance(status.error, Permanent):
        return "rejected" if isinstance(status.error, Rejected) else "failed"
    if status.incarnation is None:
        return "attaching"
    if status.ignored_reason is not None:
        return "detached" if status.detached_by_operator else "skipped"
    if status.guest is not None and status.guest.qemu is not None:
        return _state_of_running(status.guest)
    if status.guest_record.done is not None:
        return status.guest_record.done
    if status.guest_stopped_by_operator or (status.guest is not None and status.stopping):
        return "exited"
    if not status.attached:
        return "attaching"
    if status.guest_record.asleep is not None:
        return "asleep"
    if status.guest is None:
        return "attached"
    return "backoff" if status.guest_record.exits else "booting"


def _state_of_running(guest: GuestStatus) -> str:
    if guest.is_ready:
        return "ready"
    return "running" if guest.is_up else "booting"


def reason_of(status: ContainerStatus) -> str | None:
    """Return why the container is in its state, or None if nothing more is known."""
    if status.end is not None:
        return status.end.reason
    error = status.error or status.guest_error
    if error is not None:
        return str(error)
    if status.guest_stopped_by_operator and status.qemu is None:
        return "an operator stopped its guest; start it again: vtapd start"
    if status.guest is not None and status.qemu is None and status.stopping:
        return "Docker sent the container its stop signal; if it runs on, its guest starts again; at once: vtapd start"
    state = state_of(status)
    if state == _PAUSED:
        return "Docker paused the container; continue it: docker unpause"
    of_guest = _reason_of_guest(status, status.guest_record, state)
    troubles = (str(each.error) for each in status.troubles if not each.is_of_link)
    return of_guest or status.ignored_reason or next(troubles, None)


def _reason_of_guest(status: ContainerStatus, record: GuestRecord, state: str) -> str | None:
    guest, last = status.guest, record.exits[-1] if record.exits else None
    if record.done == "failed" and record.failure:
        return record.failure
    if record.done is None and last is not None and last.never_ran and status.qemu is None:
        return f"QEMU did not start its guest, and is tried again: {last.detail}"
    if record.done == "failed" and last is not None and guest is not None:
        end = summary_of_end(last)
        return f"its guest ended ({end}), and vtapd.restart={guest.spec.restart} allows no further start"
    if record.asleep is not None and state == "asleep":
        return f"its guest sleeps since {record.asleep.at}; a packet for it wakes it; at once: vtapd wake"
    if guest is not None and guest.is_up and record.sleep_failure:
        return f"its guest could not be put to sleep: {record.sleep_failure}"
    if guest is not None and guest.is_up and guest.answers is False:
        return f"its guest does not answer vtapd.alive={guest.spec.alive}"
    if state == "backoff" and last is not None:
        after = "" if last.delay_s is None else f" after {last.delay_s:g} s"
        return f"its guest ended ({summary_of_end(last)}), and starts again{after}"
    return None
