"""QEMU as a process: started unprivileged inside a container's namespaces, watched by a pidfd, told apart for good.

`spawn` is called by a throw-away thread that has entered the namespaces. Credentials belong to a thread as far as the
kernel is concerned (man 7 credentials; only libc makes them a process's), so that thread drops them by raw system
calls before it starts QEMU, which thus is unprivileged from its first instruction and a direct child of the daemon.
No preexec_fn: with it Python must fork its whole address space, without it vfork is enough.
"""

import contextlib
import ctypes
import fcntl
import os
import pwd
import resource
import signal
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.core.model import Incarnation, Pid, ProcessRecord, User
from supervisor.errors import ContainerGone, Permanent, Transient

_SYS_SETRESUID, _SYS_SETRESGID, _SYS_SETGROUPS = (
    (117, 119, 116) if os.uname().machine == "x86_64" else (147, 149, 159)
)  # asm/unistd_64.h; asm-generic/unistd.h for arm64
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_PF_EXITING = 0x4  # linux/sched.h; flags in field 9 of /proc/<pid>/stat
_STDERR_BYTES = 16384
_COMPLAINS = "qemu-system-x86_64: "
_COPY_BYTES = 1 << 24

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Process:
    """A running QEMU. Owns its pidfd and the descriptor of what it says on standard error, if that is known."""

    pid: Pid
    pidfd: int
    stderr: int | None = None

    def close(self) -> None:
        os.close(self.pidfd)
        if self.stderr is not None:
            os.close(self.stderr)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; nothing when it has ended."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def reap(self) -> int | None:
        """Once the pidfd is readable: its exit code, or minus the signal; None for another daemon's child."""
        try:
            result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:
            return None
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def read_stderr(self) -> str:
        """What QEMU itself complained of last, for people, without the hints that may follow it."""
        if self.stderr is None:
            return ""
        text = os.pread(self.stderr, _STDERR_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace").strip()
        lines = text.splitlines()
        complaints = [line.removeprefix(_COMPLAINS) for line in lines if line.startswith(_COMPLAINS)]
        return next(reversed(complaints or lines), "")[:300]


def find_user(wanted: str) -> User:
    """The user that guests run as, or nobody where it does not exist. Raises Permanent when it is root."""
    for name in (wanted, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            break
        groups = os.getgrouplist(name, entry.pw_gid)
        return User(name, entry.pw_uid, entry.pw_gid, tuple(groups))
    raise Permanent(
        f"guests must not run as {wanted!a}", step="spawn", remedy="name an unprivileged user in [guest] user"
    )


def spawn(arguments: Sequence[str], descriptors: Sequence[int], user: User) -> Process:
    """Start QEMU as this user with these descriptors, under the same numbers. Call it in a throw-away thread.

    Afterwards that thread has no rights left: not even a look at the child in /proc, where it is mounted with hidepid.
    Raises Permanent when the binary cannot be started.
    """
    stderr = _bounded_file("vtapd-qemu-stderr")
    try:
        _drop_rights(user)
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=descriptors,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        os.close(stderr)
        if isinstance(error, FileNotFoundError | PermissionError):
            raise Permanent(
                f"cannot start {arguments[0]!a}: {error.strerror}",
                step="spawn",
                remedy="install QEMU (Debian: qemu-system-x86) or correct [guest] qemu",
            ) from error
        raise Transient(f"cannot start {arguments[0]!a}: {error.strerror}", step="spawn") from error
    try:
        process = Process(Pid(child.pid), os.pidfd_open(child.pid), stderr)
    except OSError as error:
        os.close(stderr)
        child.kill()
        child.wait()
        raise Transient(f"cannot watch QEMU: {error.strerror}", step="spawn") from error
    child.returncode = 0  # Popen is done with it: it is reaped through its pidfd, or lives longer than the daemon
    return process


def forbid_core_dumps() -> None:
    """For this process and all that it starts: a core would hold a guest's memory.

    Limits are inherited; to set another user's afterwards would take CAP_SYS_RESOURCE (man 2 prlimit).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _drop_rights(user: User) -> None:
    """This thread's rights alone: system calls, since libc's wrappers would change every thread."""
    groups = (ctypes.c_uint32 * len(user.groups))(*user.groups)
    for number, *values in (
        (_SYS_SETGROUPS, len(groups), groups),
        (_SYS_SETRESGID, user.gid, user.gid, user.gid),
        (_SYS_SETRESUID, user.uid, user.uid, user.uid),
    ):
        if _libc.syscall(number, *values) < 0:
            error = ctypes.get_errno()
            raise Permanent(
                f"cannot become {user.name}: {os.strerror(error)}",
                step="spawn",
                remedy="vtapd needs CAP_SETUID and CAP_SETGID: run it as root",
            )
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _bounded_file(name: str) -> int:
    """A file in memory that cannot grow: whoever writes it can fill it and no more."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _STDERR_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def memory_file(content: bytes, name: str) -> int:
    """A sealed file in memory, readable under /proc/self/fd by whoever inherits it. The caller owns it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def readable_by_all(descriptor: int) -> int:
    """The file itself where everybody may read it, else a private copy in memory. The caller owns the result.

    QEMU opens /proc/self/fd/N anew, as an unprivileged user, so the inode's own mode counts.
    """
    status = os.fstat(descriptor)
    if status.st_mode & stat.S_IROTH:
        return os.dup(descriptor)
    copy = os.memfd_create("vtapd-kernel", os.MFD_CLOEXEC)
    offset = 0
    while sent := os.sendfile(copy, descriptor, offset, _COPY_BYTES):
        offset += sent
    return copy


def find(record: ProcessRecord, name: str) -> Process | None:
    """The process of this record, if it still lives: same pid, same start, its own name on its command line."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    try:
        same = start_ticks(record.pid) == record.start_ticks and name in command_line(record.pid)
    except ContainerGone:
        same = False
    if not same:
        os.close(pidfd)
        return None
    return Process(record.pid, pidfd)


def find_named(prefix: str) -> dict[str, list[Pid]]:
    """Every process with an argument after `-name` that begins like this, by that argument; the oldest first.

    Anybody can name a process so: ask `shares_pid_namespace` before believing it.
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
    """Whether both are processes of one container; False when one has ended."""
    try:
        return Path(f"/proc/{pid}/ns/pid").samefile(f"/proc/{other}/ns/pid")
    except OSError:
        return False


def command_line(pid: Pid) -> tuple[str, ...]:
    """A process's arguments; empty for a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode("utf-8", "replace") for part in raw.split(b"\0")[:-1])


def _stat_fields(pid: Pid) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on (man 5 proc)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")  # a process names itself, in any bytes
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerGone(f"process {pid} has ended", step="process") from error
    return text[text.rindex(")") + 2 :].split()


def start_ticks(pid: Pid) -> int:
    """When the process started, in clock ticks since boot. Raises ContainerGone when it has ended."""
    return int(_stat_fields(pid)[19])


def started_at_s(ticks: int) -> float:
    """`start_ticks` in seconds since boot."""
    return ticks / os.sysconf("SC_CLK_TCK")


def observe_incarnation(pid: Pid) -> Incarnation | None:
    """The run of a container with this init, or None when that has ended or is about to."""
    try:
        fields = _stat_fields(pid)
    except ContainerGone:
        return None
    if fields[0] in "ZX" or int(fields[6]) & _PF_EXITING:
        return None
    return Incarnation(pid, int(fields[19]))


def observe_usage(pid: Pid) -> tuple[float, int] | None:
    """Processor seconds used, and resident bytes; None when it has ended."""
    try:
        fields = _stat_fields(pid)
    except ContainerGone:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * resource.getpagesize()


def ignores_signal(pid: Pid, number: int) -> bool:
    """Whether a container's init can never react to this signal: it has no handler for it.

    The kernel discards such signals for the init of a pid namespace (man 7 pid_namespaces).
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    caught = next(line for line in text.splitlines() if line.startswith("SigCgt:"))
    return not int(caught.split()[1], 16) >> (number - 1) & 1


def send_signal(incarnation: Incarnation, number: signal.Signals) -> None:
    """Signal a container's init, if it is still this one."""
    try:
        pidfd = os.pidfd_open(incarnation.pid)
    except ProcessLookupError:
        return
    try:
        if observe_incarnation(incarnation.pid) == incarnation:
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
