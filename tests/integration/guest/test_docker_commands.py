"""docker stop, restart, kill, pause and rm do to the guest what they do to a container."""

import time

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import netns_links, qemus_of
from tests.harness.processes import is_alive, kill_and_await
from tests.harness.waiting import eventually, holds_for

DOCKERS_PATIENCE_S = 30


def test_stop_ends_the_guest_at_once(vtapd: Daemon, containers: Containers) -> None:
    """rumprun has no graceful stop, so docker stop does not wait for its timeout."""
    guest = containers.serving_guest()
    qemu = guest.qemu()
    began = time.monotonic()
    guest.stop(DOCKERS_PATIENCE_S)
    assert time.monotonic() - began < DOCKERS_PATIENCE_S / 2
    eventually(lambda: not is_alive(qemu), "QEMU is gone")
    eventually(lambda: guest.id12 not in netns_links(), "the attachment is undone")
    holds_for(lambda: not guest.is_running(), "the stop is not taken for a crash", 0.5)


def test_stop_and_start_give_a_new_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("-p", "8080:80")
    guest.stop()
    again = guest.start()
    again.await_page()
    assert again.info()["mac"] == again.endpoint.mac
    assert again.machine.http("http://127.0.0.1:8080/").status == 200


def test_restart_gives_a_new_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu, pid = guest.qemu(), guest.pid
    guest.machine.docker("restart", "-t", "0", guest.id)
    again = guest.restarted()
    again.await_page()
    assert again.pid != pid
    assert not is_alive(qemu)
    assert again.qemu() != qemu
    assert vtapd.metrics().exits(guest.name, "guest-reset") == 0


def test_kill_ends_the_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    guest.machine.docker("kill", guest.id)
    eventually(lambda: not is_alive(qemu), "QEMU is gone")
    eventually(lambda: guest.id12 not in netns_links(), "the attachment is undone")
    assert not guest.is_running()


def answers(guest: Container) -> bool:
    try:
        return guest.get("/", 0.5).status == 200
    except OSError:
        return False


def test_pause_freezes_the_guest_and_unpause_continues_it(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    qemu = guest.qemu()
    guest.machine.docker("pause", guest.id)
    try:
        assert not answers(guest)
        containers.run().await_attached()  # a frozen guest does not delay other containers
        assert "docker unpause" in str(vtapd.await_state(guest.name, "paused").reason)
        assert vtapd.metrics().states().get("paused") == 1
        assert guest.qemu() == qemu
        vtapd.kill()
        vtapd.start()
        vtapd.await_state(guest.name, "paused")
    finally:
        guest.machine.docker("unpause", guest.id)
    eventually(lambda: answers(guest), "the guest continues")
    vtapd.await_state(guest.name, "running")
    assert guest.qemu() == qemu
    assert vtapd.metrics().exits(guest.name) == 0


def test_paused_container_can_be_removed(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.machine.docker("pause", guest.id)
    guest.remove()
    eventually(lambda: not qemus_of(guest.id), "QEMU is gone")


def test_container_can_be_removed_while_its_guest_boots(vtapd: Daemon, containers: Containers) -> None:
    for _ in range(3):
        containers.guest().remove()
    containers.serving_guest()


def test_container_restarted_by_docker_gets_its_guest_again(vtapd: Daemon, containers: Containers) -> None:
    """Docker's restart policy restarts the container after its init was killed."""
    guest = containers.guest("--restart", "always")
    guest.await_page()
    pid = guest.pid
    kill_and_await(pid)
    eventually(lambda: guest.restarted().pid not in (0, pid), "Docker started it again")
    guest.restarted().await_page()
