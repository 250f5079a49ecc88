"""How Prometheus and promtool read the page, and how Prometheus finds the daemons."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import METRICS, Daemon
from tests.harness.machine import Machine
from tests.harness.strace import straced
from tests.harness.waiting import eventually

from .conftest import OTHER_INSTANCE, Promtool
from .server import Prometheus

SECONDS = 20.0
FILE_CALLS = ("open", "openat", "read", "readv", "pread64", "close", "lseek", "fstat", "newfstatat", "ioctl", "statx")


def test_promtool_finds_no_mistake_in_the_page(vtapd: Daemon, containers: Containers, promtool: Promtool) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "every series exists")
    done = promtool("check", "metrics", text=vtapd.metrics().text)
    assert done.stdout + done.stderr == ""


def test_both_instances_are_found(vtapd: Daemon, prometheus: Prometheus) -> None:
    def up() -> bool:
        found = {labels["instance"]: value for labels, value in prometheus.query('up{job="vtapd"}')}
        return found == {METRICS: 1, OTHER_INSTANCE: 1}

    eventually(up, "both instances are up", SECONDS)


@pytest.fixture
def swarm(machine: Machine) -> Iterator[str]:
    """A swarm of one node; yields its host name."""
    machine.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
    try:
        yield machine.docker("info", "-f", "{{.Name}}")
    finally:
        machine.docker("swarm", "leave", "--force")
        machine.docker("network", "rm", "docker_gwbridge", check=False)


def test_swarm_nodes_are_found(vtapd: Daemon, machine: Machine, swarm: str, commands: tuple[Path, Path]) -> None:
    socket = {"/var/run/docker.sock": str(machine.dockerd.socket)}
    with Prometheus(commands[0], machine, "scrape-swarm.yml", socket, 9091) as prometheus:
        eventually(
            lambda: prometheus.query(f'up{{job="vtapd", instance="{swarm}"}} == 1'), "the node's daemon is up", SECONDS
        )


@pytest.mark.parametrize("accept", ["text/plain;version=1.x", "application/openmetrics-text;version=x", "a" * 4000])
def test_unknown_formats_get_plain_text(vtapd: Daemon, machine: Machine, accept: str) -> None:
    reply = machine.http(f"http://{METRICS}/metrics", Accept=accept)
    assert (reply.status, "vtapd_build_info{" in reply.body) == (200, True)
    assert not vtapd.bugs()


def test_series_of_a_removed_container_disappear_from_prometheus(
    vtapd: Daemon, prometheus: Prometheus, containers: Containers
) -> None:
    guest = containers.serving_guest()
    mine = f'{{job="vtapd", container="{guest.name}"}}'
    eventually(lambda: len(prometheus.query(f"vtapd_guest_up{mine}")) == 2, "each instance has a series", SECONDS)
    guest.remove()
    eventually(lambda: not prometheus.query(mine), "no series is left, stale or not", SECONDS)


def calls_of_a_scrape(vtapd: Daemon, log: Path, paths: set[str]) -> list[tuple[int, str]]:
    """Return thread and call of each system call on one of these files during a scrape."""
    with straced(vtapd.pid, log, FILE_CALLS):
        vtapd.metrics()
    lines = [line for line in log.read_text().splitlines() if any(f"{path}>" in line for path in paths)]
    return [(int(line.split()[0]), line) for line in lines]


def test_scrape_reads_two_files_per_guest_outside_the_event_loop(
    vtapd: Daemon, containers: Containers, prometheus: Prometheus, tmp_path: Path
) -> None:
    """Each file is opened, read and closed in another thread than the event loop's."""
    guests = [containers.serving_guest(memory="16M") for _ in range(3)]
    paths = {f"/proc/{guest.qemu()}/stat" for guest in guests} | {f"/proc/{guest.pid}/net/dev" for guest in guests}

    def reads_each_once() -> bool:
        calls = calls_of_a_scrape(vtapd, tmp_path / "strace", paths)
        assert len(calls) == len(paths) * len(("open", "read", "close")), calls
        assert vtapd.pid not in {thread for thread, _ in calls}, calls
        return True

    with prometheus.held():
        vtapd.metrics()  # scrapes run one at a time, so earlier ones are done now
        eventually(reads_each_once, "a scrape while the daemon has nothing else to do")
