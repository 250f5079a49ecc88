"""Ends that come when the guest is done, pauses that are no hang, and containers that change while their guest runs."""

import os
import signal
import time

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import qemus_of
from tests.harness.processes import is_alive
from tests.harness.waiting import eventually, holds_for

DOCKERS_PATIENCE_S = 60
PATIENCE_S = 15.0
HANG_AFTER_S = 1.0
QUICK = {"guest": {"hang_after": f"{HANG_AFTER_S:g}s"}, "attach": {"resync": "500ms"}}


def stop(guest: Container, patience_s: int = DOCKERS_PATIENCE_S) -> float:
    """Seconds that `docker stop` took."""
    began = time.monotonic()
    guest.stop(patience_s)
    return time.monotonic() - began


def endings(daemon: Daemon, guest: Container) -> list[object]:
    """The reasons in the log, which outlives the container."""
    lines = [line for line in daemon.log_lines() if line.get("container") == guest.name]
    return [line["reason"] for line in lines if line.get("event") == "guest_exited"]


def test_a_guest_that_does_not_hear_is_killed_at_its_deadline(vtapd: Daemon, containers: Containers) -> None:
    """Of kind raw, the test guest is asked by the power button, for which it has no handler."""
    guest = containers.guest(guest="raw", stop_timeout="1s")
    eventually(lambda: "hello:" in guest.logs(), "it has booted", PATIENCE_S)
    vtapd.await_state(guest.name, "running")
    assert 1.0 <= stop(guest) < DOCKERS_PATIENCE_S / 2
    eventually(lambda: endings(vtapd, guest) == ["stopped"], "the end was the operator's")


def test_restarts_in_a_tight_loop(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    for _ in range(5):
        guest.machine.docker("restart", "-t", "0", guest.id)
    again = guest.restarted()
    again.await_page()
    assert len(qemus_of(guest.id)) == 1
    assert set(endings(vtapd, guest)) <= {"stopped", "container-gone"}
    view = vtapd.inspect(guest.name).only_guest
    assert (view.restarts, view.history) == (0, []), "each run of the container is a new one for its guest"


@pytest.mark.vtapd_config(**QUICK)
def test_a_long_pause_is_no_hang(vtapd: Daemon, containers: Containers) -> None:
    """Neither one of a guest that serves, nor one during its boot, nor when a daemon comes that never saw it run."""
    serving, booting = containers.serving_guest(), containers.guest()
    for guest in (booting, serving):
        guest.machine.docker("pause", guest.id)
    qemu, booting_qemus = serving.qemu(), qemus_of(booting.id)
    holds_for(lambda: serving.qemu() == qemu, "it is left alone", 3 * HANG_AFTER_S)
    vtapd.kill()
    vtapd.start()
    holds_for(lambda: serving.qemu() == qemu, "the next daemon leaves it alone too", 3 * HANG_AFTER_S)
    for guest in (serving, booting):
        guest.machine.docker("unpause", guest.id)
    for guest in (serving, booting):
        guest.await_page()
        assert not endings(vtapd, guest)
    assert serving.qemu() == qemu
    assert not booting_qemus or [booting.qemu()] == booting_qemus


@pytest.mark.vtapd_config(**QUICK)
def test_a_qemu_that_is_silent_is_ended_and_replaced(vtapd: Daemon, containers: Containers) -> None:
    """The other side of it: one that no pause explains, known to this daemon or only to the last one."""
    guest = containers.serving_guest()
    os.kill(old := guest.qemu(), signal.SIGSTOP)
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 1, "it hangs", PATIENCE_S)
    guest.await_page()
    assert not is_alive(old)
    vtapd.kill()
    os.kill(old := guest.qemu(), signal.SIGSTOP)
    vtapd.start()
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 2, "it hangs again", PATIENCE_S)
    guest.await_page()
    assert not is_alive(old)
    assert len(qemus_of(guest.id)) == 1


def test_a_guest_comes_back_with_its_network(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--network", network := containers.network("--subnet", "192.168.77.0/24"))
    address = guest.address
    guest.machine.docker("network", "disconnect", network, guest.id)
    eventually(lambda: not qemus_of(guest.id), "there is no guest without its tap", PATIENCE_S)
    assert guest.is_running()
    guest.machine.docker("network", "connect", "--ip", address, network, guest.id)
    again = guest.restarted()
    again.await_page()
    assert again.address == address
    assert again.info()["mac"] == again.endpoint.mac
    assert vtapd.await_state(guest.name, "running").only_guest.restarts <= 1
    assert len(qemus_of(guest.id)) == 1


def test_a_new_name_is_everywhere(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "one restart", PATIENCE_S)
    guest.await_page()
    qemu, new = guest.qemu(), f"{guest.name}-renamed"
    before = vtapd.metrics().of_container(guest.name)
    guest.machine.docker("rename", guest.name, new)
    eventually(lambda: vtapd.metrics().of_container(new) == before, "each series has the new name")
    assert not vtapd.metrics().of_container(guest.name)
    assert vtapd.metrics().restarts(new) == 1
    assert [row.name for row in vtapd.ps()] == [new]
    assert vtapd.inspect(new).id == guest.id
    assert guest.qemu() == qemu


def test_another_memory_limit_leaves_the_guest_alone(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--memory", "100m", "--memory-swap", "100m")
    qemu = guest.qemu()
    guest.machine.docker("update", "--memory", "120m", "--memory-swap", "120m", guest.id)
    holds_for(lambda: guest.qemu() == qemu and guest.get().status == 200, "the guest runs on", 0.5)


def test_another_memory_limit_is_for_the_next_start(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--memory", "100m", "--memory-swap", "100m")
    guest.machine.docker("update", "--memory", "120m", "--memory-swap", "120m", guest.id)
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    guest.await_page()
    assert vtapd.inspect(guest.name).only_guest.memory_mib == 120 - 48
    assert guest.info()["memory_bytes"] > 52 * 2**20
