"""What a scrape costs with two hundred guests: the event loop, which must not be blocked, and the whole daemon."""

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import Machine
from tests.harness.waiting import eventually

from .accounting import cpu_s
from .environment import running_daemon
from .figures import Figure, Limit
from .many_containers import docker_daemons

GUESTS = 200
QUIET: Tables = {"attach": {"resync": "10m"}}
AT_A_TIME = 2
BOOTED_S = 300.0
MOST_LOOP_S = 0.05
AS_PROMETHEUS = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}


@dataclass(frozen=True)
class _Scrape:
    loop_s: float
    whole_s: float
    """With the thread that reads and writes."""


def measure_scrape(machine: Machine, repetitions: int) -> list[Figure]:
    containers = Containers(machine)
    rivals = docker_daemons(machine)
    with running_daemon(machine, QUIET) as daemon:
        try:
            _start_guests(daemon, containers)
            _scrape(machine, daemon)  # the first one is different
            ours = [_scrape(machine, daemon) for _ in range(repetitions)]
            theirs = [_docker_stats_s(machine, rivals) for _ in range(repetitions)]
        finally:
            containers.remove_all()
    return [
        Figure(
            name="scrape-loop",
            what=f"a scrape with {GUESTS} guests: processor time of the loop",
            rival=f"the limit of {MOST_LOOP_S * 1000:g} ms",
            unit="s",
            ours=[scrape.loop_s for scrape in ours],
            theirs=[MOST_LOOP_S] * repetitions,
            direction="times the rival",
            limit=Limit(1, "below"),
            source="schedstat of the daemon's main thread (linux/Documentation/scheduler/sched-stats.rst)",
        ),
        Figure(
            name="scrape",
            what="the same: of the whole daemon",
            rival="docker stats --no-stream of the same containers, with its daemons",
            unit="s",
            ours=[scrape.whole_s for scrape in ours],
            theirs=theirs,
            direction="times faster",
            source="the daemon's own processor clock, that of dockerd, containerd and the docker command for the rival",
        ),
    ]


def _start_guests(daemon: Daemon, containers: Containers) -> None:
    with ThreadPoolExecutor(AT_A_TIME) as starters:
        list(starters.map(lambda _: containers.guest(memory="16M"), range(GUESTS)))
    eventually(lambda: daemon.metrics().states() == {"running": GUESTS}, f"{GUESTS} guests run", BOOTED_S, every_s=1)


def _scrape(machine: Machine, daemon: Daemon) -> _Scrape:
    loop, whole = _run_time_s(daemon.pid), cpu_s([daemon.pid])
    reply = machine.http(f"http://{daemon.config['metrics']['listen']}/metrics", 10, **AS_PROMETHEUS)
    assert reply.status == 200
    return _Scrape(_run_time_s(daemon.pid) - loop, cpu_s([daemon.pid]) - whole)


def _run_time_s(pid: int) -> float:
    """Return the run time of the main thread, in which the event loop runs."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def _docker_stats_s(machine: Machine, daemons: list[int]) -> float:
    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cpu_s(daemons) + children.ru_utime + children.ru_stime

    return _difference(spent, lambda: machine.docker("stats", "--no-stream", timeout_s=120))


def _difference(clock: Callable[[], float], work: Callable[[], object]) -> float:
    before = clock()
    work()
    return clock() - before
