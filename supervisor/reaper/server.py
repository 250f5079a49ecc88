"""The reaper's loop: answer the daemon, read exit statuses, end when there is nothing left to wait for.

Nothing in it waits for one other process: sockets and pipes do not block, and a file is written in memory (/run).
"""

import errno
import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any  # messages are JSON

from supervisor.linux import socket_calls
from supervisor.reaper.child import IGNORED
from supervisor.reaper.forking import Starting, fork_qemu
from supervisor.reaper.messages import (
    EXIT,
    HELLO,
    MOST_DESCRIPTORS,
    MOST_PACKET_BYTES,
    NAMESPACE,
    PROTOCOL,
    SPAWN,
    STEP_FORK,
    STEP_NAMESPACE,
)
from supervisor.reaper.qemu_child import QemuChild
from supervisor.reaper.unread_logs import UnreadLogs
from supervisor.reaper.user_namespace import open_user_namespace

LISTENER = 3
_MOST_NUMBERS = 1 << 20
_MOST_KEPT = 64
"""How many reports are kept in memory as well. A daemon that runs asks at once; a later one reads the file."""
_LINGER_S = 10.0
"""How long it waits for its first daemon."""


class Reaper:
    """Owns the listening socket, the connections and the children."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._connections: dict[int, socket.socket] = {}
        self._children: dict[int, QemuChild] = {}
        self._starting: dict[int, Starting] = {}
        """By the descriptor of the pipe that the exec closes."""
        self._waiting: dict[int, list[socket.socket]] = {}
        """Who wants the report of a child, by its pid."""
        self._reports: dict[tuple[int, int], bytes] = {}
        self._logs = UnreadLogs()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        """Kept for `_refuse`."""
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._signals, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._follow(self._signals, self._reap)
        self._follow(listener.fileno(), self._accept)

    def run(self) -> None:
        """Return when there is neither a child nor a daemon."""
        patience_s = _LINGER_S
        while (ready := self._poll.poll(self._pause_s(patience_s))) or self._children or self._connections:
            patience_s = 0.0
            for descriptor, _ in ready:
                callback = self._callbacks.get(descriptor)
                if callback is not None:
                    callback()

    def _pause_s(self, patience_s: float) -> float | None:
        """Return how long to wait for an event. Without a daemon, look at the guests' logs in between."""
        if self._connections:
            return None
        return self._logs.look(self._children) if self._children else patience_s

    def _follow(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._callbacks[descriptor] = callback
        self._poll.register(descriptor, select.EPOLLIN)

    def _leave(self, descriptor: int) -> None:
        if self._callbacks.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._refuse()
            return  # otherwise it has gone again
        connection.setblocking(False)
        self._connections[connection.fileno()] = connection
        self._logs.close()
        self._follow(connection.fileno(), lambda: self._receive(connection))

    def _refuse(self) -> None:
        """Close a connection for which there is no descriptor. In the queue it would be ready for ever."""
        os.close(self._spare)
        with suppress(OSError):
            self._listener.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _hang_up(self, connection: socket.socket) -> None:
        self._leave(connection.fileno())
        self._connections.pop(connection.fileno(), None)
        for waiting in self._waiting.values():
            if connection in waiting:
                waiting.remove(connection)
        connection.close()

    def _receive(self, connection: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            packet, descriptors = socket_calls.receive_descriptors(connection, MOST_PACKET_BYTES, MOST_DESCRIPTORS)
            if not packet:
                self._hang_up(connection)
                return
            self._answer(connection, json.loads(packet), descriptors)
        except BlockingIOError:
            return
        except (OSError, ValueError, LookupError, TypeError):  # not a message of this protocol
            self._hang_up(connection)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, connection: socket.socket, message: dict[str, Any], descriptors: list[int]) -> None:
        if message["do"] == HELLO:
            self._send(connection, {"protocol": PROTOCOL, "pid": os.getpid()})
        elif message["do"] == EXIT:
            self._answer_exit(connection, message["pid"], message["start_ticks"])
        elif message["do"] == SPAWN:
            self._spawn(connection, json.loads(_read_whole(descriptors[0])), descriptors)
        elif message["do"] == NAMESPACE:
            self._answer_namespace(connection, message["inside"], message["outside"])
        else:
            self._hang_up(connection)

    def _answer_namespace(self, connection: socket.socket, inside: list[int], outside: list[int]) -> None:
        try:
            namespace = open_user_namespace(inside, outside)
        except OSError as error:
            self._send(connection, {"errno": error.errno})
            return
        self._send(connection, {}, [namespace])
        os.close(namespace)

    def _answer_exit(self, connection: socket.socket, pid: int, start_ticks: int) -> None:
        report = self._reports.get((pid, start_ticks))
        child = self._children.get(pid)
        if report is not None:
            self._send_packet(connection, report)
        elif child is not None and child.start_ticks == start_ticks:
            self._waiting.setdefault(pid, []).append(connection)
        else:
            self._send(connection, {"known": False})

    def _spawn(self, connection: socket.socket, order: dict[str, Any], descriptors: list[int]) -> None:
        try:
            executed, starting = fork_qemu(order, descriptors, connection, self._home)
        except OSError as error:
            step = STEP_NAMESPACE if error.errno == errno.EPERM else STEP_FORK
            self._send(connection, {"step": step, "errno": error.errno})
            return
        child = starting.child
        self._children[child.pid] = child
        if child.events is not None:
            self._follow(child.events, lambda: self._read_events(child))
        self._starting[executed] = starting
        self._follow(executed, lambda: self._note_started(executed))

    def _note_started(self, executed: int) -> None:
        """Answer a spawn, once the child is QEMU or has failed to become it."""
        connection, child, pidfd = self._starting.pop(executed)
        self._leave(executed)
        failed = os.read(executed, 64).decode().split()
        os.close(executed)
        child.started = not failed
        try:
            if failed:
                self._send(connection, {"step": failed[0], "errno": int(failed[1])})
            elif not self._send(connection, {"pid": child.pid, "start_ticks": child.start_ticks}, [pidfd]):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # no daemon is there to record it
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)

    def _read_events(self, child: QemuChild) -> None:
        with suppress(BlockingIOError):
            if child.events is not None and not child.read_events():
                self._leave(child.events)
                child.close_events()

    def _reap(self) -> None:
        """Report every child that has exited, and only then let its zombie go: the report outlives this process."""
        with suppress(BlockingIOError):
            os.read(self._signals, 512)
        while self._children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            exited = ended.si_code == os.CLD_EXITED
            self._report(ended.si_pid, *((ended.si_status, None) if exited else (None, ended.si_status)))
            os.waitid(os.P_PID, ended.si_pid, os.WEXITED)

    def _report(self, pid: int, code: int | None, number: int | None) -> None:
        child = self._children.pop(pid, None)
        self._logs.forget(pid)
        if child is None:
            return
        for executed, starting in tuple(self._starting.items()):
            if starting.child is child:
                self._note_started(executed)  # its pipe is closed by now
        report = json.dumps(child.report(code, number, time.clock_gettime(time.CLOCK_BOOTTIME))).encode()
        child.save(report)
        if child.events is not None:
            self._leave(child.events)  # closing is not enough: a child before its exec has a duplicate
        child.close()
        self._reports[pid, child.start_ticks] = report
        while len(self._reports) > _MOST_KEPT:
            del self._reports[next(iter(self._reports))]
        for connection in self._waiting.pop(pid, ()):
            if not self._send_packet(connection, report):
                self._hang_up(connection)

    def _send(self, connection: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> bool:
        return self._send_packet(connection, json.dumps(message).encode(), descriptors)

    def _send_packet(self, connection: socket.socket, packet: bytes, descriptors: list[int] | None = None) -> bool:
        """Send it, and return whether that was possible. A daemon that has gone is no error."""
        try:
            socket.send_fds(connection, [packet], descriptors or [])
        except OSError:
            return False
        return True


def _read_whole(memory: int) -> bytes:
    return os.pread(memory, os.fstat(memory).st_size, 0)


def main() -> None:
    """Serve on the listening socket that is descriptor 3, until there is nothing to do."""
    with suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("vtapd-reaper")
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each guest takes two descriptors
    os.closerange(LISTENER + 1, _MOST_NUMBERS)
    os.set_inheritable(LISTENER, False)
    os.chdir("/")
    os.umask(0o077)
    listener = socket.socket(fileno=LISTENER)
    listener.listen(socket.SOMAXCONN)  # from now on it is this process that a connection is to (SO_PEERCRED)
    listener.setblocking(False)
    Reaper(listener).run()
