"""The reaper's socket: have the reaper start QEMU and report exits. See supervisor/reaper.

Every question has a connection of its own, so that questions do not wait for each other.
"""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM, ETXTBSY
from pathlib import Path
from typing import NamedTuple

import anyio
import msgspec

from supervisor.core.container import FileOwner, Pid, User
from supervisor.errors import Permanent, Step, Transient
from supervisor.linux import namespace_calls, socket_calls
from supervisor.reaper.messages import (
    EXIT,
    HELLO,
    MOST_DESCRIPTORS,
    MOST_PACKET_BYTES,
    NAMESPACE,
    PROTOCOL,
    SPAWN,
    STEP_EXEC,
    STEP_NAMESPACE,
    STEP_USER,
)

ANSWERS_S = 10.0
"""How long the reaper may take. It never waits for others, so it needs a few milliseconds on an idle machine."""
_MAY_PASS = frozenset({EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, ETXTBSY, EINTR, EIO})
"""Errors that say nothing against the program: the machine is short of something, or a package replaces the program."""


class Answer(NamedTuple):
    """The reaper's answer to one message. The receiver owns the descriptors."""

    packet: bytes
    descriptors: list[int]


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """A program to start as QEMU. All descriptors stay the caller's."""

    program: str
    arguments: Sequence[str]
    user: User
    folder: int
    """Its working directory."""
    descriptors: Sequence[int] = ()
    """It inherits these under the same numbers."""
    limits: Mapping[int, int] | None = None
    """RLIMIT_ numbers and their values."""
    namespaces: Sequence[tuple[int, int]] = ()
    """Descriptors of the namespaces that it enters, each with its CLONE_ flag."""
    mounts: Sequence[tuple[int, str]] = ()
    """Descriptors of mounts, each with its place in the mount namespace; the program gets a copy of that namespace."""
    user_namespace: int | None = None
    """A namespace in which the user is root, without any rights: the owner of what is in the mounts."""
    has_rights_there: bool = False
    """Whether it has all rights in the user namespace, which are rights over what is in the mounts."""
    events: int | None = None
    """The other end of its QMP connection for events."""
    report: Path | None = None
    """Where the report of its exit is saved."""


class Spawned(NamedTuple):
    """A child of the reaper. The receiver owns the pidfd."""

    pid: Pid
    start_ticks: int
    pidfd: int


class _Hello(msgspec.Struct):
    protocol: int
    pid: int


class _Spawn(msgspec.Struct):
    pid: int = 0
    start_ticks: int = 0
    step: str = ""
    errno: int = 0


