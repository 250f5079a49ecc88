"""Hundreds of guests of which most sleep: what they cost compared with as many that are awake.

The containers are there either way. So what is compared are the QEMUs and the daemon.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import linear_regression, median

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import Machine
from tests.harness.observe import qemus
from tests.harness.waiting import eventually

from .accounting import cpu_s, private_mib, resident_mib
from .answer import await_answer
from .environment import running_daemon
from .figures import Figure, Limit
from .hundreds import AT_A_TIME, BOOT_S, SETTLED_S, WINDOW_S, WINDOWS, against_limit

AWAKE, SIZES = 20, (120, 220, 320, 420, 500)
"""How many stay awake, and how many there are in all after each step."""
ALONE, STORM = 5, 100
AT_ONCE = 20
"""How many are suspended by one command."""
QUIET: Tables = {"attach": {"resync": "10m"}}
MOST_OF_ALL, MOST_CPU_PERCENT, MOST_SLEEPER_KIB = 0.1, 0.5, 150.0


def measure_asleep(machine: Machine, awake: int = AWAKE, sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    containers = Containers(machine)
    try:
        with running_daemon(machine, QUIET) as daemon:
            _start(containers, daemon, awake)
            empty_mib, resident = resident_mib([daemon.pid]), []
            for size in sizes:
                while len(containers.made) < size:
                    names = _start(containers, daemon, min(AT_ONCE, size - len(containers.made)))
                    daemon.command("suspend", *names, timeout_s=BOOT_S)
                time.sleep(SETTLED_S)
                resident.append(resident_mib([daemon.pid]))
            running = [pid for pid, owner in qemus().items() if owner in {made.id for made in containers.made}]
            assert len(running) == awake, "those that sleep have no QEMU"
            used_mib = private_mib(running)
            idle = [_idle_percent(daemon) for _ in range(WINDOWS)]
            one_s, storm_s = _wake(machine, containers.made[awake:])
    finally:
        containers.remove_all()
    count, each_mib = sizes[-1], used_mib / awake
    slope_kib = linear_regression(list(sizes), resident).slope * 1024
    what = f"{count} guests, of which {awake} are awake"
    return [
        Figure(
            name="asleep-memory",
            what=f"{what}: memory of the QEMUs, and what the daemon has for those that sleep",
            rival=f"{count} QEMUs",
            unit="MiB",
            ours=[used_mib + resident[-1] - empty_mib],
            theirs=[each_mib * count],
            direction="times the rival",
            limit=Limit(MOST_OF_ALL, "below"),
            details={"guests": list(sizes), "daemon_resident_mib": resident},
        ),
        against_limit("asleep-daemon", f"{what}: the daemon's memory for each that sleeps", "KiB",
                      [slope_kib], MOST_SLEEPER_KIB),
        Figure(
            name="asleep-storm",
            what=f"the first packets of {STORM} clients for {STORM} that sleep, at the same time → the last answer",
            rival="one client and one that sleeps, as often",
            unit="s",
            ours=[storm_s],
            theirs=[STORM * one_s],
            direction="times the rival",
        ),
        against_limit("asleep-idle", f"{what}: the daemon's share of one processor", "%", idle, MOST_CPU_PERCENT),
    ]  # fmt: skip


def _start(containers: Containers, daemon: Daemon, count: int) -> list[str]:
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        made = list(threads.map(lambda _: containers.guest("--network", "bridge", memory="8M"), range(count)))
    ours = {guest.name for guest in made}

    def run() -> bool:
        return all(row.state == "running" for row in daemon.ps() if row.name in ours)

    eventually(run, f"{count} more guests run", BOOT_S, 0.5)
    return sorted(ours)


def _wake(machine: Machine, asleep: list[Container]) -> tuple[float, float]:
    """Return the seconds until a guest that sleeps has answered, alone, and until all of a storm have."""

    def ask(guest: Container) -> None:
        await_answer(machine, guest.address)

    def took_s(count: int) -> float:
        guests, began_s = [asleep.pop() for _ in range(count)], time.perf_counter()
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(ask, guests))
        return time.perf_counter() - began_s

    return median(took_s(1) for _ in range(ALONE)), took_s(STORM)


def _idle_percent(daemon: Daemon) -> float:
    before_s = cpu_s([daemon.pid])
    time.sleep(WINDOW_S)
    return (cpu_s([daemon.pid]) - before_s) / WINDOW_S * 100
