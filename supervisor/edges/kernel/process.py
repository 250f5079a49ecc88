"""Processes: a QEMU, watched by a pidfd and never confused with another, and others as /proc shows them."""

import contextlib
import os
import resource
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from supervisor.core.container import FileOwner, Incarnation, Pid
from supervisor.core.record import ProcessRecord
from supervisor.errors import ContainerGone, Step
from supervisor.linux import file_calls, process_calls
from supervisor.linux.process_calls import RT_SIGTIMEDWAIT

_PF_EXITING = 0x4  # linux/sched.h; flags in field 9 of /proc/<pid>/stat


@dataclass(slots=True)
class Process:
    """A QEMU, which is no child of this process. Owns its pidfd."""

    pid: Pid
    pidfd: int
    start_ticks: int

    def close(self) -> None:
        os.close(self.pidfd)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, unless the process has ended."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def has_ended(self) -> bool:
        """Return whether it has exited."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return poll.poll(0) != []

    def await_status(self, timeout_s: float) -> int | None:
        """Wait until it is reaped, and return its exit code, or minus the signal. None before Linux 6.15.

        Blocks: call it in a thread.
        """
        poll = select.poll()
        poll.register(self.pidfd, 0)  # without events it reports POLLHUP: that nothing is left of the process
        try:
            if (status := process_calls.exit_status_of(self.pidfd)) is not None:
                return status
            poll.poll(timeout_s * 1000)
            return process_calls.exit_status_of(self.pidfd)
        except OSError:
            return None


def find(record: ProcessRecord, name: str) -> Process | None:
    """Return the process of this record, if it still runs: same pid, same start, and this name among its arguments."""
    return find_process(record.pid, record.start_ticks, name)


def find_process(pid: Pid, ticks: int, name: str) -> Process | None:
    """Return the process with this pid, if it started then, in clock ticks, and has this name among its arguments."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        same = start_ticks(pid) == ticks and name in command_line(pid)
    except ContainerGone:
        same = False
    if not same:
        os.close(pidfd)
        return None
    return Process(pid, pidfd, ticks)


def find_named(prefix: str) -> dict[str, list[Pid]]:
    """Return every process whose argument after `-name` has this prefix, by that argument; the oldest first.

    Any process can have such an argument: check `shares_pid_namespace` as well.
    """
    found: dict[str, list[tuple[int, Pid]]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        pid = Pid(int(entry.name))
        arguments = command_line(pid)
        name = arguments[arguments.index("-name") + 1 :][:1] if "-name" in arguments else ()
        if name and name[0].startswith(prefix):
            with contextlib.suppress(ContainerGone):
                found.setdefault(name[0], []).append((start_ticks(pid), pid))
    return {name: [pid for _, pid in sorted(pids)] for name, pids in found.items()}


def shares_pid_namespace(pid: Pid, other: Pid) -> bool:
    """Return whether both are processes of one container; False if one has ended."""
    try:
        return Path(f"/proc/{pid}/ns/pid").samefile(f"/proc/{other}/ns/pid")
    except OSError:
        return False


def command_line(pid: Pid) -> tuple[str, ...]:
    """Return a process's arguments; empty for a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode("utf-8", "replace") for part in raw.split(b"\0")[:-1])


def _stat_fields(pid: Pid) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the third on (man 5 proc)."""
    try:
        # A process chooses its name, which may be any bytes.
        text = file_calls.read_record(f"/proc/{pid}/stat").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.PROCESS) from error
    return text[text.rindex(")") + 2 :].split()


def start_ticks(pid: Pid) -> int:
    """Return when the process started, in clock ticks since boot. Raises ContainerGone if it has ended."""
    return int(_stat_fields(pid)[19])


def started_at_s(ticks: int) -> float:
    """Return `start_ticks` in seconds since boot."""
    return ticks / os.sysconf("SC_CLK_TCK")


