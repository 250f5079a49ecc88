"""Fork a child that becomes QEMU."""

import os
import signal
import socket
from contextlib import ExitStack
from typing import Any, NamedTuple  # the order is JSON

from supervisor.linux import file_calls, namespace_calls
from supervisor.reaper.child import become_qemu
from supervisor.reaper.qemu_child import STDERR_BYTES, QemuChild


class Starting(NamedTuple):
    """A child between its fork and its exec."""

    connection: socket.socket
    child: QemuChild
    pidfd: int


def fork_qemu(
    order: dict[str, Any], descriptors: list[int], connection: socket.socket, home: int
) -> tuple[int, Starting]:
    """Fork a child that becomes QEMU. Return it, and the pipe that its exec closes.

    `home` is this process's own pid namespace. Raises OSError if the kernel refuses anything; then no child and no
    descriptor is left.
    """
    with ExitStack() as owned:
        stderr = file_calls.bounded_memory("vtapd-qemu-stderr", STDERR_BYTES)
        owned.callback(os.close, stderr)
        events = None if order["events"] is None else os.dup(descriptors[order["events"]])
        if events is not None:
            owned.callback(os.close, events)
            os.set_blocking(events, False)
        executed, failure = os.pipe2(os.O_CLOEXEC)
        owned.callback(os.close, executed)
        try:
            pid = _fork_into(home, None if order["pid_namespace"] is None else descriptors[order["pid_namespace"]])
            if pid == 0:
                become_qemu(order, descriptors, stderr, (failure, connection.fileno()))
        finally:
            os.close(failure)
        try:
            child = QemuChild(pid, events, stderr, order["report"])
            starting = Starting(connection, child, os.pidfd_open(pid))
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        owned.pop_all()
        return executed, starting


def _fork_into(home: int, pid_namespace: int | None) -> int:
    """Fork. The child is in the pid namespace, this process never is (man 2 setns)."""
    if pid_namespace is None:
        return os.fork()
    namespace_calls.setns(pid_namespace, namespace_calls.CLONE_NEWPID)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:  # the child stays
            namespace_calls.setns(home, namespace_calls.CLONE_NEWPID)
    return pid
