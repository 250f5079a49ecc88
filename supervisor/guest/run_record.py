"""The record of the guest of one run of a container, for those parts that read and write it."""

from supervisor.core.container import ContainerId, Incarnation
from supervisor.core.record import GuestRecord
from supervisor.guest.record_owner import RecordOwner


class RunRecord:
    """What is on record of the guest of one run."""

    def __init__(self, owner: RecordOwner, incarnation: Incarnation) -> None:
        self._owner = owner
        self._incarnation = incarnation

    @property
    def container_id(self) -> ContainerId:
        return self._owner.id

    @property
    def guest(self) -> GuestRecord:
        """As it is in memory."""
        return self._owner.guest_of(self._incarnation)

    def write(self, guest: GuestRecord) -> None:
        """Keep it in memory and write it to disk. Raises Transient if only the memory has it so far."""
        self._owner.note_guest(self._incarnation, guest)
