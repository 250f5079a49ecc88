"""Containers on several networks, networks that are connected or disconnected, and guests with their own address."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import links, network
from tests.harness.processes import descriptors_of_device
from tests.harness.waiting import eventually

PATIENCE_S = 15.0
GREETING = "Hiya, Gump!"


def on_two_networks(containers: Containers, **labels: str) -> Container:
    first, second = containers.network(), containers.network()
    asked = {"kernel": "/hello.bin"} | labels
    container = containers.create("--network", first, labels={f"vtapd.{key}": value for key, value in asked.items()})
    container.machine.docker("network", "connect", second, container.id)
    return container.start()


def in_guest(daemon: Daemon, container: Container) -> dict[str, bool]:
    return {each.name: each.in_guest for each in daemon.inspect(container.name).interfaces}


def test_guest_takes_over_every_interface_and_each_is_restored(vtapd: Daemon, containers: Containers) -> None:
    vtapd.stop()
    guest = on_two_networks(containers)
    before = [network(guest.pid, name) for name in ("eth0", "eth1")]
    vtapd.start()
    guest.await_page()
    after = [network(guest.pid, name) for name in ("eth0", "eth1")]
    assert [each.addresses for each in after] == [(), ()]
    taps = {link.mac for link in links(guest.pid).values() if link.macvtap_mode}
    assert taps == {each.mac for each in before}
    assert in_guest(vtapd, guest) == {"eth0": True, "eth1": True}
    for name in ("eth0", "eth1"):
        value = vtapd.metrics().value("vtapd_guest_network_receive_packets_total", container=guest.name, interface=name)
        assert value >= 0
    for name in ("tap0", "tap1"):
        device = vtapd.inspect(guest.name).interfaces[int(name[-1])].tap
        assert device is not None
        assert len(descriptors_of_device(guest.qemu(), device.device)) == 1, f"{name} does not have exactly one queue"
    vtapd.request("detach", guest.name)
    assert [network(guest.pid, name) for name in ("eth0", "eth1")] == before


@pytest.mark.parametrize("image", ["/hello-unikraft.bin", "/hello-osv.bin"])
def test_unikraft_and_osv_are_given_every_interface(vtapd: Daemon, containers: Containers, image: str) -> None:
    guest = on_two_networks(containers, kernel=image)
    guest.await_page()
    assert in_guest(vtapd, guest) == {"eth0": True, "eth1": True}
    command = " ".join(vtapd.inspect(guest.name).only_guest.command)
    assert all(endpoint.address in command for endpoint in guest.endpoints().values())


def test_kind_with_one_card_leaves_the_other_interface_to_the_container(vtapd: Daemon, containers: Containers) -> None:
    guest = on_two_networks(containers, kernel="/hello-mirage.bin")
    guest.await_page()
    assert in_guest(vtapd, guest) == {"eth0": True, "eth1": False}
    assert network(guest.pid, "eth0").addresses == ()
    other = list(guest.endpoints().values())[1]
    assert any(other.address in each for each in network(guest.pid, "eth1").addresses)


def test_network_connected_later_is_the_guests_after_its_restart(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest("--network", containers.network())
    qemu, later = guest.qemu(), containers.network()
    guest.machine.docker("network", "connect", later, guest.id)
    address = guest.endpoints()[later].address
    eventually(lambda: in_guest(vtapd, guest) == {"eth0": True, "eth1": False}, "its tap is made", PATIENCE_S)
    assert any(address in each for each in network(guest.pid, "eth1").addresses), (
        "the container lost an address before the guest had it"
    )
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    assert in_guest(vtapd, guest) == {"eth0": True, "eth1": False}, "the next daemon lost the interface"
    assert guest.qemu() == qemu
    guest.trigger("/crash")
    eventually(lambda: in_guest(vtapd, guest) == {"eth0": True, "eth1": True}, "it has both", PATIENCE_S)
    guest.await_page()
    assert network(guest.pid, "eth1").addresses == ()


def test_disconnected_network_leaves_the_guest_running(vtapd: Daemon, containers: Containers) -> None:
    guest = on_two_networks(containers)
    guest.await_page()
    qemu = guest.qemu()
    guest.machine.docker("network", "disconnect", list(guest.endpoints())[1], guest.id)
    eventually(lambda: in_guest(vtapd, guest) == {"eth0": True}, "it is gone", PATIENCE_S)
    assert guest.get().status == 200
    assert guest.qemu() == qemu
    assert vtapd.metrics().exits(guest.name) == 0


def test_cards_are_plugged_into_a_guest_that_configures_itself(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest("--network", containers.network(), guest="raw", address="none")
    vtapd.await_state(guest.name, "running")
    qemu, later = guest.qemu(), containers.network()
    before = network(guest.pid)
    guest.machine.docker("network", "connect", later, guest.id)
    eventually(lambda: in_guest(vtapd, guest) == {"eth0": True, "eth1": True}, "a card is plugged", PATIENCE_S)
    tap = vtapd.inspect(guest.name).interfaces[1].tap
    assert tap is not None
    assert len(descriptors_of_device(qemu, tap.device)) == 1
    assert any(guest.endpoints()[later].address in each for each in network(guest.pid, "eth1").addresses)
    assert network(guest.pid) == before
    guest.machine.docker("network", "disconnect", later, guest.id)
    eventually(lambda: in_guest(vtapd, guest) == {"eth0": True}, "it is unplugged", PATIENCE_S)
    guest.machine.docker("network", "connect", later, guest.id)
    eventually(lambda: list(in_guest(vtapd, guest).values()) == [True, True], "and plugged again", PATIENCE_S)
    assert guest.qemu() == qemu


def test_static_address_leaves_the_containers_address(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """The container keeps its address, and the host reaches both."""
    subnet = containers.network("--subnet", "192.168.78.0/24", "--gateway", "192.168.78.1")
    guest = containers.guest("--network", subnet, address="192.168.78.200/24,192.168.78.1")
    page = eventually(lambda: machine.http("http://192.168.78.200/"), "it serves on its own address", PATIENCE_S)
    assert GREETING in page.body
    assert any(guest.address in each for each in network(guest.pid).addresses)
    assert network(guest.pid).mac == guest.endpoint.mac
    assert containers.run("--network", subnet).fetch("192.168.78.200").count(GREETING)
    (row,) = (row for row in vtapd.ps() if row.name == guest.name)
    assert row.address == "192.168.78.200/24"
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    assert GREETING in machine.http("http://192.168.78.200/").body
