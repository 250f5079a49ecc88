"""Which containers are attached, and what the others are told."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually


def assert_skipped(daemon: Daemon, container: Container, *words: str) -> None:
    """Once a container that started later is attached, this one was looked at: it was left alone, with a reason."""
    view = eventually(lambda: daemon.inspect(container.name), f"{container.name} is known")
    assert view.state == "detached", view
    for word in words:
        assert word in view.message, f"the reason names {word}: {view.message!r}"
    assert not [tap for tap in view.interfaces if tap.tap], view.interfaces


def test_enable_false_keeps_a_container_out(vtapd: Daemon, containers: Containers) -> None:
    out = containers.run(labels={"vtapd.enable": "false", "vtapd.kernel": "/hello.bin"})
    containers.run().await_attached()
    assert_skipped(vtapd, out, "vtapd.enable")
    assert out.is_untouched()


@pytest.mark.parametrize("network", ["host", "none"])
def test_networks_that_cannot_be_attached(vtapd: Daemon, containers: Containers, network: str) -> None:
    skipped = containers.run("--network", network)
    containers.run().await_attached()
    assert_skipped(vtapd, skipped, network)


def test_a_network_shared_with_another_container(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    owner = containers.run().await_attached()
    guest_of = containers.run("--network", f"container:{owner.name}")
    containers.run().await_attached()
    assert_skipped(vtapd, guest_of, "container")
    assert len([link for link in owner.links().values() if link.macvtap_mode]) == 1


@pytest.mark.vtapd_config(attach={"containers": "labelled"})
def test_only_labelled_containers(vtapd: Daemon, containers: Containers) -> None:
    plain = containers.run()
    refused = containers.run(labels={"vtapd.enable": "false"})
    asked = containers.run(labels={"vtapd.enable": "true"})
    guest = containers.guest()
    asked.await_attached()
    guest.await_page()
    for container in (plain, refused):
        assert container.is_untouched()
    assert_skipped(vtapd, plain, "labelled")


@pytest.mark.vtapd_config(attach={"containers": "labelled"})
def test_the_choice_is_made_anew_by_the_next_daemon(
    vtapd: Daemon, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    plain = containers.run()
    containers.run(labels={"vtapd.enable": "true"}).await_attached()
    assert plain.is_untouched()
    current_daemon.get({})
    plain.await_attached()
