"""Graceful stops, pauses that are not hangs, and containers that change while their guest runs."""

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
    """Stop a container, and return the seconds that `docker stop` took."""
    began = time.monotonic()
    guest.stop(patience_s)
    return time.monotonic() - began


def endings(daemon: Daemon, guest: Container) -> list[object]:
    """Return the exit reasons in the log, which outlives the container."""
    lines = [line for line in daemon.log_lines() if line.get("container") == guest.name]
    return [line["reason"] for line in lines if line.get("event") == "guest_exited"]


def test_guest_that_ignores_the_power_button_is_killed_at_its_deadline(vtapd: Daemon, containers: Containers) -> None:
    """As kind raw, the test guest is stopped by the power button, for which it has no handler."""
    guest = containers.guest(guest="raw", stop_timeout="1s")
    eventually(lambda: "hello:" in guest.logs(), "it has booted", PATIENCE_S)
    vtapd.await_state(guest.name, "running")
    assert 1.0 <= stop(guest) < DOCKERS_PATIENCE_S / 2
    eventually(lambda: endings(vtapd, guest) == ["stopped"], "the exit reason is stopped")


def test_rapid_restarts_leave_one_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    for _ in range(5):
        guest.machine.docker("restart", "-t", "0", guest.id)
    again = guest.restarted()
    again.await_page()
    assert len(qemus_of(guest.id)) == 1
    assert set(endings(vtapd, guest)) <= {"stopped", "container-gone"}
    view = vtapd.inspect(guest.name).only_guest
    assert (view.restarts, view.history) == (0, []), "an exit of an earlier run was counted"


@pytest.mark.vtapd_config(**QUICK)
def test_long_pause_is_not_a_hang(vtapd: Daemon, containers: Containers) -> None:
    """A serving guest, a booting guest, and a daemon that has never seen the guest run."""
    serving, booting = containers.serving_guest(), containers.guest()
    for guest in (booting, serving):
        guest.machine.docker("pause", guest.id)
    qemu, booting_qemus = serving.qemu(), qemus_of(booting.id)
    holds_for(lambda: serving.qemu() == qemu, "the paused guest is not replaced", 3 * HANG_AFTER_S)
    vtapd.kill()
    vtapd.start()
    holds_for(lambda: serving.qemu() == qemu, "the next daemon does not replace it either", 3 * HANG_AFTER_S)
    for guest in (serving, booting):
        guest.machine.docker("unpause", guest.id)
    for guest in (serving, booting):
        guest.await_page()
        assert not endings(vtapd, guest)
    assert serving.qemu() == qemu
    assert not booting_qemus or [booting.qemu()] == booting_qemus


@pytest.mark.vtapd_config(**QUICK)
def test_silent_qemu_is_killed_and_replaced(vtapd: Daemon, containers: Containers) -> None:
    """No pause explains its silence. One was known to this daemon, one only to the last daemon."""
    guest = containers.serving_guest()
    os.kill(old := guest.qemu(), signal.SIGSTOP)
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 1, "the hang is noticed", PATIENCE_S)
    guest.await_page()
    assert not is_alive(old)
    vtapd.kill()
    os.kill(old := guest.qemu(), signal.SIGSTOP)
    vtapd.start()
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 2, "the second hang is noticed", PATIENCE_S)
    guest.await_page()
    assert not is_alive(old)
    assert len(qemus_of(guest.id)) == 1


def test_guest_returns_when_its_network_is_connected_again(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--network", network := containers.network("--subnet", "192.168.77.0/24"))
    address = guest.address
    guest.machine.docker("network", "disconnect", network, guest.id)
    eventually(lambda: not qemus_of(guest.id), "the guest without a tap is stopped", PATIENCE_S)
    assert guest.is_running()
    guest.machine.docker("network", "connect", "--ip", address, network, guest.id)
    again = guest.restarted()
    again.await_page()
    assert again.address == address
    assert again.info()["mac"] == again.endpoint.mac
    assert vtapd.await_state(guest.name, "running").only_guest.restarts <= 1
    assert len(qemus_of(guest.id)) == 1


def test_renamed_container_has_its_new_name_everywhere(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
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


def test_changed_memory_limit_does_not_disturb_the_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--memory", "100m", "--memory-swap", "100m")
    qemu = guest.qemu()
    guest.machine.docker("update", "--memory", "120m", "--memory-swap", "120m", guest.id)
    holds_for(lambda: guest.qemu() == qemu and guest.get().status == 200, "the guest runs on", 0.5)


def test_changed_memory_limit_applies_at_the_next_start(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--memory", "100m", "--memory-swap", "100m")
    guest.machine.docker("update", "--memory", "120m", "--memory-swap", "120m", guest.id)
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    guest.await_page()
    assert vtapd.inspect(guest.name).only_guest.memory_mib == 120 - 48
    assert guest.info()["memory_bytes"] > 52 * 2**20


WATCHED = {"alive": "tcp:80,every=300ms,fails=2"}


@pytest.mark.vtapd_config(**QUICK)
def test_throttled_guest_does_not_hang_until_it_does(vtapd: Daemon, containers: Containers) -> None:
    """At 1 % of a processor neither QEMU nor its guest answers in time. One that really hangs is noticed later."""
    guest = containers.serving_guest(**WATCHED)
    qemu = guest.qemu()
    guest.machine.docker("update", "--cpus", "0.01", guest.id)
    holds_for(lambda: guest.qemu() == qemu, "the throttled guest is not replaced", 8 * HANG_AFTER_S)
    assert not endings(vtapd, guest)
    guest.machine.docker("update", "--cpus", "0.5", guest.id)
    guest.await_page()
    guest.trigger("/hang")
    eventually(lambda: endings(vtapd, guest) == ["hang"], "the hang is noticed", 2 * PATIENCE_S)


@pytest.mark.both_cgroups
@pytest.mark.vtapd_config(**QUICK)
def test_short_pauses_are_no_hang(vtapd: Daemon, containers: Containers) -> None:
    """Each begins and ends while a probe waits for its answer, or between two."""
    guest = containers.serving_guest(**WATCHED)
    qemu = guest.qemu()
    until = time.monotonic() + 4 * HANG_AFTER_S
    while time.monotonic() < until:
        guest.machine.docker("pause", guest.id)
        time.sleep(0.25)
        guest.machine.docker("unpause", guest.id)
    assert guest.qemu() == qemu
    guest.await_page()
    assert not endings(vtapd, guest)
