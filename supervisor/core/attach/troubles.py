"""What failed on one interface of a container, and what it means for the container and its guest."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from supervisor.core.attach.actions import (
    AllowDevice,
    Attempt,
    ClosePrivateLink,
    DeleteTap,
    DenyDevice,
    GiveBack,
    LinkNetns,
    MakeNode,
    MarkExit,
    MarkReady,
    OpenPrivateLink,
    PlugNic,
    RaiseTap,
    RemoveNode,
    RemoveWakeFilter,
    ResumeGuest,
    SetWakeFilter,
    SleepGuest,
    StartGuest,
    StopGuest,
    TakeOver,
    UnlinkNetns,
    WriteRecord,
)
from supervisor.core.attach.attaching import attach_steps
from supervisor.core.attach.plan import has_card, is_attached
from supervisor.core.attach.state import Desired, Seen
from supervisor.core.links import IfIndex
from supervisor.core.record import Record
from supervisor.errors import Permanent, VtapdError

_UNDO = (ClosePrivateLink, GiveBack, RemoveNode, DenyDevice, DeleteTap, UnlinkNetns)
_OF_TAP = (RaiseTap, MakeNode, AllowDevice)
"""What is done with a tap that is there. If that is gone, what matters is whether another one can be made."""
_OF_CONTAINER = (LinkNetns, UnlinkNetns, MarkReady, MarkExit)
_NEVER_RESTS = (WriteRecord, StartGuest, StopGuest, SleepGuest, ResumeGuest)
_SOON = 3
"""So many failures of a step may pass within a moment, and mean nothing."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """An attempt that failed. It rests, and is tried again."""

    attempt: Attempt
    error: VtapdError
    """What failed last. If it is Permanent, an operator must act."""
    index: IfIndex | None = None
    """The interface's number then. Another interface may have its name later."""
    failures: int = 1
    """How often it failed in a row."""
    retry_at_s: float = 0.0
    """When it is tried again, in seconds since boot."""

    @property
    def is_permanent(self) -> bool:
        return isinstance(self.error, Permanent)

    @property
    def is_undo(self) -> bool:
        return self.attempt.kind in _UNDO

    @property
    def is_of_link(self) -> bool:
        """Whether only the private link between the guest and its container is missing: all else is in order."""
        return self.attempt.kind is OpenPrivateLink

    @property
    def is_brief(self) -> bool:
        """Whether it may be over in a moment, so that a guest that starts should wait for the interface."""
        lasts = self.is_permanent or self.is_of_link or self.failures >= _SOON
        return self.attempt.interface is not None and not lasts

    def due_at(self, at_s: float) -> "Trouble":
        """Return it with another time of the next try."""
        return replace(self, retry_at_s=at_s)


def may_rest(attempt: Attempt) -> bool:
    """Return whether everything else goes on if this fails. Nothing is done that cannot be recorded before."""
    if attempt.interface is None:
        return attempt.kind in _OF_CONTAINER
    return attempt.kind not in _NEVER_RESTS


def is_over(trouble: Trouble, desired: Desired, seen: Seen, record: Record | None) -> bool:
    """Return whether what failed is not to be done any more: it is done, or not wanted, or its interface is gone."""
    kind, name = trouble.attempt.kind, trouble.attempt.interface
    if name is None:
        linked = record is not None and seen.netns_link == record.incarnation.pid
        return {
            LinkNetns: linked,
            UnlinkNetns: not linked,
            MarkReady: seen.ready or not desired.ready,
            MarkExit: desired.exit_status in (None, seen.exit_status),
        }[kind]
    each, entry = seen.of(name), record.tap_of(name) if record else None
    if record is None or entry is None or (each.interface.index if each else None) != trouble.index:
        return True
    match kind:
        case _ if kind is GiveBack:
            return entry.original is None
        case _ if kind is TakeOver:
            return not desired.takeover and not desired.mac
        case _ if kind in (OpenPrivateLink, ClosePrivateLink):
            return entry.link is None
        case _ if kind is SetWakeFilter:
            return not desired.asleep
        case _ if kind is RemoveWakeFilter:
            return not entry.wake_filter
        case _ if kind is PlugNic:
            return entry.slot in seen.nics or not desired.guest
        case _ if kind in _OF_TAP and each is not None and each.tap is None:
            return True
        case _:
            return desired.attached and name not in {step.interface for step in attach_steps(seen, record)}


def container_error(
    troubles: Collection[Trouble], desired: Desired, seen: Seen, record: Record | None, *, serves_guest: bool
) -> VtapdError | None:
    """Return the error of a container of which nothing is left in order, or None.

    A container that should have a guest is in order while the guest runs, or has an interface that it can be started
    on. Any other container is in order if it has its symlink, and one interface is attached. What is tried again by
    itself comes before what an operator must correct.
    """
    resting = frozenset(trouble.attempt for trouble in troubles)
    if not desired.attached:
        ours = [trouble for trouble in troubles if trouble.is_undo]
    elif serves_guest:
        in_order = seen.guest or (record is not None and has_card(desired, seen, record, resting))
        ours = [] if in_order else [trouble for trouble in troubles if trouble.attempt.interface is not None]
    else:
        ours = [] if is_attached(seen, record, resting) else list(troubles)
    worst = min(ours, key=lambda trouble: trouble.is_permanent, default=None)
    return worst.error if worst else None
