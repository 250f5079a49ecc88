"""The harness itself: a Machine leaves nothing behind. All other tests depend on that."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.chain import assert_attached, attach_by_hand, detach_by_hand, guest_by_hand
from tests.harness.containers import Containers
from tests.harness.daemon import environment
from tests.harness.dockerd import View
from tests.harness.footprint import NOTHING, footprint
from tests.harness.machine import PREFIX, REPOSITORY, Machine, sweep
from tests.harness.observe import network
from tests.harness.processes import all_pids, command_line, descriptors_of_device, open_files
from tests.harness.waiting import eventually


def traces(owner: int) -> dict[str, object]:
    """Return what exists now of everything that this process's Machines make; what others make does not count."""
    mark = f"{PREFIX}{owner}-"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "processes": sorted(" ".join(line) for pid in all_pids() if mark in str(line := command_line(pid))),
        "mounts": sorted(point for point in mounts if mark in point),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{mark}*")),
        "files": sorted(str(path) for path in Path("/tmp").glob(f"{mark}*")),
        "descriptors": len(open_files(os.getpid())),
    }


def network_of(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def namespaces_in_use() -> set[str]:
    found = set()
    for pid in all_pids():
        with suppress(OSError):
            found.add(network_of(pid))
    return found


@pytest.mark.parametrize(("view", "times"), [("host", 2), ("v2", 1), ("remapped", 1)])
def test_machine_leaves_nothing_behind(view: View, times: int) -> None:
    for _ in range(times):
        use_machine(view)


def use_machine(view: View) -> None:
    before = traces(os.getpid())
    with Machine(view) as machine:
        container = machine.docker("run", "-d", "-p", "8080:80", machine.image, "/bin/httpd", "-f", "-h", "/www")
        address = machine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", container)
        page = eventually(lambda: machine.http(f"http://{address}/"), "a container's own httpd answers")
        assert page.body == "the container's own page\n"
        assert machine.http("http://127.0.0.1:8080/").status == 200
        assert address.startswith("172.17.0.")
        if view == "v2":
            assert machine.docker("info", "-f", "{{.CgroupVersion}}") == "2"
        pids = (machine.dockerd.pid, machine.docker("inspect", "-f", "{{.State.Pid}}", container))
        namespaces = {network_of(pid) for pid in pids}
        assert len(namespaces | {network_of("self")}) == 3
    eventually(lambda: traces(os.getpid()) == before, "everything is as before")
    eventually(lambda: not namespaces & namespaces_in_use(), "the machine's and the container's networks are gone")


@pytest.mark.alone  # setting up a machine removes leftovers, too
def test_leftovers_of_a_killed_run_are_removed() -> None:
    """pytest may be killed at any time; the next run removes what it left, including containers."""
    program = "from tests.harness.machine import *; m = Machine().__enter__(); m.docker('run', '-d', m.image); print(1)"
    argv = [sys.executable, "-c", program + "; import time; time.sleep(60)"]
    with subprocess.Popen(
        argv, cwd=REPOSITORY, stdout=subprocess.PIPE, env=environment(PYTHONUNBUFFERED="1")
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"1\n"
        killed.kill()
    left = traces(killed.pid)
    assert left["files"]
    assert left["cgroups"]
    sweep()
    nothing = {name: value if name == "descriptors" else [] for name, value in left.items()}
    eventually(lambda: traces(killed.pid) == nothing, "all of the killed run is gone")


def test_observers_see_what_was_attached_by_hand(no_vtapd: None, machine: Machine, containers: Containers) -> None:
    """This shows that a failing test fails because of the daemon, and that a passing test has really checked."""
    one, two = containers.run(), containers.run()
    assert one.is_untouched()
    assert footprint(machine, machine.run_dir) == NOTHING
    for container in (one, two):
        attach_by_hand(container)
        assert_attached(container)
        assert not container.is_untouched()
        assert container.opens("/dev/tap0")
    major, minor = two.tap_device()
    one.exec("mknod", "/tmp/neighbour", "c", str(major), str(minor))
    assert not one.opens("/tmp/neighbour")
    with (Path(f"/proc/{one.pid}/root/dev/tap0")).open("rb", buffering=0):
        assert len(descriptors_of_device(os.getpid(), one.tap_device())) == 1
    seen = footprint(machine, machine.run_dir)
    assert (seen.netns_links, len(seen.macvtaps)) == (frozenset({one.id12, two.id12}), 2)
    for container in (one, two):
        detach_by_hand(container)
        assert container.is_untouched()


def test_guest_started_by_hand_serves(no_vtapd: None, containers: Containers) -> None:
    """A takeover without the daemon: what other tests expect of guest and network is possible on this machine."""
    container = containers.run("-p", "8080:80")
    before = network(container.pid)
    attach_by_hand(container)
    with guest_by_hand(container) as qemu:
        assert "Hiya" in container.await_page().body
        assert container.machine.http("http://127.0.0.1:8080/").status == 200
        info = container.info()
        assert (info["addr"], info["mac"]) == (container.address, container.endpoint.mac)
        assert network(container.pid) != before
        container.trigger("/poweroff")
        assert qemu.wait(5) == 0
    detach_by_hand(container)
