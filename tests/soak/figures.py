"""What the daemon uses of the machine at each checkpoint, and when that is a leak."""

from dataclasses import dataclass

from tests.harness.dockerd import cgroups_of
from tests.harness.footprint import NOTHING, descriptor_count, footprint
from tests.harness.observe import qemus_of
from tests.harness.processes import open_files, status_of

from .model import Model
from .testbed import Testbed

SLACK_DESCRIPTORS = 3
"""Descriptors that a scrape or a connection to Docker may hold at that moment."""
SLACK_MEMORY_KIB = 12 << 10
"""Growth that is allowed from a daemon's first checkpoint on: what Python loads late and keeps."""


@dataclass(frozen=True)
class Figures:
    """One checkpoint."""

    operations: int
    waited_s: float
    containers: int
    attached: int
    guests: int
    daemon_starts: int
    descriptors: int
    """Without connections to Docker: aiohttp keeps as many as there were concurrent requests at most, and uses them in
    turn, so that none is idle for the 15 s after which it would be closed."""
    memory_kib: int


COLUMNS = ("operations", "waited s", "containers", "attached", "guests", "vtapd starts", "descriptors", "memory MiB")


def format_row(figures: Figures) -> list[str]:
    return [
        str(figures.operations),
        f"{figures.waited_s:.1f}",
        str(figures.containers),
        str(figures.attached),
        str(figures.guests),
        str(figures.daemon_starts),
        str(figures.descriptors),
        f"{figures.memory_kib / 1024:.1f}",
    ]


def measure(testbed: Testbed, model: Model, operations: int, waited_s: float) -> Figures:
    return Figures(
        operations,
        waited_s,
        len(model.containers),
        sum(expected.attached for expected in model.containers),
        sum(len(qemus_of(testbed.containers[expected.number].id)) for expected in model.containers),
        testbed.daemon_starts,
        min(descriptor_count(testbed.daemon.pid) - testbed.proxy.connection_count() for _ in range(5)),
        int(status_of(testbed.daemon.pid)["VmRSS"].split()[0]),
    )


def leaks(testbed: Testbed, fresh: Figures, first: Figures, now: Figures) -> list[str]:
    """Compare with a fresh daemon without containers, and with this daemon's first checkpoint; no container is left."""
    found = []
    if now.descriptors > fresh.descriptors + SLACK_DESCRIPTORS:
        held = sorted(open_files(testbed.daemon.pid).values())
        found.append(f"vtapd started with {fresh.descriptors} descriptors, and now holds {now.descriptors} of {held}")
    if now.memory_kib > first.memory_kib + SLACK_MEMORY_KIB:
        found.append(f"vtapd has {now.memory_kib} KiB in memory; at its first checkpoint it had {first.memory_kib}")
    if (left := footprint(testbed.machine, testbed.daemon.run_dir)) != NOTHING:
        found.append(f"left behind: {left}")
    if groups := [group for parent in cgroups_of(testbed.machine.dockerd.home) for group in parent.glob("*/")]:
        found.append(f"cgroups: {groups}")
    return found
