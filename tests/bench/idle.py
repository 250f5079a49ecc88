"""What the daemon costs between two resyncs, while nothing happens: wake-ups, processor time, memory."""

import time
from dataclasses import dataclass

from tests.harness.daemon import Tables
from tests.harness.machine import Machine

from .accounting import cpu_s, resident_mib, wakeups
from .environment import await_attached, running_daemon
from .figures import Figure, Limit
from .many_containers import SIZE, docker_daemons, many_containers

QUIET: Tables = {"attach": {"resync": "60s"}}  # longer than all windows together
SETTLED_S, WINDOW_S = 3.0, 5.0
MOST_MIB = 80
RIVAL = "dockerd and containerd in the same seconds"


@dataclass(frozen=True)
class _Sample:
    """One window of a group of processes."""

    wakeups_per_s: float
    cpu_share: float
    resident_mib: float


def measure_idle(machine: Machine, repetitions: int) -> list[Figure]:
    rivals = docker_daemons(machine)
    with many_containers(machine), running_daemon(machine, QUIET) as daemon:
        await_attached(daemon, SIZE)
        time.sleep(SETTLED_S)
        windows = [_watch([daemon.pid], rivals) for _ in range(repetitions)]
    ours, theirs = [window[0] for window in windows], [window[1] for window in windows]
    source = f"/proc/PID/task/*/status over windows of {WINDOW_S:g} s"
    return [
        Figure(
            name="idle-wakeups",
            what=f"idle with {SIZE} attached containers: wake-ups between two resyncs",
            rival=RIVAL,
            unit="1/s",
            ours=[sample.wakeups_per_s for sample in ours],
            theirs=[sample.wakeups_per_s for sample in theirs],
            direction="times the rival",
            limit=Limit(0.01, "below"),
            holds_under_load=True,
            source=f"voluntary context switches of all threads in {source}",
        ),
        Figure(
            name="idle-cpu",
            what="the same: share of one processor",
            rival=RIVAL,
            unit="%",
            ours=[sample.cpu_share * 100 for sample in ours],
            theirs=[sample.cpu_share * 100 for sample in theirs],
            direction="times the rival",
            source=f"the processes' own clocks (man 3 clock_getcpuclockid), windows of {WINDOW_S:g} s",
        ),
        Figure(
            name="idle-memory",
            what="the same: resident memory",
            rival=f"the limit of {MOST_MIB} MiB",
            unit="MiB",
            ours=[sample.resident_mib for sample in ours],
            theirs=[float(MOST_MIB)] * repetitions,
            direction="times the rival",
            limit=Limit(1, "below"),
            holds_under_load=True,
            source="VmRSS in /proc/PID/status",
            details={RIVAL: [sample.resident_mib for sample in theirs]},
        ),
    ]


def _watch(*groups: list[int]) -> list[_Sample]:
    before = [(wakeups(pids), cpu_s(pids)) for pids in groups]
    time.sleep(WINDOW_S)
    after = [(wakeups(pids), cpu_s(pids)) for pids in groups]
    return [
        _Sample((then[0] - first[0]) / WINDOW_S, (then[1] - first[1]) / WINDOW_S, resident_mib(pids))
        for pids, first, then in zip(groups, before, after, strict=True)
    ]
