"""Own one container's record, in memory and on disk. Nothing else writes it.

What a plan announces must be on disk before the step that it announces. What is noted about a guest afterwards, such as
its pid or its exit, is true even if the disk refuses it: it is kept in memory and written as soon as possible.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import structlog

from supervisor.core.container import ContainerId, Incarnation, short_id
from supervisor.core.devices.index import DeviceIndex
from supervisor.core.links import DeviceNumber
from supervisor.core.record import GuestRecord, Record
from supervisor.edges.records import Records
from supervisor.errors import Permanent, Transient

_NO_GUEST = GuestRecord()

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ContainerRecord:
    """Call `load` before anything else."""

    def __init__(self, records: Records, index: DeviceIndex, container_id: ContainerId) -> None:
        self.id = container_id
        self.data: Record | None = None
        """The record, of whichever run of the container; None if there is none."""
        self.revocations = 0
        """How often a device was taken off the record because another container's tap got its number."""
        self.on_revoked: Callable[[], object] = lambda: None
        """Called after each revocation: the container needs another pass."""
        self._records = records
        self._index = index
        self._loaded = self._dirty = False

    def load(self) -> None:
        """Read the disk, the first time. A record that cannot be parsed is logged and deleted."""
        if self._loaded:
            return
        try:
            self.data = self._records.read(self.id)
        except Permanent as error:
            log.error("record_unreadable", error=str(error))
            self._records.delete(self.id)
        self._loaded = True
        self._index.note(self.id, self.data)

    def of(self, incarnation: Incarnation | None) -> Record | None:
        """Return the record if it is about this run of the container."""
        return self.data if self.data and self.data.incarnation == incarnation else None

    def guest_of(self, incarnation: Incarnation | None) -> GuestRecord:
        """Return what is on record of this run's guest."""
        record = self.of(incarnation)
        return record.guest if record else _NO_GUEST

    def write(self, record: Record) -> None:
        """Write it to disk, synced. Raises Transient if that fails, and then keeps the record before."""
        self._records.write(record)
        self.data, self._dirty = record, False
        self._index.note(self.id, record)

    def note_guest(self, incarnation: Incarnation | None, guest: GuestRecord) -> None:
        """Keep it in memory at once, and write it. Raises Transient if the disk refuses it; `flush` tries again."""
        record = self.of(incarnation)
        if record is None or record.guest == guest:
            return
        self.data, self._dirty = replace(record, guest=guest), True
        self.flush()

    def flush(self) -> None:
        """Write what the disk refused before. Raises Transient if it still does."""
        if self._dirty and self.data is not None:
            self.write(self.data)

    def delete(self) -> None:
        """Delete it from memory and disk; nothing happens if there is none."""
        self._records.delete(self.id)
        self.data, self._dirty = None, False
        self._index.note(self.id, None)

    def claimed(self, devices: Iterable[DeviceNumber]) -> frozenset[DeviceNumber]:
        """Return those of these devices that another container has on record."""
        return frozenset(device for device in devices if self._index.others(device, self.id))

    def revoke(self, device: DeviceNumber) -> None:
        """Note that the container's tap of this number is gone. Raises Transient, as `write` does."""
        if self.data is None:
            return
        taps = tuple(replace(tap, device=None) if tap.device == device else tap for tap in self.data.taps)
        self.write(replace(self.data, taps=taps))
        self.revocations += 1
        self.on_revoked()


class ContainerRecords:
    """The records of all containers, and the index of the device numbers in them."""

    def __init__(self, records: Records) -> None:
        self.index = DeviceIndex()
        self._records = records
        self._by_id: dict[ContainerId, ContainerRecord] = {}

    def of(self, container_id: ContainerId) -> ContainerRecord:
        """Return the one owner of this container's record."""
        if container_id not in self._by_id:
            self._by_id[container_id] = ContainerRecord(self._records, self.index, container_id)
        return self._by_id[container_id]

    def load_all(self) -> list[ContainerId]:
        """Read every record that is on disk, so that the index is complete. Return the containers that have a file.

        What cannot be read now, the container's worker reads later.
        """
        found = self._records.list()
        for container_id in found:
            try:
                self.of(container_id).load()
            except Transient as error:
                log.warning("record_not_read", container=short_id(container_id), error=str(error))
        return found

    def forget(self, container_id: ContainerId) -> None:
        """Drop the owner of a record that is deleted."""
        self._by_id.pop(container_id, None)

    def sweep(self, known: Collection[ContainerId]) -> None:
        """Delete what a killed daemon left on disk for containers other than these."""
        self._records.sweep(known)
