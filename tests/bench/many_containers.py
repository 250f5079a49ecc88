"""Twenty attached containers, for the measurements of an idle daemon."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.containers import Container, Containers
from tests.harness.dockerd import processes_of
from tests.harness.machine import Machine
from tests.harness.processes import command_line

SIZE = 20


@contextmanager
def many_containers(machine: Machine) -> Iterator[list[Container]]:
    """Start containers that only sleep; the next daemon attaches or adopts them."""
    containers = Containers(machine)
    try:
        yield [containers.run() for _ in range(SIZE)]
    finally:
        containers.remove_all()


def docker_daemons(machine: Machine) -> list[int]:
    """Return the pids of dockerd and its containerd, without the shims, of which each container has one."""
    own = processes_of(machine.dockerd.home)
    return [pid for pid in own if command_line(pid)[0].endswith(("dockerd", "containerd"))]
