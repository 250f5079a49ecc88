"""Processor time, wake-ups and memory of processes, as the kernel counts them."""

import re
import resource
import time
from collections.abc import Iterable
from pathlib import Path

_CPUCLOCK_SCHED = (
    2  # linux/posix-timers.h: a process's own clock is numbered (~pid << 3) | this (man 3 clock_getcpuclockid)
)


def cpu_s(pids: Iterable[int]) -> float:
    """Return the processor time of these processes with all threads, in nanoseconds; /proc has ticks of 10 ms."""
    return sum(time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED) for pid in pids)


def children_cpu_s() -> float:
    """Return the processor time of this process's ended children, with their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wakeups(pids: Iterable[int]) -> int:
    """Return how often their threads went to sleep voluntarily, which is how often they were woken since."""
    return sum(_number(status, "voluntary_ctxt_switches") for pid in pids for status in _tasks(pid))


def resident_mib(pids: Iterable[int]) -> float:
    return sum(_number(Path(f"/proc/{pid}/status").read_text(), "VmRSS") for pid in pids) / 1024


def private_mib(pids: Iterable[int]) -> float:
    """Return the memory that would be free if they ended."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(_number(text, field) for text in texts for field in ("Private_Clean", "Private_Dirty")) / 1024


def memory_available_mib() -> float:
    """Return the memory that the machine can still give (man 5 proc: MemAvailable)."""
    return _number(Path("/proc/meminfo").read_text(), "MemAvailable") / 1024


def _tasks(pid: int) -> list[str]:
    return [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]


def _number(status: str, field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+)", status, re.MULTILINE)
    assert found is not None, f"no {field} in /proc"
    return int(found[1])
