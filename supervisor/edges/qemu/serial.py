"""A guest's serial console: where QEMU writes it for `docker logs`, and how the daemon reads along and types."""

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import UNIXSocketStream

from supervisor import linux
from supervisor.core.model import Pid

_CHUNK_BYTES = 65536
_GATHER_S = 0.002
"""What comes meanwhile is read in one go: a wake-up for each byte would slow the guest down. There is room for it."""
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h
_ROOM_BYTES = 8 << 20
"""The kernel takes twice what it is asked for, and counts some 770 for a message of one byte: more than 20000 fit."""
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt: Unix98 PTY slaves


def open_log(pid: Pid) -> int | None:
    """The container's standard output for writing, or None when it is nothing that a log driver reads.

    The caller owns the descriptor. Only a pipe or a terminal is opened: /proc/<pid>/fd/1 may be whatever the container
    made of it, and opening a device or a FIFO can have effects of its own.
    """
    try:
        pinned = os.open(f"/proc/{pid}/fd/1", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(pinned)
        terminal = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTS_MAJORS
        if not (terminal or stat.S_ISFIFO(status.st_mode)):
            return None
        # O_NONBLOCK: a FIFO that nobody reads answers ENXIO and does not wait.
        log = os.open(f"/proc/self/fd/{pinned}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(log, True)
        return log
    except OSError:
        return None
    finally:
        os.close(pinned)


class Console:
    """One connection to it. QEMU serves one at a time: this is the daemon's, for as long as the guest lives."""

    def __init__(self, stream: UNIXSocketStream, widen: Callable[[], bool]) -> None:
        """`widen` makes room at QEMU's end, once that is there, and then is true."""
        self._stream = stream
        self._widen = widen

    async def said(self) -> AsyncIterator[bytes]:
        """What the guest prints, until QEMU ends."""
        wide = False
        while True:
            try:
                data = await self._stream.receive(_CHUNK_BYTES)
                wide = wide or self._widen()
                yield data
                if wide:
                    await anyio.sleep(_GATHER_S)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async def type(self, data: bytes) -> None:
        """Have the guest read this. Takes as long as the guest leaves it unread; nothing where QEMU has ended."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.send(data)


def connect(path: Path) -> socket.socket | None:
    """A connection to the console whose QEMU listens there, or will; None where nobody does. The caller owns it."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.setblocking(False)
        connection.bind(b"")  # a name of its own (man 7 unix: autobind), by which QEMU's end is known again
        connection.connect(os.fspath(path))  # at once, or never; anyio.connect_unix needs a thread
    except OSError:
        connection.close()
        return None
    return connection


@asynccontextmanager
async def opened(connection: socket.socket, qemu: Pid, pidfd: int) -> AsyncIterator[Console]:
    """The console of this QEMU. Takes the connection over; `pidfd`, of the same process, stays the caller's."""
    name = connection.getsockname()
    async with await UNIXSocketStream.from_socket(connection) as stream:
        yield Console(stream, partial(_widen, name, qemu, pidfd))


def _widen(name: bytes, qemu: Pid, pidfd: int) -> bool:
    """Make room in QEMU's end of the connection that has this name; whether that is settled.

    QEMU writes byte for byte, and a Unix socket of the usual size holds 278 such messages. When it is full QEMU has the
    guest wait, and writes the byte into the container's log twice (qemu_chr_write_buffer in chardev/char.c logs what
    was refused, and logs it again once it is sent). What a guest says in one go has to fit.
    """
    try:
        for each in Path(f"/proc/{qemu}/fd").iterdir():
            if each.readlink().name.startswith("socket:") and _widen_if(name, pidfd, int(each.name)):
                return True
    except OSError:
        return True  # it has ended, or its descriptors are out of reach: then it is as it was
    return False


def _widen_if(name: bytes, pidfd: int, descriptor: int) -> bool:
    with socket.socket(fileno=linux.pidfd_getfd(pidfd, descriptor)) as end:
        try:
            if end.family != socket.AF_UNIX or end.getpeername() != name:
                return False
        except OSError:
            return False  # it listens
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM_BYTES)
        return True