def connect(path: Path) -> socket.socket | None:
    """Return a connection, or None if no reaper listens. The caller owns it. Raises Transient."""
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise Transient(f"cannot make a socket: {error.strerror}", step=Step.SPAWN) from error
    try:
        connection.connect(os.fspath(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise Transient(f"cannot connect to {path}: {error.strerror}", step=Step.SPAWN) from error
    return connection


def is_open(connection: socket.socket) -> bool:
    """Return whether the reaper still runs."""
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


async def ask(
    connection: socket.socket, message: Mapping[str, object], descriptors: Sequence[int] = (), *, patience_s: float
) -> Answer | None:
    """Send a message, and return the answer. None if the reaper ends instead. Raises TimeoutError.

    If the reaper ends during a `spawn`, what it had begun is QEMU, or has ended, when this returns.
    """
    with anyio.fail_after(patience_s):
        try:
            socket.send_fds(connection, [json.dumps(message).encode()], descriptors)
            await anyio.wait_readable(connection)
            answer = Answer(*socket_calls.receive_descriptors(connection, MOST_PACKET_BYTES, MOST_DESCRIPTORS))
        except OSError:
            return None
    return answer if answer.packet else None


async def hello(connection: socket.socket) -> bool | None:
    """Return whether it is a reaper of this version; None if it ends. Raises TimeoutError."""
    answer = await ask(connection, {"do": HELLO}, patience_s=ANSWERS_S)
    return None if answer is None else msgspec.json.decode(answer.packet, type=_Hello).protocol == PROTOCOL


async def exit_packet(connection: socket.socket, pid: Pid, start_ticks: int) -> bytes:
    """Return the report of a QEMU that has exited, for `parse_exit_report`. Raises TimeoutError."""
    message = {"do": EXIT, "pid": pid, "start_ticks": start_ticks}
    answer = await ask(connection, message, patience_s=ANSWERS_S)
    return b"" if answer is None else answer.packet


async def spawn(connection: socket.socket, order: SpawnOrder) -> Spawned | None:
    """Have the program started. None if the reaper ends, after which the program may run unrecorded.

    Raises Permanent if the program cannot be started, Transient if another try may help, and TimeoutError.
    """
    descriptors, encoded = _encode(order)
    with os.fdopen(os.memfd_create("vtapd-order", os.MFD_CLOEXEC), "wb") as memory:
        memory.write(encoded)
        memory.flush()
        sent = (memory.fileno(), *descriptors)
        answer = await ask(connection, {"do": SPAWN}, sent, patience_s=ANSWERS_S)
    if answer is None:
        return None
    said = msgspec.json.decode(answer.packet, type=_Spawn)
    if said.step:
        raise _refusal(order, said.step, said.errno)
    return Spawned(Pid(said.pid), said.start_ticks, answer.descriptors[0])


async def user_namespace(connection: socket.socket, inside: FileOwner, outside: FileOwner) -> int | None:
    """Return a namespace in which the host's user `outside` has the number `inside`. The caller owns it.

    None if the reaper ends. Raises Permanent if the kernel refuses it, Transient if another try may help, and
    TimeoutError.
    """
    message = {"do": NAMESPACE, "inside": [inside.uid, inside.gid], "outside": [outside.uid, outside.gid]}
    answer = await ask(connection, message, patience_s=ANSWERS_S)
    if answer is None:
        return None
    number = msgspec.json.decode(answer.packet, type=_Spawn).errno
    if not number:
        return answer.descriptors[0]
    said = f"cannot make a user namespace: {os.strerror(number)}"
    if number == EPERM:
        raise Permanent(said, step=Step.SHARE, remedy="vtapd needs CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID")
    raise Transient(said, step=Step.SHARE, remedy="raise user.max_user_namespaces (sysctl)")


def _encode(order: SpawnOrder) -> tuple[list[int], bytes]:
    """Return the descriptors to send after the order's own, and the order, which names them by their position."""
    descriptors: list[int] = []

    def position(descriptor: int) -> int:
        descriptors.append(descriptor)
        return len(descriptors)

    pid_namespace = next((each for each, kind in order.namespaces if kind == namespace_calls.CLONE_NEWPID), None)
    encoded = {
        "program": order.program,
        "arguments": [*order.arguments],
        "uid": order.user.uid if order.user_namespace is None else 0,
        "gid": order.user.gid if order.user_namespace is None else 0,
        "groups": order.user.groups,
        "limits": {str(limit): most for limit, most in (order.limits or {}).items()},
        "folder": position(order.folder),
        "pid_namespace": None if pid_namespace is None else position(pid_namespace),
        "namespaces": [(position(each), kind) for each, kind in order.namespaces if each != pid_namespace],
        "mounts": [(position(each), path) for each, path in order.mounts],
        "user_namespace": None if order.user_namespace is None else position(order.user_namespace),
        "has_rights_there": order.has_rights_there,
        "inherit": [(position(each), each) for each in order.descriptors],
        "events": None if order.events is None else position(order.events),
        "report": None if order.report is None else os.fspath(order.report),
    }
    return descriptors, json.dumps(encoded).encode()


def _refusal(order: SpawnOrder, step: str, number: int) -> Permanent | Transient:
    why = os.strerror(number)
    if step == STEP_USER:
        remedy = "vtapd needs CAP_SETUID and CAP_SETGID, and the uid of [guest] uids must exist"
        return Permanent(f"cannot become {order.user.name}: {why}", step=Step.SPAWN, remedy=remedy)
    if step == STEP_NAMESPACE:
        said = f"QEMU cannot enter its namespaces: {why}"
        remedy = "vtapd needs CAP_SYS_ADMIN and CAP_SYS_CHROOT: run it as root"
        return Permanent(said, step=Step.SPAWN, remedy=remedy) if number == EPERM else Transient(said, step=Step.SPAWN)
    said = f"cannot start {order.program!a}: {why}"
    if step == STEP_EXEC and number not in _MAY_PASS:
        remedy = "install QEMU (Debian: qemu-system-x86) or correct [guest] qemu"
        return Permanent(said, step=Step.SPAWN, remedy=remedy)
    return Transient(said, step=Step.SPAWN, remedy="raise TasksMax or ulimit -u" if number == EAGAIN else "")
