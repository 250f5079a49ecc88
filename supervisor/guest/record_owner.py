"""The part of a container's record that a guest reads and writes."""

from typing import Protocol

from supervisor.core.container import ContainerId, Incarnation
from supervisor.core.record import GuestRecord


class RecordOwner(Protocol):
    """Keeps the record of one container in memory and on disk."""

    id: ContainerId

    def guest_of(self, incarnation: Incarnation) -> GuestRecord:
        """Return what is on record of the guest of this run of the container."""

    def note_guest(self, incarnation: Incarnation, guest: GuestRecord) -> None:
        """Keep it in memory and write it to disk. Raises Transient if only the memory has it so far."""
