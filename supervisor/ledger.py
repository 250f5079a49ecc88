"""One container's record: what is in memory, and what has reached the disk.

A plan's own notes must be on disk before the step that they announce. What is noted *about* a guest afterwards, its pid
or its end, is true whether or not the disk takes it: that is kept in memory and written as soon as it can be.
"""

from dataclasses import replace

import structlog

from supervisor.core.model import ContainerId, GuestRecord, Incarnation, Record
from supervisor.edges.records import Records
from supervisor.errors import Permanent

_NO_GUEST = GuestRecord()

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Ledger:
    """`load` it before anything else."""

    def __init__(self, records: Records, container_id: ContainerId) -> None:
        self.record: Record | None = None
        self._records = records
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
