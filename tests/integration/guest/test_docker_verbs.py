"""docker stop, restart, kill, pause and rm do to the guest what one expects them to do to a container."""

import time

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import netns_links, qemus_of
from tests.harness.processes import is_alive, kill_and_await
from tests.harness.waiting import eventually, holds_for

DOCKERS_PATIENCE_S = 30


def test_stop(vtapd: Daemon, containers: Containers) -> None:
    """rumprun has no graceful stop, so there is nothing to wait for: docker stop need not use up its patience."""
    guest = containers.serving_guest()
    qemu = guest.qemu()
    began = time.monotonic()
    guest.stop(DOCKERS_PATIENCE_S)
    assert time.monotonic() - began < DOCKERS_PATIENCE_S / 2
    eventually(lambda: not is_alive(qemu), "QEMU is gone")
    eventually(lambda: guest.id12 not in netns_links(), "all is undone")
    holds_for(lambda: not guest.is_running(), "no crash is seen in it, nothing is restarted", 0.5)


def test_stop_and_start(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("-p", "8080:80")
    guest.stop()
    again = guest.start()
    again.await_page()
    assert again.info()["mac"] == again.endpoint.mac
    assert again.machine.http("http://127.0.0.1:8080/").status == 200


def test_restart(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu, pid = guest.qemu(), guest.pid
    guest.machine.docker("restart", "-t", "0", guest.id)
    again = guest.restarted()
    again.await_page()
    assert again.pid != pid
    assert not is_alive(qemu)
    assert again.qemu() != qemu
    assert vtapd.metrics().exits(guest.name, "guest-reset") == 0


def test_kill(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    guest.machine.docker("kill", guest.id)
    eventually(lambda: not is_alive(qemu), "QEMU is gone")
    eventually(lambda: guest.id12 not in netns_links(), "all is undone")
    assert not guest.is_running()


def answers(guest: Container) -> bool:
    try:
        return guest.get("/", 0.5).status == 200
    except OSError:
        return False


def test_pause_and_unpause(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    guest.machine.docker("pause", guest.id)
    try:
        assert not answers(guest)
        containers.run().await_attached()  # a frozen guest holds up nobody else
        assert guest.name in {row.name for row in vtapd.ps()}
        assert guest.qemu() == qemu
    finally:
        guest.machine.docker("unpause", guest.id)
    eventually(lambda: answers(guest), "it goes on where it was")
    assert guest.qemu() == qemu
    assert vtapd.metrics().exits(guest.name) == 0


def test_a_frozen_container_can_be_removed(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.machine.docker("pause", guest.id)
    guest.remove()
    eventually(lambda: not qemus_of(guest.id), "QEMU is gone")


def test_remove_while_it_boots(vtapd: Daemon, containers: Containers) -> None:
    for _ in range(3):
        containers.guest().remove()
    containers.serving_guest()


def test_docker_restart_policy_and_ours_agree(vtapd: Daemon, containers: Containers) -> None:
    """A container that Docker itself starts again gets its guest again."""
    guest = containers.guest("--restart", "always")
    guest.await_page()
    pid = guest.pid
    kill_and_await(pid)
    eventually(lambda: guest.restarted().pid not in (0, pid), "Docker started it again")
    guest.restarted().await_page()
