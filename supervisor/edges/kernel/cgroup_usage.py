"""Observe what a container's processes use, its QEMU included, as its cgroup counts it: what `docker stats` shows."""

from dataclasses import dataclass

from supervisor.core.formats.cgroup_counters import parse_blkio, parse_io_stat, parse_limit, parse_number
from supervisor.core.formats.cpu_stat import parse_counters
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.linux.file_calls import read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupUsage:
    """None: its controller is not there, or has no limit."""

    cpu_s: float | None = None
    memory_bytes: int | None = None
    """Without the files that the kernel can drop at once, as `docker stats` has it."""
    memory_limit_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    processes: int | None = None
    """Threads are counted, too."""


def observe_usage(cgroup: Cgroup) -> CgroupUsage:
    """Return what the kernel counts at this moment."""
    memory, limit = _memory(cgroup)
    moved = _moved(cgroup)
    return CgroupUsage(
        cpu_s=_cpu_s(cgroup),
        memory_bytes=memory,
        memory_limit_bytes=limit,
        read_bytes=moved[0] if moved else None,
        written_bytes=moved[1] if moved else None,
        processes=parse_number(_read(cgroup.v1.get("pids") or cgroup.v2, "pids.current")),
    )


def _cpu_s(cgroup: Cgroup) -> float | None:
    if "cpuacct" in cgroup.v1:
        used_ns = parse_number(_read(cgroup.v1["cpuacct"], "cpuacct.usage"))
        return None if used_ns is None else used_ns / 1e9
    used_us = parse_counters(_read(cgroup.v2, "cpu.stat")).get("usage_usec")
    return None if used_us is None else used_us / 1e6


def _memory(cgroup: Cgroup) -> tuple[int | None, int | None]:
    """Return the bytes used, and the limit."""
    v1 = cgroup.v1.get("memory")
    directory = v1 or cgroup.v2
    used = parse_number(_read(directory, "memory.usage_in_bytes" if v1 else "memory.current"))
    limit = parse_limit(_read(directory, "memory.limit_in_bytes" if v1 else "memory.max"))
    if used is None:
        return None, limit
    droppable = parse_counters(_read(directory, "memory.stat")).get("total_inactive_file" if v1 else "inactive_file", 0)
    return max(0, used - droppable), limit


def _moved(cgroup: Cgroup) -> tuple[int, int] | None:
    """Return the bytes read from block devices and written to them; None if they are not counted."""
    if "blkio" in cgroup.v1:
        return parse_blkio(_read(cgroup.v1["blkio"], "blkio.throttle.io_service_bytes_recursive"))
    text = _read_or_none(cgroup.v2, "io.stat")
    return None if text is None else parse_io_stat(text)


def _read(directory: str | None, name: str) -> str:
    """Return a file's text; empty if it cannot be read."""
    return _read_or_none(directory, name) or ""


def _read_or_none(directory: str | None, name: str) -> str | None:
    try:
        return None if directory is None else read_file(f"{directory}/{name}").decode(errors="replace").strip()
    except OSError:
        return None
