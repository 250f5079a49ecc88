"""Observe the machine: rights, limits, users and folders. Changes nothing."""

import fcntl
import os
import pwd
import re
import resource
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.core.formats.proc_cgroup import file_system_of

_SUBUIDS = Path("/etc/subuid")
_SUBUID = re.compile(r"([^:#]+):(\d{1,10}):(\d{1,10})", re.ASCII)


def observe_capabilities() -> int:
    """Return this process's effective capabilities, one bit each (man 5 proc: CapEff)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)


def observe_descriptor_limit() -> int:
    """Return how many descriptors this process may have at once."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def observe_descriptor_limit_of(pid: Pid) -> int:
    """Return how many descriptors another process may have. Raises OSError if that is not readable."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Max open files")).split()[3])


def observe_users() -> list[tuple[str, int]]:
    """Return the name and uid of every user that the machine lists."""
    return [(entry.pw_name, entry.pw_uid) for entry in pwd.getpwall()]


def observe_subordinate_uids() -> list[tuple[str, range]]:
    """Return the uids that /etc/subuid gives to users for their namespaces (man 5 subuid). Other lines are skipped."""
    try:
        lines = _SUBUIDS.read_text(errors="replace").splitlines()
    except OSError:
        return []
    matches = filter(None, map(_SUBUID.fullmatch, lines))
    return [(match[1], range(int(match[2]), int(match[2]) + int(match[3]))) for match in matches]


def observe_file_system(path: Path) -> str:
    """Return the type of the file system that a path is on, or will be on once it is created."""
    return file_system_of(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"), str(_nearest(path)))


def is_writable(folder: Path) -> bool:
    """Return whether the folder can be created and written to, according to man 2 access."""
    nearest = _nearest(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK, effective_ids=True)


def is_locked(file: Path) -> bool:
    """Return whether a process holds a lock on the file (man 2 flock); False if there is no such file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _nearest(path: Path) -> Path:
    """Return the path itself, or the nearest folder above it that exists."""
    resolved = path.resolve()
    return next(each for each in (resolved, *resolved.parents) if each.exists())
