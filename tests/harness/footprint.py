"""All that the daemon puts into the world for this machine's containers, as one value to compare."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .containers import Containers
from .current_daemon import CurrentDaemon
from .daemon import Daemon
from .machine import Machine
from .observe import macvtaps, netns_links, qemus
from .processes import open_files
from .waiting import eventually

# Of the daemon itself, not of a container.
OWN_FILES = {"control.sock", "reaper.sock", "lock", "vtapd.lock", "pid"}


@dataclass(frozen=True)
class Footprint:
    netns_links: frozenset[str]
    macvtaps: frozenset[str]
    run_files: frozenset[str]
    qemus: frozenset[int]


NOTHING = Footprint(frozenset(), frozenset(), frozenset(), frozenset())


def _macvtaps(machine: Machine) -> frozenset[str]:
    """Of all running containers and of the machine's own namespace."""
    names = set()
    pids = [machine.engine.inspect(container)["State"]["Pid"] for container in machine.engine.running()]
    for pid in (*pids, machine.dockerd.pid):
        names |= {f"{pid}:{link.name}" for link in macvtaps(pid)}
    return frozenset(names)


def footprint(machine: Machine, run_dir: Path) -> Footprint:
    """Only what belongs to containers that this machine ever had: other daemons on the same host do not disturb."""
    ids = machine.container_ids
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if not path.is_dir()}
    return Footprint(
        netns_links=frozenset(name for name in netns_links() if any(one[:12] in name for one in ids)),
        macvtaps=_macvtaps(machine),
        run_files=frozenset(files - OWN_FILES),
        qemus=frozenset(pid for pid, owner in qemus().items() if any(one.startswith(owner) for one in ids)),
    )


def await_nothing_left(machine: Machine, daemon: Daemon) -> None:
    left: Footprint = NOTHING

    def clean() -> bool:
        nonlocal left
        left = footprint(machine, daemon.run_dir)
        return left == NOTHING

    try:
        eventually(clean, "nothing is left of the test's containers")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{left}\n{daemon.log_tail()}") from None


@contextmanager
def containers_that_leave_nothing(machine: Machine, current_daemon: CurrentDaemon) -> Iterator[Containers]:
    """Remove all containers at the end. The daemon must then leave nothing behind, and still run."""
    made = Containers(machine)
    yield made
    made.remove_all()
    daemon = current_daemon.daemon
    if daemon is None:
        return
    try:
        assert daemon.is_running(), f"the daemon ended with its container:\n{daemon.log_tail()}"
        assert not daemon.bugs(), "\n".join(daemon.bugs())
        await_nothing_left(machine, daemon)
    except AssertionError:
        current_daemon.stop()  # the next test starts from a clean daemon
        raise


def descriptor_count(pid: int) -> int:
    return len(open_files(pid))
