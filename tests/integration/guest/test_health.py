"""When a guest counts as ready, and that one which stops answering is ended and replaced."""

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
    eventually(lambda: daemon.metrics().exits(guest.name, "hang") == 1, f"{guest.name} hangs", PATIENCE_S)


@pytest.mark.parametrize("how", ["tcp:80", "ping", "console:serving on .*:80$"])
def test_ready(vtapd: Daemon, containers: Containers, how: str) -> None:
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
    assert readies(vtapd) == 0, "it was counted when it became so"
    guest.tell("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    assert readies(vtapd) == 1


@pytest.mark.parametrize("how", ["tcp:81", "console:never said"])
def test_not_ready(vtapd: Daemon, containers: Containers, how: str) -> None:
    guest = containers.serving_guest(ready=how)
    holds_for(lambda: vtapd.inspect(guest.name).state == "running", "it runs, and is not ready", 1.0)


@pytest.mark.vtapd_config(guest={"hang_after": "3s"})
@pytest.mark.parametrize("how", ["tcp:80", "ping"])
def test_a_guest_that_stops_answering_is_replaced(vtapd: Daemon, containers: Containers, how: str) -> None:
    guest, neighbour = containers.serving_guest(alive=f"{how},{QUICK}"), containers.serving_guest(alive="ping")
    old, other = guest.qemu(), neighbour.qemu()
    holds_for(lambda: guest.qemu() == old, "one that answers is left alone", 1.0)
    guest.tell("/hang")
    await_hang(vtapd, guest)
    guest.await_page(PATIENCE_S)
    assert guest.qemu() != old
    assert neighbour.qemu() == other
    vtapd.kill()
    guest.tell("/hang")
    vtapd.start()
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 2, "the next daemon asks it too", PATIENCE_S)
    guest.await_page(PATIENCE_S)


HEALTH = ("test -e /dev/vtapd-ready", "--health-interval=200ms", "--health-retries=2", "--health-start-period=5s")


def await_health(guest: Container, status: str) -> None:
    eventually(lambda: guest.docker_state()["Health"]["Status"] == status, f"{guest.name} is {status}", PATIENCE_S)


@pytest.mark.both_cgroups
def test_a_container_is_healthy_while_its_guest_is_ready(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest("--health-cmd", *HEALTH, ready="tcp:80", restart="no", on_exit="keep")
    await_health(guest, "healthy")
    assert vtapd.inspect(guest.name).state == "ready"
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-ready")
    assert (mark.stat().st_uid, stat.filemode(mark.stat().st_mode)) == (0, "-r--r--r--")
    vtapd.kill()
    assert mark.exists(), "the guest is ready, daemon or not"
    vtapd.start()
    vtapd.await_state(guest.name, "ready")
    assert mark.exists()
    guest.tell("/crash")
    await_health(guest, "unhealthy")
    assert not mark.exists()


def test_without_a_question_a_guest_is_ready_when_it_runs(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest()
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-ready")
    eventually(mark.exists, "it is called ready", PATIENCE_S)
    vtapd.command("detach", guest.name)
    assert not mark.exists()


def test_a_name_that_is_taken_does_not_end_the_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.run(
        labels={"vtapd.kernel": "/hello.bin"}, command=("sh", "-c", "mkdir /dev/vtapd-ready; sleep 999")
    )
    guest.await_page()
    eventually(lambda: "/dev/vtapd-ready" in str(vtapd.inspect(guest.name).reason), "it is told of", PATIENCE_S)
    assert guest.get().status == 200
    guest.exec("rmdir", "/dev/vtapd-ready")
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-ready")
    eventually(mark.is_file, "it is made", PATIENCE_S)
    assert vtapd.metrics().exits(guest.name) == 0


def test_one_that_never_is_never_healthy(vtapd: Daemon, containers: Containers) -> None:
    late, rejected = (
        containers.guest("--health-cmd", *HEALTH, **labels) for labels in ({"ready": "tcp:81"}, {"kernel": "/none"})
    )
    for each in (late, rejected):
        await_health(each, "unhealthy")


def test_a_pause_is_no_silence(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(alive=f"tcp:80,{QUICK}")
    qemu = guest.qemu()
    guest.machine.docker("pause", guest.id)
    holds_for(lambda: qemus_of(guest.id) == [qemu], "it is left alone", 1.5)
    guest.machine.docker("unpause", guest.id)
    guest.await_page()
    assert guest.qemu() == qemu


def test_one_that_never_answers_has_its_time_to_boot(vtapd: Daemon, containers: Containers) -> None:
    """[guest] hang_after of it, and no less though its questions come faster."""
    guest = containers.serving_guest(alive=f"tcp:81,{QUICK}")
    holds_for(lambda: not vtapd.metrics().exits(guest.name), "nothing has ended", 2.0)


@pytest.mark.vtapd_config(guest={"hang_after": "1s"})
def test_and_no_more_than_that(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(alive=f"tcp:81,{QUICK}")
    await_hang(vtapd, guest)
