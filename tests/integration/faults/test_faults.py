"""The environment fails: containers that disappear, Docker that restarts, QEMU or capabilities that are missing."""

import json
import threading
from collections.abc import Iterator

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.footprint import await_nothing_left, descriptor_count
from tests.harness.machine import Machine
from tests.harness.observe import netns_links, network, qemus_of
from tests.harness.waiting import eventually

LIVES = 30
SLACK = 3  # descriptors that a connection to Docker or a scrape may hold at that moment

WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--")


def test_containers_killed_during_the_attach_are_cleaned_up(vtapd: Daemon, containers: Containers) -> None:
    """Start and kill two containers in parallel, with a guest and without, at varying moments."""
    victims = [containers.create(), containers.create(labels={"vtapd.kernel": "/hello.bin"})]

    def start_and_kill(index: int) -> None:
        for _ in range(LIVES // len(victims)):
            victims[index].machine.docker("start", victims[index].id)
            victims[index].machine.docker("kill", victims[index].id, check=False)

    threads = [threading.Thread(target=start_and_kill, args=(index,)) for index in range(len(victims))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vtapd.is_running()
    for victim in victims:
        # The lambda's default binds the loop's name.
        eventually(lambda one=victim: one.id12 not in netns_links(), "nothing is left of it")  # type: ignore[misc]  # mypy cannot type such a default
        assert not qemus_of(victim.id)
    victims[0].start().await_attached()
    victims[1].start().await_page()


def test_containers_that_end_at_once_do_no_harm(vtapd: Daemon, containers: Containers) -> None:
    for _ in range(5):
        containers.run("--rm", command=("/bin/true",))
    containers.run().await_attached()


def test_descriptors_do_not_leak(vtapd: Daemon, containers: Containers) -> None:
    def start_crash_remove() -> None:
        guest = containers.serving_guest()
        guest.trigger("/crash")
        eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
        guest.remove()
        eventually(lambda: not vtapd.metrics().of_container(guest.name), "the daemon has forgotten it")

    start_crash_remove()
    before = descriptor_count(vtapd.pid)
    for _ in range(4):
        start_crash_remove()
    eventually(lambda: descriptor_count(vtapd.pid) <= before + SLACK, f"about {before} descriptors, as before")


@pytest.fixture
def live_restore(machine: Machine) -> Iterator[None]:
    machine.dockerd.set_live_restore(True)
    yield
    machine.dockerd.set_live_restore(False)


def connected(daemon: Daemon) -> bool:
    return daemon.metrics().value("vtapd_docker_connected") == 1


def test_docker_restart_brings_guests_back(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--restart", "always")
    plain = containers.run().await_attached()
    machine.restart_docker()
    eventually(lambda: connected(vtapd), "the daemon is connected again", 30)
    guest.restarted().await_page(30)
    eventually(lambda: plain.id12 not in netns_links(), "the container that Docker did not restart is undone")
    assert vtapd.is_running()


@pytest.mark.usefixtures("live_restore")
def test_guests_run_on_while_docker_is_down(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """With live-restore containers run on without Docker; so do their guests, and crashes are still handled."""
    guest = containers.serving_guest()
    qemu = guest.qemu()
    address = guest.address
    machine.dockerd.stop()
    try:
        eventually(lambda: not connected(vtapd), "the daemon has noticed")
        assert machine.http(f"http://{address}/").status == 200
        assert guest.qemu() == qemu
    finally:
        machine.dockerd.start()
    eventually(lambda: connected(vtapd), "the daemon is connected again", 30)
    assert guest.qemu() == qemu
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "the crashed guest is restarted")
    containers.run().await_attached()


@pytest.mark.vtapd_config(guest={"qemu": "/nonexistent/qemu"})
def test_missing_qemu_leaves_the_container_its_network(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest(on_exit="keep")
    before = guest.address
    view = vtapd.await_state(guest.name, "failed")
    assert "/nonexistent/qemu" in view.message
    assert guest.name in view.message
    eventually(
        lambda: any(address.startswith(before) for address in network(guest.pid).addresses),
        "the container keeps its network",
    )
    assert guest.is_running()
    containers.run().await_attached()


def test_missing_capability_is_reported(
    no_vtapd: None, machine: Machine, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    daemon = Daemon(machine, {}, WITHOUT_NET_ADMIN)
    daemon.start()
    try:
        container = containers.run()
        guest = containers.guest()

        def log_line() -> str:
            return next(
                text for text in map(json.dumps, daemon.log_lines()) if container.name in text and "CAP_" in text
            )

        assert "CAP_NET_ADMIN" in eventually(log_line, "a log line that names the container and the missing right")
        assert "CAP_NET_ADMIN" in daemon.inspect(container.name).message
        assert daemon.metrics().value("vtapd_attach_failures_total") > 0
        for one in (container, guest):
            assert one.is_running()
            assert any(address.startswith(one.address) for address in network(one.pid).addresses)
        containers.remove_all()
        await_nothing_left(machine, daemon)
        assert daemon.is_running()
        assert not daemon.bugs()
    finally:
        daemon.stop()
