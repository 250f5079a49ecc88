"""One container's record: what is in memory, and what has reached the disk.

A plan's own notes must be on disk before the step that they announce. What is noted *about* a guest afterwards, its pid
or its end, is true whether or not the disk takes it: that is kept in memory and written as soon as it can be.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import structlog

from supervisor.core.devices.index import DeviceIndex
from supervisor.core.model import ContainerId, DeviceNumber, GuestRecord, Incarnation, Record, short_id
from supervisor.edges.records import Records
from supervisor.errors import Permanent, Transient

_NO_GUEST = GuestRecord()

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Ledger:
    """Call `load` before anything else."""

    def __init__(self, records: Records, index: DeviceIndex, container_id: ContainerId) -> None:
        self.record: Record | None = None
        self.revocations = 0
        """How often a device was taken off the record because another container's tap got its number."""
        self.on_revoked: Callable[[], object] = lambda: None
        """Is called after each time: the container has to be looked at again."""
        self._records = records
        self._index = index
        self._id = container_id
        self._loaded = self._owes = False

    def load(self) -> None:
        """Read the disk, the first time; a record that cannot be understood is reported and dropped."""
        if self._loaded:
            return
        try:
            self.record = self._records.read(self._id)
        except Permanent as error:
            log.error("record_unreadable", error=str(error))
            self._records.delete(self._id)
        self._loaded = True
        self._index.note(self._id, self.record)

    def of(self, incarnation: Incarnation | None) -> Record | None:
        """The record, if it is about this run of the container."""
        return self.record if self.record and self.record.incarnation == incarnation else None

    def guest_of(self, incarnation: Incarnation | None) -> GuestRecord:
        """What is on record of this run's guest."""
        record = self.of(incarnation)
        return record.guest if record else _NO_GUEST

    def write(self, record: Record) -> None:
        """Durably, or raises Transient and notes nothing."""
        self._records.write(record)
        self.record, self._owes = record, False
        self._index.note(self._id, record)

    def note_guest(self, incarnation: Incarnation | None, guest: GuestRecord) -> None:
        """At once in memory. Raises Transient where the disk is to be tried again, by `settle`."""
        record = self.of(incarnation)
        if record is None or record.guest == guest:
            return
        self.record, self._owes = replace(record, guest=guest), True
        self.settle()

    def settle(self) -> None:
        """Write what the disk did not take before. Raises Transient where it still does not."""
        if self._owes and self.record is not None:
            self.write(self.record)

    def delete(self) -> None:
        """Forget it; nothing when there is none."""
        self._records.delete(self._id)
        self.record, self._owes = None, False
        self._index.note(self._id, None)

    def claimed(self, devices: Iterable[DeviceNumber]) -> frozenset[DeviceNumber]:
        """Return those of these devices that another container has on record."""
        return frozenset(device for device in devices if self._index.others(device, self._id))

    def revoke(self, device: DeviceNumber) -> None:
        """Note that the container's tap of this number is gone. Raises Transient, as `write` does."""
        if self.record is None:
            return
        taps = tuple(replace(tap, device=None) if tap.device == device else tap for tap in self.record.taps)
        self.write(replace(self.record, taps=taps))
        self.revocations += 1
        self.on_revoked()


class Ledgers:
    """The ledgers of all containers, and the index of the device numbers in them."""

    def __init__(self, records: Records) -> None:
        self.index = DeviceIndex()
        self._records = records
        self._ledgers: dict[ContainerId, Ledger] = {}

    def of(self, container_id: ContainerId) -> Ledger:
        """The one ledger of this container."""
        if container_id not in self._ledgers:
            self._ledgers[container_id] = Ledger(self._records, self.index, container_id)
        return self._ledgers[container_id]

    def load_all(self) -> list[ContainerId]:
        """Read every record that is on disk, so that the index is complete. Return the containers that have a file.

        What the disk does not give now, the container's worker asks for again.
        """
        found = self._records.list()
        for container_id in found:
            try:
                self.of(container_id).load()
            except Transient as error:
                log.warning("record_not_read", container=short_id(container_id), error=str(error))
        return found

    def forget(self, container_id: ContainerId) -> None:
        """Nothing is left of the container, nor of its record."""
        self._ledgers.pop(container_id, None)

    def sweep(self, known: Collection[ContainerId]) -> None:
        """Remove what a killed daemon left on disk of containers that are not among these."""
        self._records.sweep(known)
