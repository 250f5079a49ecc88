"""The reaper's process: start it, recognise it, end it if it does not answer, and reap it. See supervisor/reaper."""

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from supervisor import reaper
from supervisor.core.container import Pid
from supervisor.errors import Step, Transient
from supervisor.linux import file_calls, socket_calls
from supervisor.reaper.messages import MOST_DESCRIPTORS, MOST_PACKET_BYTES

_PROGRAM = str(Path(reaper.__file__).with_name("__main__.py"))
_PROGRAM_NAME = b"/supervisor/reaper/__main__.py\0"
"""How its command line ends, whichever version it is."""
_LISTENER = 3
_DIES_S = 5.0


def start(listener: socket.socket) -> Pid:
    """Start a reaper that serves this socket. It is a child of this process, and outlives it. Raises Transient."""
    null = ((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2))
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", _PROGRAM],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            file_actions=[*null, (os.POSIX_SPAWN_DUP2, listener.fileno(), _LISTENER)],
            setsid=True,
        )
    except OSError as error:
        raise Transient(f"cannot start the reaper: {error.strerror}", step=Step.SPAWN) from error
    return Pid(pid)


def peer(connection: socket.socket) -> Pid:
    """Return the pid of the reaper (man 7 unix: SO_PEERCRED; the pid is the first field of struct ucred)."""
    return Pid(int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder))


async def kill(connection: socket.socket) -> None:
    """Kill a reaper that does not answer, and wait until nothing of a QEMU that it had begun is left before its exec.

    The guests live on; another reaper is started.
    """
    pid = peer(connection)
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _PROGRAM_NAME in file_calls.read_file(f"/proc/{pid}/cmdline"):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(pidfd)
    with anyio.move_on_after(_DIES_S), suppress(OSError):
        packet = b"late"
        while packet:
            await anyio.wait_readable(connection)
            packet, descriptors = socket_calls.receive_descriptors(connection, MOST_PACKET_BYTES, MOST_DESCRIPTORS)
            for descriptor in descriptors:
                os.close(descriptor)


async def collect(pid: Pid) -> None:
    """Reap the reaper, a child of this process that has ended or is about to."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        with anyio.move_on_after(_DIES_S):
            await anyio.wait_readable(pidfd)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222  # it does not block
    except ChildProcessError:
        return
    finally:
        os.close(pidfd)
