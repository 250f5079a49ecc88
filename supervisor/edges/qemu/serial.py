"""A guest's serial console: the connection by which the daemon reads and types."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import UNIXSocketStream

from supervisor.core.container import Pid
from supervisor.linux import process_calls

_CHUNK_BYTES = 65536
_GATHER_S = 0.002
"""Output is collected this long and then read at once: a wake-up for each byte would slow the guest down."""
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h
_ROOM_BYTES = 8 << 20
"""The kernel doubles it, and counts some 770 bytes for a message of one byte: more than 20000 messages fit."""


class Console:
    """One connection to the console. QEMU serves one at a time: the daemon's, while the guest runs."""

    def __init__(self, stream: UNIXSocketStream, connection: socket.socket, widen: Callable[[], bool]) -> None:
        """`connection` is what the stream was made of.

        `widen` enlarges the send buffer at QEMU's end. It returns False if it has to be called again.
        """
        self._stream = stream
        self._connection = connection
        self._widen = widen

    async def output(self) -> AsyncIterator[bytes]:
        """Yield what the guest prints, until QEMU exits."""
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

    async def room(self) -> None:
        """Wait until `type` takes a few kilobytes at once. No input may be typed meanwhile."""
        await anyio.wait_writable(self._connection)

    async def type(self, data: bytes) -> None:
        """Send input to the guest. Waits until the guest reads it. Does nothing if QEMU has exited."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.send(data)


def connect(path: Path) -> socket.socket | None:
    """Connect to the console's socket, even before QEMU runs. Return None if the socket has no listener.

    The caller owns the connection.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.setblocking(False)
        connection.bind(b"")  # a unique name (man 7 unix: autobind), by which QEMU's end is found
        connection.connect(os.fspath(path))  # never blocks; anyio.connect_unix would need a thread
    except OSError:
        connection.close()
        return None
    return connection


@asynccontextmanager
async def opened(connection: socket.socket, qemu: Pid, pidfd: int) -> AsyncIterator[Console]:
    """Open the console of this QEMU on a connection, and close that at the end. The pidfd stays the caller's."""
    name = connection.getsockname()
    async with await UNIXSocketStream.from_socket(connection) as stream:
        yield Console(stream, connection, partial(_widen, name, qemu, pidfd))


def _widen(name: bytes, qemu: Pid, pidfd: int) -> bool:
    """Enlarge the send buffer at QEMU's end of the connection with this name. Return whether that is done.

    QEMU writes byte for byte, and a Unix socket with the default buffer holds 278 such messages. If it is full, QEMU
    makes the guest wait, and writes the byte into the container's log twice (qemu_chr_write_buffer in chardev/char.c
    logs what was refused, and logs it again once it is sent). So a burst of output has to fit.
    """
    try:
        for each in Path(f"/proc/{qemu}/fd").iterdir():
            if each.readlink().name.startswith("socket:") and _widen_if(name, pidfd, int(each.name)):
                return True
    except OSError:
        return True  # it has exited, or its descriptors cannot be read: the buffer stays as it is
    return False


def _widen_if(name: bytes, pidfd: int, descriptor: int) -> bool:
    with socket.socket(fileno=process_calls.pidfd_getfd(pidfd, descriptor)) as end:
        try:
            if end.family != socket.AF_UNIX or end.getpeername() != name:
                return False
        except OSError:
            return False  # a listening socket
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM_BYTES)
        return True
