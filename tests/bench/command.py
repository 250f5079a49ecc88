"""How fast a command answers: `vtapd ps`, against a Python that only imports the library that reads command lines."""

import resource
import sys
from pathlib import Path

from tests.harness.containers import Containers
from tests.harness.machine import Machine
from tests.harness.processes import run

from .environment import running_daemon
from .figures import Figure, Limit

CONTAINERS = 3


def measure_command(machine: Machine, repetitions: int) -> list[Figure]:
    containers = Containers(machine)
    rival = [sys.executable, "-c", "import click"]
    with running_daemon(machine, {}) as daemon:
        ps = [str(Path(sys.executable).with_name("vtapd")), "--socket", str(daemon.control_socket), "ps"]
        try:
            for _ in range(CONTAINERS):
                containers.run().await_attached()
            for argv in (ps, rival):
                run(argv)  # the first one reads from the disk
            pairs = [(_processor_s(ps), _processor_s(rival)) for _ in range(repetitions)]
        finally:
            containers.remove_all()
    return [
        Figure(
            name="command",
            what=f"`vtapd ps` of {CONTAINERS} containers",
            rival="`python -c 'import click'`",
            unit="s",
            ours=[ours for ours, _ in pairs],
            theirs=[theirs for _, theirs in pairs],
            direction="times the rival",
            limit=Limit(1.5, "below"),
            source="processor time of the process, getrusage(2)",
            holds_under_load=True,
        )
    ]


def _processor_s(argv: list[str]) -> float:
    """Return the processor time of a program that this runs to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(argv)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
