"""The files in which the states of guests that sleep are kept: one for each container, for root alone.

A state has all that was in the guest's memory. It is written to a temporary file and renamed, so a file that is there
is complete, unless something else shortened it. It outlives the daemon, but not the machine's next boot: no container
does.
"""

import os
import re
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from supervisor.core.container import ContainerId
from supervisor.errors import Permanent, Step, Transient

_CHUNK_BYTES = 1 << 20
_OWN = re.compile(r"([0-9a-f]{64})\.state(\.new)?")


class StateFiles:
    """Those in one folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def writing(self, container_id: ContainerId) -> Iterator[int]:
        """Open a new file. It takes the place of the one before when the context ends without an error.

        Raises Transient if it cannot be written.
        """
        path = self._path(container_id)
        temporary = path.with_name(f"{path.name}.new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._cannot("write", error) from error
        try:
            yield descriptor
            temporary.rename(path)
        except OSError as error:
            raise self._cannot("write", error) from error
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)

    @contextmanager
    def reading(self, container_id: ContainerId, size_bytes: int) -> Iterator[int]:
        """Open the file for reading. Raises Permanent if it is not there, or has not this size."""
        path = self._path(container_id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Permanent(f"cannot read {path}: {error.strerror}", step=Step.SLEEP) from error
        try:
            found = os.fstat(descriptor).st_size
            if found != size_bytes:
                raise Permanent(f"{path} has {found} bytes instead of {size_bytes}", step=Step.SLEEP)
            yield descriptor
        finally:
            os.close(descriptor)

    def remove(self, container_id: ContainerId) -> None:
        """Remove the container's files, if there are any."""
        path = self._path(container_id)
        for each in (path, path.with_name(f"{path.name}.new")):
            try:
                each.unlink(missing_ok=True)
            except OSError as error:
                raise self._cannot("remove", error) from error

    def sweep(self, known: Collection[ContainerId]) -> None:
        """Remove the files of other containers than these, which a killed daemon left."""
        try:
            found = list(self._folder.iterdir())
        except OSError:
            return  # no guest ever slept here
        for path in found:
            if (match := _OWN.fullmatch(path.name)) and match[1] not in known:
                path.unlink(missing_ok=True)

    def copy(self, source: socket.socket, target: int) -> int:
        """Copy what has arrived at a socket that does not wait into a file that was opened by `writing`.

        Return the number of bytes; 0 if there are none now. Raises Transient if the file cannot take them. It may wait
        for the disk: call it in a thread.
        """
        try:
            content = memoryview(source.recv(_CHUNK_BYTES))
        except BlockingIOError:
            return 0
        written = 0
        try:
            while written < len(content):
                written += os.write(target, content[written:])
        except OSError as error:
            raise self._cannot("write", error) from error
        return written

    def _path(self, container_id: ContainerId) -> Path:
        return self._folder / f"{container_id}.state"

    def _cannot(self, what: str, error: OSError) -> Transient:
        message = f"cannot {what} the state of a guest in {self._folder}: {error.strerror}"
        return Transient(message, step=Step.SLEEP, remedy="make room there, or change [guest] sleep_dir")