def observe_incarnation(pid: Pid) -> Incarnation | None:
    """Return the run of a container that has this init, or None if the init has ended or is about to end."""
    try:
        fields = _stat_fields(pid)
    except ContainerGone:
        return None
    if fields[0] in "ZX" or int(fields[6]) & _PF_EXITING:
        return None
    return Incarnation(pid, int(fields[19]))


def has_ended(incarnation: Incarnation) -> bool:
    """Return whether this init has ended, and with it all other processes of its pid namespace.

    An init that is about to end has not ended: the kernel kills the others only after it has released the memory and
    files of the init (do_exit in kernel/exit.c).
    """
    try:
        fields = _stat_fields(incarnation.pid)
    except ContainerGone:
        return True
    return fields[0] in "ZX" or int(fields[19]) != incarnation.start_ticks


def observe_cgroup(pid: Pid) -> bytes:
    """Return a process's cgroups, as /proc has them; empty if it has ended."""
    try:
        return file_calls.read_file(f"/proc/{pid}/cgroup")
    except OSError:
        return b""


def observe_user(pid: Pid) -> int | None:
    """Return a process's real uid; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    return int(next(line for line in text.splitlines() if line.startswith("Uid:")).split()[1])


def observe_file_owner(pid: Pid) -> FileOwner:
    """Return whose the files are that a process creates (man 5 proc: the last uid and gid of its status).

    Raises ContainerGone if it has ended.
    """
    try:
        status = file_calls.read_record(f"/proc/{pid}/status")
    except OSError as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.PROCESS) from error
    uid, gid = (int(status.split(name, 1)[1].split(None, 4)[3]) for name in (b"\nUid:", b"\nGid:"))
    return FileOwner(uid, gid)


def observe_usage(incarnation: Incarnation) -> tuple[float, int] | None:
    """Return the processor seconds that a process used, and its resident bytes; None if it has ended."""
    try:
        fields = _stat_fields(incarnation.pid)
    except ContainerGone:
        return None
    if int(fields[19]) != incarnation.start_ticks:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * resource.getpagesize()


def is_dying(pid: Pid) -> bool:
    """Return whether a process has ended, or is about to: it exits, or SIGKILL is on its way to it."""
    try:
        if int(_stat_fields(pid)[6]) & _PF_EXITING:
            return True
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except (ContainerGone, OSError):
        return True
    pending = (line.split()[1] for line in text.splitlines() if line.startswith(("SigPnd:", "ShdPnd:")))
    return any(int(mask, 16) >> (signal.SIGKILL - 1) & 1 for mask in pending)


def ignores_signal(pid: Pid, number: int) -> bool:
    """Return whether a container's init neither handles nor awaits this signal, so that the signal has no effect.

    The kernel discards such signals for the init of a pid namespace (man 7 pid_namespaces). An init that reads a
    signalfd, such as systemd, blocks its signals. One that waits in sigtimedwait, such as docker-init and vtapd-init,
    blocks them too, but the kernel shows them as not blocked while it waits.
    """
    try:
        before = Path(f"/proc/{pid}/syscall").read_text(errors="replace")
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
        after = Path(f"/proc/{pid}/syscall").read_text(errors="replace")
    except OSError:
        return False
    awaits = any(call.startswith(f"{RT_SIGTIMEDWAIT} ") for call in (before, after))  # it may have just woken up
    masks = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigCgt:", "SigBlk:")))
    return not awaits and not any(mask >> (number - 1) & 1 for mask in masks)


def kill(pid: Pid) -> None:
    """Kill a process that was just found, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_same(incarnation: Incarnation) -> bool:
    """Return whether a container's init still runs, and no other process has its pid."""
    try:
        return observe_incarnation(incarnation.pid) == incarnation
    except (ContainerGone, OSError):
        return False


def send_signal(incarnation: Incarnation, number: int) -> bool:
    """Send a signal to a container's init. Return False if it is no longer the same process."""
    try:
        pidfd = os.pidfd_open(incarnation.pid)
    except ProcessLookupError:
        return False
    try:
        if observe_incarnation(incarnation.pid) != incarnation:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True
