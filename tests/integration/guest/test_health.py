"""When a guest counts as ready, and that a guest that stops answering is killed and replaced."""

import os
import signal
import stat
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import qemus_of
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 20.0
QUICK = "every=200ms,fails=2"


def readies(daemon: Daemon) -> float:
    return daemon.metrics().value("vtapd_guest_ready_seconds_count")


def await_hang(daemon: Daemon, guest: Container) -> None:
    eventually(lambda: daemon.metrics().exits(guest.name, "hang") == 1, f"{guest.name} is found to hang", PATIENCE_S)


@pytest.mark.parametrize("how", ["tcp:80", "http:80/", "ping", "console:serving on .*:80$"])
def test_guest_becomes_ready(vtapd: Daemon, containers: Containers, how: str) -> None:
    before = readies(vtapd)
    guest = containers.guest(ready=how)
    vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    assert guest.get().status == 200
    assert readies(vtapd) == before + 1
    assert vtapd.metrics().value("vtapd_guests", state="ready") == 1
    assert vtapd.metrics().guest_up(guest.name)
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "ready")
    assert readies(vtapd) == 0, "an adopted guest was counted as newly ready"
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    assert readies(vtapd) == 1


@pytest.mark.parametrize("how", ["tcp:81", "http:80/bytes?n=none", "console:never printed"])
def test_guest_that_does_not_answer_is_not_ready(vtapd: Daemon, containers: Containers, how: str) -> None:
    guest = containers.serving_guest(ready=how)
    holds_for(lambda: vtapd.inspect(guest.name).state == "running", "the guest runs and is not ready", 1.0)


@pytest.mark.vtapd_config(guest={"hang_after": "3s"})
@pytest.mark.parametrize("how", ["tcp:80", "http:80/", "ping"])
def test_guest_that_stops_answering_is_replaced(vtapd: Daemon, containers: Containers, how: str) -> None:
    guest, neighbour = containers.serving_guest(alive=f"{how},{QUICK}"), containers.serving_guest(alive="ping")
    old, other = guest.qemu(), neighbour.qemu()
    holds_for(lambda: guest.qemu() == old, "a guest that answers keeps running", 1.0)
    guest.trigger("/hang")
    await_hang(vtapd, guest)
    guest.await_page(PATIENCE_S)
    assert guest.qemu() != old
    assert neighbour.qemu() == other
    vtapd.kill()
    guest.trigger("/hang")
    vtapd.start()
    eventually(
        lambda: vtapd.metrics().exits(guest.name, "hang") == 2, "the next daemon notices the hang, too", PATIENCE_S
    )
    guest.await_page(PATIENCE_S)


HEALTH = ("test -e /dev/vtapd-ready", "--health-interval=200ms", "--health-retries=2", "--health-start-period=5s")


def await_health(guest: Container, status: str) -> None:
    eventually(lambda: guest.docker_state()["Health"]["Status"] == status, f"{guest.name} is {status}", PATIENCE_S)


@pytest.mark.both_cgroups
def test_container_is_healthy_while_its_guest_is_ready(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest("--health-cmd", *HEALTH, ready="tcp:80", restart="no", on_exit="keep")
    await_health(guest, "healthy")
    assert vtapd.inspect(guest.name).state == "ready"
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-ready")
    assert (mark.stat().st_uid, stat.filemode(mark.stat().st_mode)) == (0, "-r--r--r--")
    vtapd.kill()
    assert mark.exists(), "the mark is gone with the daemon"
    vtapd.start()
    vtapd.await_state(guest.name, "ready")
    assert mark.exists()
    guest.trigger("/crash")
    await_health(guest, "unhealthy")
    assert not mark.exists()


BY_INIT = ("--health-cmd", "/vtapd-init ready", *HEALTH[1:])


@pytest.mark.both_cgroups
def test_hung_guest_is_not_healthy(vtapd: Daemon, containers: Containers) -> None:
    """Neither while it does not answer, nor after it was ended. Docker's own retries bear with a lost answer."""
    silent = containers.guest_behind_init(*BY_INIT, ready="tcp:80", alive="tcp:80,every=200ms,fails=999")
    ended = containers.guest_behind_init(*BY_INIT, alive="http:80/,every=200ms,fails=2", restart="no", on_exit="keep")
    for guest in (silent, ended):
        await_health(guest, "healthy")
    qemu = silent.qemu()
    os.kill(qemu, signal.SIGSTOP)
    try:
        ended.trigger("/hang")
        for guest in (silent, ended):
            await_health(guest, "unhealthy")
        view = vtapd.inspect(silent.name)
        assert (view.state, view.reason) == (
            "running",
            "its guest does not answer vtapd.alive=tcp:80,every=0.2s,fails=999",
        )
        assert vtapd.await_state(ended.name, "failed").only_guest.history[-1].reason == "hang"
    finally:
        os.kill(qemu, signal.SIGCONT)
    await_health(silent, "healthy")
    vtapd.await_state(silent.name, "ready")
    assert silent.qemu() == qemu


def test_guest_that_never_answers_is_not_healthy(vtapd: Daemon, containers: Containers) -> None:
    """Without `vtapd.ready` it counts as ready once it answers `vtapd.alive`."""
    guest = containers.guest_behind_init(*BY_INIT, alive="tcp:81,every=5s")
    guest.await_page()
    await_health(guest, "unhealthy")
    assert vtapd.inspect(guest.name).state == "running"


def test_guest_without_a_ready_label_is_ready_when_it_runs(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest()
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-ready")
    eventually(mark.exists, "the guest is marked ready", PATIENCE_S)
    vtapd.request("detach", guest.name)
    assert not mark.exists()


def test_taken_name_of_the_ready_mark_is_reported(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.run(
        labels={"vtapd.kernel": "/hello.bin"}, command=("sh", "-c", "mkdir /dev/vtapd-ready; sleep 999")
    )
    guest.await_page()
    eventually(
        lambda: "/dev/vtapd-ready" in str(vtapd.inspect(guest.name).reason), "the taken name is reported", PATIENCE_S
    )
    assert guest.get().status == 200
    guest.exec("rmdir", "/dev/vtapd-ready")
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-ready")
    eventually(mark.is_file, "the mark is made", PATIENCE_S)
    assert vtapd.metrics().exits(guest.name) == 0


def test_container_whose_guest_never_gets_ready_is_unhealthy(vtapd: Daemon, containers: Containers) -> None:
    late, rejected = (
        containers.guest("--health-cmd", *HEALTH, **labels) for labels in ({"ready": "tcp:81"}, {"kernel": "/none"})
    )
    for each in (late, rejected):
        await_health(each, "unhealthy")


def test_paused_guest_does_not_count_as_silent(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(alive=f"tcp:80,{QUICK}")
    qemu = guest.qemu()
    guest.machine.docker("pause", guest.id)
    holds_for(lambda: qemus_of(guest.id) == [qemu], "the paused guest keeps running", 1.5)
    guest.machine.docker("unpause", guest.id)
    guest.await_page()
    assert guest.qemu() == qemu


def test_guest_that_never_answers_has_its_time_to_boot(vtapd: Daemon, containers: Containers) -> None:
    """It has the time of [guest] hang_after, even if its probes come more often."""
    guest = containers.serving_guest(alive=f"tcp:81,{QUICK}")
    holds_for(lambda: not vtapd.metrics().exits(guest.name), "no guest has ended", 2.0)


@pytest.mark.vtapd_config(guest={"hang_after": "1s"})
def test_guest_that_never_answers_is_replaced_after_its_time_to_boot(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(alive=f"tcp:81,{QUICK}")
    await_hang(vtapd, guest)
