"""What a daemon takes of the machine, from checkpoint to checkpoint, and when that is a leak."""

from dataclasses import dataclass

from tests.harness.dockerd import cgroups_of
from tests.harness.footprint import NOTHING, descriptor_count, footprint
from tests.harness.observe import qemus_of
from tests.harness.processes import open_files, status_of

from .model import Model
from .stage import Stage

SLACK_DESCRIPTORS = 3
"""That a scrape, or a connection to Docker, may hold just then."""
SLACK_MEMORY_KIB = 12 << 10
"""By which a daemon may grow from its first checkpoint on: what Python loads late and does not give back."""


@dataclass(frozen=True)
class Figures:
    """One checkpoint."""

    operations: int
    waited_s: float
    containers: int
    attached: int
    guests: int
    lives: int
    descriptors: int
    """Without connections to Docker: aiohttp keeps one for each question that was ever asked at once, and takes them in
    turn, so that none is idle for the 15 s after which it would be closed."""
    memory_kib: int


COLUMNS = ("operations", "waited s", "containers", "attached", "guests", "vtapd's lives", "descriptors", "memory MiB")


def format_row(figures: Figures) -> list[str]:
    return [
        str(figures.operations),
        f"{figures.waited_s:.1f}",
        str(figures.containers),
        str(figures.attached),
        str(figures.guests),
        str(figures.lives),
        str(figures.descriptors),
        f"{figures.memory_kib / 1024:.1f}",
    ]


def measure(stage: Stage, model: Model, operations: int, waited_s: float) -> Figures:
    return Figures(
        operations,
        waited_s,
        len(model.members),
        sum(member.attached for member in model.members),
        sum(len(qemus_of(stage.containers[member.number].id)) for member in model.members),
        stage.lives,
        min(descriptor_count(stage.daemon.pid) - stage.proxy.connection_count() for _ in range(5)),
        int(status_of(stage.daemon.pid)["VmRSS"].split()[0]),
    )


def leaks(stage: Stage, fresh: Figures, first: Figures, now: Figures) -> list[str]:
    """Against a fresh daemon without containers, and this daemon's own first checkpoint; no container is left."""
    found = []
    if now.descriptors > fresh.descriptors + SLACK_DESCRIPTORS:
        held = sorted(open_files(stage.daemon.pid).values())
        found.append(f"vtapd began with {fresh.descriptors} descriptors, and now holds {now.descriptors} of {held}")
    if now.memory_kib > first.memory_kib + SLACK_MEMORY_KIB:
        found.append(f"vtapd has {now.memory_kib} KiB in memory; in this life it had {first.memory_kib}")
    if (left := footprint(stage.machine, stage.daemon.run_dir)) != NOTHING:
        found.append(f"left behind: {left}")
    if groups := [group for parent in cgroups_of(stage.machine.dockerd.home) for group in parent.glob("*/")]:
        found.append(f"cgroups: {groups}")
    return found
