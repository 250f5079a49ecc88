"""Which containers are attached, and the reason that is reported for the others."""

from typing import Any  # lines of the log

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually


def assert_skipped(daemon: Daemon, container: Container, *words: str) -> None:
    """Assert that the container was left alone with a reason. Call it after a later container was attached."""
    view = eventually(lambda: daemon.inspect(container.name), f"{container.name} is known")
    assert view.state == "skipped", view
    for word in words:
        assert word in view.message, f"the reason names {word}: {view.message!r}"
    assert not [tap for tap in view.interfaces if tap.tap], view.interfaces


def test_enable_false_excludes_a_container(vtapd: Daemon, containers: Containers) -> None:
    out = containers.run(labels={"vtapd.enable": "false", "vtapd.kernel": "/hello.bin"})
    containers.run().await_attached()
    assert_skipped(vtapd, out, "vtapd.enable")
    assert out.is_untouched()


@pytest.mark.parametrize("network", ["host", "none"])
def test_containers_without_a_network_are_skipped(vtapd: Daemon, containers: Containers, network: str) -> None:
    skipped = containers.run("--network", network)
    containers.run().await_attached()
    assert_skipped(vtapd, skipped, network)


def test_guest_without_a_network_of_its_own_is_rejected_with_a_warning(vtapd: Daemon, containers: Containers) -> None:
    """The container runs on. Once it is connected to a network, it gets its guest."""
    owner = containers.run().await_attached()
    modes = ("host", "none", f"container:{owner.name}")
    made = [containers.guest("--network", mode) for mode in modes]
    for container in made:
        view = vtapd.await_state(container.name, "rejected")
        assert "vtapd.kernel asks for a guest" in view.message
        assert "--network" in view.message
        assert container.is_running()
        assert [line["level"] for line in rejections(vtapd, container)] == ["warning"]
    assert len([link for link in owner.links().values() if link.macvtap_mode]) == 1
    lonely = made[1]
    lonely.machine.docker("network", "disconnect", "none", lonely.id)
    lonely.machine.docker("network", "connect", containers.network(), lonely.id)
    lonely.await_page()


def rejections(daemon: Daemon, container: Container) -> list[dict[str, Any]]:
    lines = (line for line in daemon.log_lines() if line.get("container") == container.name)
    return [line for line in lines if line.get("event") == "container_rejected"]


def test_container_that_shares_a_network_is_skipped(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    owner = containers.run().await_attached()
    guest_of = containers.run("--network", f"container:{owner.name}")
    containers.run().await_attached()
    assert_skipped(vtapd, guest_of, "container")
    assert len([link for link in owner.links().values() if link.macvtap_mode]) == 1


@pytest.mark.vtapd_config(attach={"containers": "labelled"})
def test_labelled_attaches_only_labelled_containers(vtapd: Daemon, containers: Containers) -> None:
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
def test_next_daemon_selects_by_its_own_configuration(
    vtapd: Daemon, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    plain = containers.run()
    containers.run(labels={"vtapd.enable": "true"}).await_attached()
    assert plain.is_untouched()
    current_daemon.get({})
    plain.await_attached()
