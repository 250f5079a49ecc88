"""A container's cgroups, apart from device rules: their directories, their processes, and OOM kills."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.core.formats.proc_cgroup import Cgroup, Mounts, mount_of, parse_cgroup, parse_mounts
from supervisor.errors import ContainerGone, Permanent, Step
from supervisor.linux.file_calls import read_file

_MOUNTS = "/proc/self/mountinfo"
_FIRST_PROCESSES = 16
"""How many processes are read to find an init that has just started."""


def observe_cgroup(pid: Pid) -> Cgroup:
    """Return the cgroup of a process, in every hierarchy."""
    try:
        text = _read(f"/proc/{pid}/cgroup")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerGone(f"process {pid} has ended", step=Step.CGROUP) from error
    found = parse_cgroup(text, _mounts())
    if not (found.path and Path(found.path).is_dir()):  # the hierarchies were mounted again in the meantime
        _mounts.cache_clear()
        found = parse_cgroup(text, _mounts())
    return found


@cache
def _mounts() -> Mounts:
    """Return where the hierarchies are mounted. Read once: that stays, but each container adds to the table."""
    return parse_mounts(_read(_MOUNTS))


def _read(path: str) -> str:
    """Return a file's text. Names may be any bytes; as surrogates they lead to the same files."""
    return os.fsdecode(read_file(path))


def find_init(directory: str) -> Pid | None:
    """Return the init of the container that has this cgroup: the one process whose parent is in another cgroup.

    Returns None if there is none, or more than one.
    """
    try:
        pids = [Pid(int(line)) for line in _read(f"{directory}/cgroup.procs").splitlines()[:_FIRST_PROCESSES]]
    except OSError:
        return None
    inits = pids if len(pids) == 1 else [pid for pid in pids if _parent(pid) not in pids]
    return inits[0] if len(inits) == 1 else None


def _parent(pid: Pid) -> Pid | None:
    """Return field 4 of /proc/<pid>/stat (man 5 proc); None if the process has ended."""
    try:
        return Pid(int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1]))
    except OSError:
        return None


def find_mount(controller: str) -> str | None:
    """Return where this v1 controller, or v2 for "", is mounted in this process's mount namespace."""
    return mount_of(parse_mounts(_read(_MOUNTS)), controller)


@contextmanager
def scratch_cgroup(controller: str) -> Iterator[str]:
    """Create an empty cgroup under this v1 controller, or v2 for "", yield its directory, and remove it."""
    mount = find_mount(controller)
    if mount is None:
        said = f"no cgroup file system of {controller or 'version 2'} is mounted here"
        raise Permanent(said, step=Step.CGROUP, remedy="run vtapd on the host itself, outside a container")
    directory = f"{mount}/vtapd-scratch-{os.getpid()}"
    try:
        Path(directory).mkdir()
    except OSError as error:
        remedy = "vtapd must be able to write to the cgroup file system: run it as root, outside a container"
        raise Permanent(f"cannot make {directory}: {error.strerror}", step=Step.CGROUP, remedy=remedy) from error
    try:
        yield directory
    finally:
        Path(directory).rmdir()


def join_cgroup(directories: Iterable[str], pid: Pid) -> None:
    """Move a process into these directories of a container's cgroup. Idempotent.

    Call it in a thread: the kernel lets the first move wait for an RCU grace period, 5 to 17 ms.
    """
    for directory in directories:
        try:
            descriptor = os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, str(pid).encode())
            finally:
                os.close(descriptor)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ContainerGone(f"the cgroup {directory} or process {pid} is gone", step=Step.CGROUP) from error
        except OSError as error:
            raise Permanent(
                f"cannot move process {pid} into {directory}: {error.strerror}",
                step=Step.CGROUP,
                remedy="vtapd must be able to write to the cgroup file system: run it as root, outside a container",
            ) from error


def observe_oom_kills(cgroup: Cgroup) -> int:
    """Return how many processes of this cgroup the kernel killed for lack of memory; 0 if it does not count them."""
    files = [f"{cgroup.v1['memory']}/memory.oom_control"] if "memory" in cgroup.v1 else []
    files += [f"{cgroup.v2}/memory.events"] if cgroup.v2 else []
    for path in files:
        try:
            text = read_file(path).decode(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def observe_pids_limit(cgroup: Cgroup) -> int | None:
    """Return how many processes and threads it may have, by its own limit and its ancestors'; None without a limit."""
    limits = [_read_limit(f"{each}/pids.max") for each in _with_ancestors(cgroup.v1.get("pids") or cgroup.v2)]
    return min((limit for limit in limits if limit is not None), default=None)


def _with_ancestors(directory: str | None) -> list[Path]:
    """Return a cgroup's directory and those above it. The last ones are no cgroups, and have none of its files."""
    return [] if directory is None else [Path(directory), *Path(directory).parents]


def _read_limit(path: str) -> int | None:
    """Return a limit; None if there is none, or no such file."""
    try:
        text = _read(path).strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
