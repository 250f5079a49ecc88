"""The QEMU process: its privileges, namespaces, cgroup, descriptors and memory."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import cgroup_lines, qemus_of
from tests.harness.processes import descriptors_of_device, is_alive, open_files, run, status_of
from tests.harness.waiting import eventually

MOST_DESCRIPTORS = 40


@pytest.mark.both_cgroups
def test_qemu_has_no_privileges(vtapd: Daemon, containers: Containers) -> None:
    status = status_of(containers.serving_guest().qemu())
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    assert "0" not in status["Groups"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.both_cgroups
def test_qemu_runs_in_the_containers_namespaces_and_cgroup(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    for kind in ("net", "pid"):
        assert namespace(qemu, kind) == namespace(guest.pid, kind), kind
    assert cgroup_lines(qemu) == cgroup_lines(guest.pid)
    assert str(qemu) in guest.machine.docker("top", guest.id, "-o", "pid")


def namespace(pid: int, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


@pytest.mark.both_cgroups
def test_qemu_has_only_its_own_descriptors(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    guest, other = containers.serving_guest(), containers.serving_guest()
    qemu = guest.qemu()
    files = open_files(qemu)
    assert len(files) <= MOST_DESCRIPTORS, files
    assert len(descriptors_of_device(qemu, guest.tap_device())) == 1, files
    assert descriptors_of_device(qemu, other.tap_device()) == [], files
    targets = set(files.values())
    assert not {target for target in targets if str(machine.home) in target}, "QEMU has a file of the daemon open"
    assert not {target for target in targets if Path(target).is_dir()}, "QEMU has a directory of the host open"


def test_daemon_has_no_second_descriptor_of_the_tap(vtapd: Daemon, containers: Containers) -> None:
    """The daemon may keep the guest's open file for the next QEMU; a second one would receive some of the packets."""
    guest = containers.serving_guest()
    assert len(descriptors_of_device(vtapd.pid, guest.tap_device())) <= 1


def test_memory_and_cpus_are_those_of_the_labels(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(memory="24M", cpus="2")
    assert 23 * 2**20 <= guest.info()["memory_bytes"] <= 24 * 2**20
    view = vtapd.inspect(guest.name).only_guest
    assert (view.memory_mib, view.cpus) == (24, 2)


def test_memory_is_the_containers_limit_less_the_overhead(vtapd: Daemon, containers: Containers) -> None:
    """Without a label the guest gets the limit less QEMU's overhead, which is 48M in these tests."""
    guest = containers.serving_guest("--memory", "100m")
    assert vtapd.inspect(guest.name).only_guest.memory_mib == 52
    assert guest.info()["memory_bytes"] <= 52 * 2**20


def test_qemu_ends_with_its_container_without_a_daemon(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    vtapd.kill()
    try:
        assert is_alive(qemu)
        assert guest.get().status == 200
        guest.stop()
        eventually(lambda: not is_alive(qemu), "the kernel killed QEMU with its pid namespace")
    finally:
        vtapd.start()


def test_next_daemon_adopts_the_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it was restarted once")
    guest.await_page()
    qemu = guest.qemu()
    vtapd.stop()
    assert guest.get().status == 200
    vtapd.start()
    view = vtapd.await_state(guest.name, "running", "ready").only_guest
    assert (view.pid, view.restarts) == (qemu, 1)
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 2, "an adopted guest's crash is noticed")
    guest.await_page()
    assert len(qemus_of(guest.id)) == 1


SPAWN = """
import os, sys
from pathlib import Path
import anyio
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.edges.qemu.spawn import find_user
from supervisor.guest.reaper import Reaper
async def start() -> None:
    reaper = Reaper(Path(sys.argv[1]).parent)
    folder = os.open("/", os.O_RDONLY)
    (await reaper.spawn(SpawnOrder(sys.argv[1], sys.argv[1:], find_user("nobody"), folder))).kill()
    reaper.close()
anyio.run(start)
"""


def test_qemu_starts_if_proc_hides_other_processes() -> None:
    """The child that becomes QEMU has dropped its rights, so /proc hides a program from it that it may not read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = shutil.copy(shutil.which("sleep") or "", folder)
        Path(program).chmod(0o711)
        hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
        run(["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c", SPAWN, program, "5"])
