"""Records in files: what vtapd did to each container, so that any later daemon can undo or continue it.

The other files here are about containers that have ended: how their guests did. Each file is written to a temporary
file, synced and renamed, so a reader sees either the old one or the new one.
"""

import errno
import os
import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from supervisor.core.container import ContainerId
from supervisor.core.record import Record
from supervisor.core.report.ended import EndedContainer
from supervisor.errors import Permanent, Step, Transient

VERSION = 1
_REBUILT = "it is rebuilt from what the kernel and Docker show"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)
_ended_decoder = msgspec.json.Decoder(EndedContainer)


class Records:
    """The records of one run-time folder, one file for each container."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: Record) -> None:
        """Write the container's record to disk."""
        self._replace(record.id, "json", _encoder.encode(record))

    def write_ended(self, ended: EndedContainer) -> None:
        """Write what is kept of a container that has ended."""
        self._replace(ended.id, "ended", _encoder.encode(ended))

    def read_ended(self) -> list[EndedContainer]:
        """Return what is kept of containers that have ended. A file that cannot be used is deleted."""
        found = []
        for path in self._folder.glob("*.ended"):
            try:
                ended = _ended_decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                ended = None  # such as one of another version
            if ended is None or ended.version != VERSION or ended.id != path.stem:
                path.unlink(missing_ok=True)
            else:
                found.append(ended)
        return found

    def delete_ended(self, container_id: ContainerId) -> None:
        """Delete what is kept of a container that has ended, if anything is."""
        self._remove(container_id, "ended")

    def _replace(self, container_id: ContainerId, kind: str, content: bytes) -> None:
        path = self._path(container_id, kind)
        temporary = self._path(container_id, "new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(path)
        except OSError as error:
            raise Transient(f"cannot write {path}: {error.strerror}", step=Step.RECORD) from error

    def read(self, container_id: ContainerId) -> Record | None:
        """Return the container's record, or None if there is none.

        Raises Permanent if the record is invalid, Transient if the file cannot be read.
        """
        path = self._path(container_id)
        try:
            record = _decoder.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Transient(f"cannot read {path}: {error.strerror}", step=Step.RECORD) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Permanent(
                f"record {path} cannot be read: {error}",
                step=Step.RECORD,
                remedy=_REBUILT,
            ) from error
        if record.version != VERSION or record.id != container_id:
            raise Permanent(
                f"record {path} is of version {record.version}, for {record.id!a}",
                step=Step.RECORD,
                remedy=_REBUILT,
            )
        return record

    def delete(self, container_id: ContainerId) -> None:
        """Delete the record, if there is one."""
        for kind in ("json", "new"):
            self._remove(container_id, kind)

    def _remove(self, container_id: ContainerId, kind: str) -> None:
        path = self._path(container_id, kind)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise Transient(f"cannot remove {path}: {error.strerror}", step=Step.RECORD) from error

    def list(self) -> list[ContainerId]:
        """Return the containers that have a record."""
        return [ContainerId(path.stem) for path in sorted(self._folder.glob("*.json"))]

    def sweep(self, known: Collection[ContainerId]) -> None:
        """Remove the files of other containers than these, which a killed daemon left."""
        for path in self._folder.iterdir():
            owned = re.fullmatch(r"([0-9a-f]{12}|[0-9a-f]{64})(?:\.[bc])?\.(new|qmp|console|exit(\.new)?)", path.name)
            if owned and not any(container.startswith(owned[1]) for container in known):
                path.unlink(missing_ok=True)

    def _path(self, container_id: ContainerId, kind: str = "json") -> Path:
        return self._folder / f"{container_id}.{kind}"
