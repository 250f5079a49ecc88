"""Observe whether a container's processes are let run: the freezer, processor limits, and the suspended host."""

import time
from collections.abc import Iterator
from pathlib import Path

from supervisor.core.formats.cpu_stat import parse_counters
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.guest.stillness import Activity
from supervisor.linux.file_calls import read_file


def observe_activity(cgroup: Cgroup) -> Activity:
    """Return what the kernel shows now. What it does not show counts as nothing."""
    stats = [_counters(f"{each}/cpu.stat") for each in _levels(cgroup.v1.get("cpu") or cgroup.v2)]
    own = stats[0] if stats else {}
    return Activity(
        at_s=time.monotonic(),
        since_boot_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        frozen=is_frozen(cgroup),
        frozen_usec=_counters(f"{cgroup.v2}/cgroup.stat.local").get("frozen_usec", 0) if cgroup.v2 else 0,
        used_s=_v1_usage_s(cgroup) if "cpuacct" in cgroup.v1 else own.get("usage_usec", 0) / 1e6,
        periods=tuple((each.get("nr_periods", 0), each.get("nr_throttled", 0)) for each in stats),
    )


def is_frozen(cgroup: Cgroup) -> bool:
    """Return whether its processes are frozen, or about to be, by their own cgroup or an ancestor."""
    if "freezer" in cgroup.v1:
        return _read(f"{cgroup.v1['freezer']}/freezer.state") not in ("THAWED", "")
    return any(_read(f"{each}/cgroup.freeze") == "1" for each in _levels(cgroup.v2))


def _levels(directory: str | None) -> Iterator[str]:
    """Yield a cgroup's directory, and those of its ancestors below the root of the hierarchy, which has no limits."""
    path = Path(directory) if directory is not None else None
    while path is not None and (path.parent / "cgroup.procs").exists():
        yield str(path)
        path = path.parent


def _v1_usage_s(cgroup: Cgroup) -> float:
    text = _read(f"{cgroup.v1['cpuacct']}/cpuacct.usage")
    return int(text) / 1e9 if text.isdecimal() else 0.0


def _counters(path: str) -> dict[str, int]:
    return parse_counters(_read(path))


def _read(path: str) -> str:
    """Return a file's text; empty if it cannot be read."""
    try:
        return read_file(path).decode(errors="replace").strip()
    except OSError:
        return ""
