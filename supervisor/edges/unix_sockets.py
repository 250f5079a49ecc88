"""Unix sockets that the daemon listens on, or binds for QEMU to listen on.

QEMU gets its sockets already bound, so the daemon never has to wait until they exist, and a later daemon finds them by
their path.
"""

import grp
import os
import socket
from pathlib import Path

from supervisor.errors import Permanent, Step, Transient

_MAX_PATH_BYTES = 107  # man 7 unix
BACKLOG = 128


def listen(
    path: Path, mode: int = 0o600, group: str | None = None, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """Return a socket that listens at the path. It replaces an older socket of that name. The caller owns it.

    With a group, that group's members can use it too.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise Permanent(
            f"the socket path {path} has more than {_MAX_PATH_BYTES} bytes",
            step=Step.SPAWN,
            remedy="shorten [attach] run_dir",
        )
    try:
        listener = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise Transient(f"cannot make a socket: {error.strerror}", step=Step.SPAWN) from error
    try:
        path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
        path.chmod(mode)
        if group is not None:
            give_to_group(path, group)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Transient(f"cannot listen on {path}: {error.strerror}", step=Step.SPAWN) from error
    return listener


def listen_for_one(path: Path) -> tuple[socket.socket, socket.socket]:
    """Return a listening socket, and a connection that waits in it. No other can be made. The caller owns both."""
    listener = listen(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(os.fspath(path))
        path.unlink()
    except OSError as error:
        connection.close()
        listener.close()
        raise Transient(f"cannot connect to {path}, which was just made", step=Step.SPAWN) from error
    return listener, connection


def give_to_group(path: Path, group: str) -> None:
    """Let a group's members use the socket, in addition to root; root alone if there is no such group."""
    os.chown(path, -1, _group_id(group))


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0
