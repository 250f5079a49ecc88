"""The QEMU process: what it may do, where it lives, and what it has been given."""

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
def test_it_has_no_privileges(vtapd: Daemon, containers: Containers) -> None:
    status = status_of(containers.serving_guest().qemu())
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    assert "0" not in status["Groups"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.both_cgroups
def test_it_lives_in_the_container(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    for kind in ("net", "pid"):
        assert namespace(qemu, kind) == namespace(guest.pid, kind), kind
    assert cgroup_lines(qemu) == cgroup_lines(guest.pid)
    assert str(qemu) in guest.machine.docker("top", guest.id, "-o", "pid")


def namespace(pid: int, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


@pytest.mark.both_cgroups
def test_its_descriptors_are_its_own(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    guest, other = containers.serving_guest(), containers.serving_guest()
    qemu = guest.qemu()
    files = open_files(qemu)
    assert len(files) <= MOST_DESCRIPTORS, files
    assert len(descriptors_of_device(qemu, guest.tap_device())) == 1, files
    assert descriptors_of_device(qemu, other.tap_device()) == [], files
    targets = set(files.values())
    assert not {target for target in targets if str(machine.home) in target}, "no Docker socket, no log of the daemon"
    assert not {target for target in targets if Path(target).is_dir()}, "no way to the host's files"


def test_the_daemon_listens_to_no_tap(vtapd: Daemon, containers: Containers) -> None:
    """It may keep the guest's own open file for the next QEMU, but no second one: each takes a share of the packets."""
    guest = containers.serving_guest()
    assert len(descriptors_of_device(vtapd.pid, guest.tap_device())) <= 1


def test_memory_and_cpus_are_as_asked(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(memory="24M", cpus="2")
    assert 23 * 2**20 <= guest.info()["memory_bytes"] <= 24 * 2**20
    view = vtapd.inspect(guest.name).only_guest
    assert (view.memory_mib, view.cpus) == (24, 2)


def test_memory_of_a_limited_container(vtapd: Daemon, containers: Containers) -> None:
    """Without a label the guest gets the limit less QEMU's own need, which is 48M in these tests."""
    guest = containers.serving_guest("--memory", "100m")
    assert vtapd.inspect(guest.name).only_guest.memory_mib == 52
    assert guest.info()["memory_bytes"] <= 52 * 2**20


def test_it_ends_with_the_container_though_the_daemon_is_dead(vtapd: Daemon, containers: Containers) -> None:
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


def test_a_next_daemon_adopts_it(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it was restarted once")
    guest.await_page()
    qemu = guest.qemu()
    vtapd.stop()
    assert guest.get().status == 200
    vtapd.start()
    view = vtapd.await_state(guest.name, "running", "ready").only_guest
    assert (view.pid, view.restarts) == (qemu, 1)
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 2, "an adopted guest's crash is noticed")
    guest.await_page()
    assert len(qemus_of(guest.id)) == 1


SPAWN = """
import os, sys, threading
from supervisor.edges.kernel import process
from supervisor.edges.qemu import spawn
def start() -> None:
    user, limits = spawn.find_user("nobody"), spawn.limits_of(1, alone=True)
    children.append(spawn.spawn(sys.argv[1], sys.argv[1:], (), folder, user, limits))
children = []
folder = os.open("/", os.O_RDONLY)
thread = threading.Thread(target=start)
thread.start()
thread.join()
process.watch(*children[0]).kill()
"""


def test_it_is_started_where_proc_hides_what_is_anothers() -> None:
    """The thread that starts QEMU has no rights left by then, and a program that it may not read is hidden from it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = shutil.copy(shutil.which("sleep") or "", folder)
        Path(program).chmod(0o711)
        hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
        run(["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c", SPAWN, program, "5"])
