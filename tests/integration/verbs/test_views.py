"""docker stats, top, exec, inspect, port, logs and events: the guest as a part of its container."""

import json
import time

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.processes import status_of
from tests.harness.waiting import eventually

UNITS = {"B": 1, "kB": 1000, "KiB": 1 << 10, "MB": 10**6, "MiB": 1 << 20}


def bytes_of(text: str) -> float:
    """Return what `docker stats` means by `31.5MiB`."""
    number = text.rstrip("BKMGkib")
    return float(number) * UNITS[text[len(number) :]]


def anonymous_bytes(pid: int) -> int:
    """Return how much memory of its own a process has: without files, which may be charged to another container."""
    return int(status_of(pid)["RssAnon"].split()[0]) << 10


def test_stats_count_qemu_with_its_container(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """On a machine with both versions of cgroups, version 1 alone has the controllers that Docker reads."""
    plain, guest = containers.run(), containers.serving_guest()
    guest.get("/bytes?n=300000", 10)
    own = anonymous_bytes(guest.qemu())
    stats = ("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}} {{.NetIO}}")
    counted = {each: machine.docker(*stats, each.id).split() for each in (plain, guest)}
    memory, _, _, processes, _, _, sent = counted[guest]
    assert bytes_of(memory) - bytes_of(counted[plain][0]) > own / 2, "its QEMU counts, too"
    assert int(processes) > int(counted[plain][3]) == 1
    assert bytes_of(sent) > 300_000


def test_qemu_is_a_process_of_its_container(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    guest = containers.serving_guest("-p", "80")
    listed = machine.docker("top", guest.id, "-eo", "pid,comm").splitlines()
    assert [line.split()[0] for line in listed if "qemu" in line] == [str(guest.qemu())]
    assert "qemu" in guest.exec("ps")
    assert guest.exec("hostname") == guest.id12, "a command runs in the container, not in the guest"
    where = machine.docker("port", guest.id, "80").splitlines()[0]
    assert machine.http(f"http://127.0.0.1:{where.rpartition(':')[2]}/").status == 200
    shown = json.loads(machine.docker("inspect", guest.id))[0]
    assert shown["NetworkSettings"]["IPAddress"] == guest.info()["addr"]
    assert shown["State"]["Pid"] == guest.pid != guest.qemu()


def test_events_of_docker_have_the_container_alone(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """A guest that is started again is no event of Docker's, but one of vtapd's."""
    since = f"{time.time():.3f}"
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    guest.await_page()
    guest.stop()
    selected = ("--filter", f"container={guest.id}", "--format", "{{.Action}}")
    actions = machine.docker("events", "--since", since, "--until", f"{time.time() + 1:.3f}", *selected).split("\n")
    assert actions[:2] == ["create", "start"]
    assert set(actions[2:]) == {"kill", "die", "stop"}
    logged = [line["event"] for line in vtapd.log_lines() if line.get("container") == guest.name]
    assert logged.count("guest_exited") == 2
