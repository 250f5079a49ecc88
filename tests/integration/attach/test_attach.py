"""The attach steps: netns symlink, macvtap, device rule and node, for containers that request no guest."""

from pathlib import Path

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import device_of_macvtap, device_rules, netns_links, node, tap_name
from tests.harness.processes import descriptors_of_device, is_alive, run
from tests.harness.waiting import eventually

pytestmark = pytest.mark.both_cgroups


def test_every_step_of_attaching(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    assert_attached(container)
    assert container.opens("/dev/tap0")
    assert descriptors_of_device(vtapd.pid, container.tap_device()) == []
    assert container.address in {address.split("/")[0] for address in addresses(container)}


def addresses(container: Container) -> list[str]:
    shown = run(["ip", "netns", "exec", container.id12, "ip", "-brief", "-4", "address", "show", "dev", "eth0"]).stdout
    return shown.split()[2:]


def test_symlink_works_with_ip_netns(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    shown = run(["ip", "netns", "exec", container.id12, "ip", "-brief", "link"]).stdout
    assert container.endpoint.mac in shown
    assert container.tap_name in shown


def test_equal_ifindexes_get_different_devices(vtapd: Daemon, containers: Containers) -> None:
    one, two = containers.run(), containers.run()
    for container in (one, two):
        assert_attached(container.await_attached())
    assert one.macvtap().ifindex == two.macvtap().ifindex, (
        "the kernel gave different ifindexes: the test proves nothing"
    )
    assert one.tap_device() != two.tap_device()


def test_container_cannot_open_another_containers_tap(vtapd: Daemon, containers: Containers) -> None:
    one, two = containers.run().await_attached(), containers.run().await_attached()
    for here, there in ((one, two), (two, one)):
        major, minor = there.tap_device()
        here.exec("mknod", "/tmp/neighbour", "c", str(major), str(minor))
        assert here.opens("/dev/tap0")
        assert not here.opens("/tmp/neighbour")


def test_stopped_container_is_undone(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    assert any(container.id12 in path.name for path in vtapd.run_dir.iterdir())
    container.stop()
    eventually(lambda: container.id12 not in netns_links(), "the symlink is gone")
    ended = {f"{container.id}.ended"}  # what `vtapd ps -a` shows
    eventually(
        lambda: {path.name for path in vtapd.run_dir.iterdir() if container.id12 in path.name} == ended,
        "its files are gone",
    )
    assert_attached(container.start().await_attached())


def test_detach_undoes_and_attach_redoes(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    major, minor = container.tap_device()
    vtapd.request("detach", container.name)
    eventually(container.is_untouched, "nothing of the attachment is left")
    assert vtapd.inspect(container.name).state == "detached"
    rules = device_rules(container.pid)
    assert rules is None or f"c {major}:{minor} rwm" not in rules
    container.exec("mknod", "/tmp/mine", "c", str(major), str(minor))
    assert not container.opens("/tmp/mine")
    vtapd.request("attach", container.name)
    assert_attached(container.await_attached())


def test_containers_started_before_the_daemon_are_attached(
    no_vtapd: None, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    made = [containers.run() for _ in range(3)]
    assert all(container.is_untouched() for container in made)
    current_daemon.get({})
    for container in made:
        assert_attached(container.await_attached())


def test_missed_start_and_end_are_made_up_for(
    no_vtapd: None, containers: Containers, current_daemon: CurrentDaemon
) -> None:
    ends = containers.run()
    stays = containers.run()
    daemon = current_daemon.get({})
    device = (ends.await_attached(), stays.await_attached())[1].tap_device()
    daemon.kill()
    ends.stop()
    starts = containers.run()
    current_daemon.get({})
    assert_attached(starts.await_attached())
    eventually(lambda: ends.id12 not in netns_links(), "the symlink of the container that ended meanwhile is gone")
    assert_attached(stays)
    assert stays.tap_device() == device, "the tap of an unchanged container was replaced"


def test_two_networks_give_two_taps(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    container = containers.create()
    machine.docker("network", "connect", containers.network(), container.id)
    container = container.start()
    eventually(lambda: node(container.pid, "tap1"), "/dev/tap1 is there")
    assert_two_taps(container)


def test_network_connected_later_gets_a_tap(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    container, later = containers.run().await_attached(), containers.network()
    assert node(container.pid, "tap1") is None
    machine.docker("network", "connect", later, container.id)
    eventually(lambda: node(container.pid, "tap1"), "/dev/tap1 is there")
    assert_two_taps(container)
    machine.docker("network", "disconnect", later, container.id)
    eventually(lambda: node(container.pid, "tap1") is None, "/dev/tap1 is gone with its network")


def assert_two_taps(container: Container) -> None:
    links = container.links()
    for index, mac in enumerate((links["eth0"].mac, links["eth1"].mac)):
        link, found = links[tap_name(mac)], node(container.pid, f"tap{index}")
        assert found is not None
        assert found.device == device_of_macvtap(container.pid, link)
        assert link.parent == links[f"eth{index}"].ifindex
        assert container.opens(f"/dev/tap{index}")


def test_taps_outlive_the_daemon(no_vtapd: None, containers: Containers, current_daemon: CurrentDaemon) -> None:
    """The container's owner may have the tap open, so neither the daemon's end nor its next start may change it."""
    daemon = current_daemon.get({})
    container = containers.run().await_attached()
    before = container.tap_device()
    daemon.stop()
    assert not is_alive(daemon.pid)
    assert container.tap_device() == before
    assert container.opens("/dev/tap0")
    assert Path(f"/var/run/netns/{container.id12}").is_symlink()
    current_daemon.get({})
    assert_attached(container.await_attached())
    assert container.tap_device() == before
