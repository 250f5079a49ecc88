"""Hundreds of guests: what the daemon costs as their number grows, and how soon another daemon has adopted them all.

All figures but the slope have a limit. The number of guests grows step by step.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from statistics import linear_regression

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon, Tables, merged
from tests.harness.machine import Machine
from tests.harness.observe import qemus
from tests.harness.waiting import eventually

from .accounting import cpu_s, memory_available_mib, resident_mib, wakeups
from .answer import await_answer
from .environment import running_daemon
from .figures import Figure, Limit, Unit
from .plot import growth_svg
from .resync import OFTEN, one_resync_s

SIZES = (10, 50, 100, 150, 200, 250)
LEFT_MIB = 2048  # this much memory of the machine stays free
AT_A_TIME = 4
BOOT_S, ADOPT_S = 300.0, 60.0
SETTLED_S, WINDOW_S, WINDOWS = 3.0, 10.0, 3
SCRAPES, RESYNCS = 15, 5
QUIET: Tables = {"attach": {"resync": "10m"}}
MOST_WAKEUPS_PER_S = 1.0
MOST_CPU_PERCENT, MOST_MIB, MOST_GUEST_KIB, MOST_ADOPT_S, MOST_SCRAPE_S, MOST_RESYNC_S = (
    0.5,
    100.0,
    100.0,
    3.0,
    0.05,
    0.2,
)


@dataclass
class _Measured:
    sizes: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)
    machine_used_mib: list[float] = field(default_factory=list)
    idle_percent: list[float] = field(default_factory=list)
    idle_wakeups: list[float] = field(default_factory=list)
    scrape_s: list[float] = field(default_factory=list)
    answered: int = 0
    adopt_s: float = 0.0
    resync_s: list[float] = field(default_factory=list)


def measure_hundreds(machine: Machine, sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    containers, measured = Containers(machine), _Measured()
    try:
        with running_daemon(machine, QUIET) as daemon:
            free_mib = memory_available_mib()
            for size in sizes:
                guest_mib = (free_mib - memory_available_mib()) / max(1, len(containers.made))
                if memory_available_mib() - guest_mib * (size - len(containers.made)) < LEFT_MIB:
                    break
                _grow(daemon, containers, size)
                measured.sizes.append(size)
                measured.resident_mib.append(resident_mib([daemon.pid]))
                measured.machine_used_mib.append(free_mib - memory_available_mib())
            _watch_idle(daemon, measured)
            measured.answered = _ask_all(machine, containers.made)
            before = _pids(containers.made)
            daemon.kill()
        with _adopting(machine, len(containers.made), measured) as successor:
            assert _pids(containers.made) == before, "a guest was restarted"
            for _ in range(RESYNCS):
                measured.resync_s.append(one_resync_s(successor))
    finally:
        containers.remove_all()
    return _figures(measured)


def _grow(daemon: Daemon, containers: Containers, size: int) -> None:
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        missing = range(size - len(containers.made))
        list(threads.map(lambda _: containers.guest("--network", "bridge", memory="8M", restart="always"), missing))
    eventually(
        lambda: daemon.metrics().value("vtapd_guests", state="running") == size, f"{size} guests run", BOOT_S, 0.5
    )
    time.sleep(SETTLED_S)


def _watch_idle(daemon: Daemon, measured: _Measured) -> None:
    for _ in range(WINDOWS):
        before_s, before = cpu_s([daemon.pid]), wakeups([daemon.pid])
        time.sleep(WINDOW_S)
        measured.idle_percent.append((cpu_s([daemon.pid]) - before_s) / WINDOW_S * 100)
        measured.idle_wakeups.append((wakeups([daemon.pid]) - before) / WINDOW_S)
    for _ in range(SCRAPES):
        began_s = time.perf_counter()
        daemon.machine.http(f"http://{daemon.config['metrics']['listen']}/metrics")
        measured.scrape_s.append(time.perf_counter() - began_s)


def _ask_all(machine: Machine, guests: list[Container]) -> int:
    """Request the page of each guest; return how many answer."""
    for guest in guests:
        await_answer(machine, guest.address)
    return len(guests)


def _pids(guests: list[Container]) -> set[int]:
    """Return the pids of their QEMUs."""
    ours = {guest.id for guest in guests}
    return {pid for pid, owner in qemus().items() if owner in ours}


@contextmanager
def _adopting(machine: Machine, count: int, measured: _Measured) -> Iterator[Daemon]:
    """Start the next daemon, and yield it when it has adopted all guests."""
    began_s = time.time()
    with running_daemon(machine, merged(QUIET, OFTEN)) as daemon:

        def adopted() -> list[float]:
            lines = [line for line in daemon.log_lines() if line.get("event") == "guest_adopted"]
            times = [datetime.fromisoformat(str(line["timestamp"])).timestamp() for line in lines]
            return times if len(times) == count else []

        measured.adopt_s = max(eventually(adopted, f"{count} guests are adopted", ADOPT_S)) - began_s
        eventually(lambda: daemon.metrics().value("vtapd_guests", state="running") == count, "all are known", ADOPT_S)
        yield daemon


def _figures(measured: _Measured) -> list[Figure]:
    count = int(measured.sizes[-1])
    slope_kib = linear_regression(measured.sizes, measured.resident_mib).slope * 1024
    last_kib = (
        (measured.resident_mib[-1] - measured.resident_mib[-2]) / (measured.sizes[-1] - measured.sizes[-2]) * 1024
    )
    grown = {
        "guests": measured.sizes,
        "daemon_resident_mib": measured.resident_mib,
        "machine_used_mib": measured.machine_used_mib,
        "answered": measured.answered,
    }
    return [
        against_limit("guests-idle", f"{count} guests: share of one processor, idle", "%",
                      measured.idle_percent, MOST_CPU_PERCENT),
        against_limit("guests-wakeups", "the same: wake-ups", "1/s", measured.idle_wakeups, MOST_WAKEUPS_PER_S),
        against_limit("guests-memory", "the same: the daemon's resident memory", "MiB",
                       measured.resident_mib[-1:], MOST_MIB, grown),
        against_limit("guests-memory-each",
                       f"the same: for each guest, from {int(measured.sizes[0])} to {count}", "KiB",
                       [slope_kib], MOST_GUEST_KIB, {"of_the_last_step": last_kib},
                       growth_svg("The daemon's resident memory", measured.sizes, measured.resident_mib, "MiB")),
        against_limit("guests-scrape", "the same: a scrape", "s", measured.scrape_s, MOST_SCRAPE_S),
        against_limit("guests-adopt", "the same: daemon killed and started → the last guest adopted", "s",
                       [measured.adopt_s], MOST_ADOPT_S),
        against_limit("guests-resync", "the same: processor time of a resync", "s", measured.resync_s, MOST_RESYNC_S),
    ]  # fmt: skip


def against_limit(
    name: str,
    what: str,
    unit: Unit,
    ours: list[float],
    most: float,
    details: dict[str, object] | None = None,
    drawn: str = "",
) -> Figure:
    """Return a figure whose rival is the most that it may be."""
    return Figure(
        name=name,
        what=what,
        rival="a limit",
        unit=unit,
        ours=ours,
        theirs=[most] * len(ours),
        direction="times the rival",
        limit=Limit(1, "below"),
        details=details or {},
        drawn=drawn,
    )
