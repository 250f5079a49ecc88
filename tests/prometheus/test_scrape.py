"""The page as Prometheus and promtool read it, and how they find it."""

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


def test_promtool_finds_nothing_to_say(vtapd: Daemon, containers: Containers, promtool: Promtool) -> None:
    guest = containers.serving_guest()
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "every series is there")
    done = promtool("check", "metrics", text=vtapd.metrics().text)
    assert done.stdout + done.stderr == ""


def test_both_instances_are_found(vtapd: Daemon, prometheus: Prometheus) -> None:
    def up() -> bool:
        found = {labels["instance"]: value for labels, value in prometheus.query('up{job="vtapd"}')}
        return found == {METRICS: 1, OTHER_INSTANCE: 1}

    eventually(up, "one of the file, one of the folder", SECONDS)


@pytest.fixture
def swarm(machine: Machine) -> Iterator[str]:
    """A swarm of one node, which is told by its host name."""
    machine.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
    try:
        yield machine.docker("info", "-f", "{{.Name}}")
    finally:
        machine.docker("swarm", "leave", "--force")
        machine.docker("network", "rm", "docker_gwbridge", check=False)


def test_the_nodes_of_a_swarm_are_found(
    vtapd: Daemon, machine: Machine, swarm: str, commands: tuple[Path, Path]
) -> None:
    socket = {"/var/run/docker.sock": str(machine.dockerd.socket)}
    with Prometheus(commands[0], machine, "scrape-swarm.yml", socket, 9091) as prometheus:
        eventually(
            lambda: prometheus.query(f'up{{job="vtapd", instance="{swarm}"}} == 1'), "the node's daemon", SECONDS
        )


@pytest.mark.parametrize("accept", ["text/plain;version=1.x", "application/openmetrics-text;version=x", "a" * 4000])
def test_formats_that_nobody_knows(vtapd: Daemon, machine: Machine, accept: str) -> None:
    reply = machine.http(f"http://{METRICS}/metrics", Accept=accept)
    assert (reply.status, "vtapd_build_info{" in reply.body) == (200, True)
    assert not vtapd.bugs()


def test_series_are_gone_from_prometheus_when_their_container_is(
    vtapd: Daemon, prometheus: Prometheus, containers: Containers
) -> None:
    guest = containers.serving_guest()
    mine = f'{{job="vtapd", container="{guest.name}"}}'
    eventually(lambda: len(prometheus.query(f"vtapd_guest_up{mine}")) == 2, "one of each instance", SECONDS)
    guest.remove()
    eventually(lambda: not prometheus.query(mine), "none is left, stale or not", SECONDS)


def calls_of_a_scrape(vtapd: Daemon, log: Path, paths: set[str]) -> list[tuple[int, str]]:
    """Thread and call, for each system call on one of these files."""
    with straced(vtapd.pid, log, FILE_CALLS):
        vtapd.metrics()
    lines = [line for line in log.read_text().splitlines() if any(f"{path}>" in line for path in paths)]
    return [(int(line.split()[0]), line) for line in lines]


def test_what_a_scrape_asks_of_the_kernel(
    vtapd: Daemon, containers: Containers, prometheus: Prometheus, tmp_path: Path
) -> None:
    """Two files a guest, each opened, read and closed, and not in the loop's thread."""
    guests = [containers.serving_guest(memory="16M") for _ in range(3)]
    paths = {f"/proc/{guest.qemu()}/stat" for guest in guests} | {f"/proc/{guest.pid}/net/dev" for guest in guests}
    with prometheus.held():
        vtapd.metrics()  # one at a time: what it asked before is answered by then
        calls = calls_of_a_scrape(vtapd, tmp_path / "strace", paths)
    assert len(calls) == len(paths) * len(("open", "read", "close")), calls
    assert vtapd.pid not in {thread for thread, _ in calls}
