"""Takeover: the guest has the container's MAC, address, routes and MTU, and is reached wherever the container was."""

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import network
from tests.harness.waiting import eventually

pytestmark = pytest.mark.both_cgroups

PURPLE = "#F444FF"
GREETING = "Hiya, Gump!"


def test_guest_is_reached_by_address_published_port_and_neighbour(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    guest = containers.serving_guest("-p", "8080:80")
    neighbour = containers.run()
    pages = {
        "the container's address": guest.get().body,
        "the published port": machine.http("http://127.0.0.1:8080/").body,
        "another container": neighbour.fetch(guest.address),
    }
    for way, page in pages.items():
        assert PURPLE in page, way
        assert GREETING in page, way


def test_guest_is_given_the_containers_network(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest(args="one two=3")
    info = guest.info()
    endpoint = guest.endpoint
    assert (info["addr"], info["mask"], info["gw"]) == (endpoint.address, str(endpoint.prefix), endpoint.gateway)
    assert (info["mac"], info["mtu"]) == (endpoint.mac, 1500)
    assert "one two=3" in info["cmdline"]
    servers = [each for each in info["env"] if each.startswith("DNS_RESOLVER=")]
    assert info["env"] == servers, "a variable was passed without vtapd.env"


def test_takeover_removes_address_and_mac_from_the_container(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    eth0 = network(guest.pid)
    assert eth0.addresses == ()
    assert eth0.mac != guest.endpoint.mac
    first_octet = int(eth0.mac[:2], 16)
    assert first_octet & 0b11 == 0b10, f"a locally administered unicast address, not {eth0.mac}"
    assert eth0.up, "a macvtap has no carrier without its parent"
    assert guest.macvtap().mac == guest.endpoint.mac


def test_mtu_of_the_network_reaches_the_guest(vtapd: Daemon, containers: Containers) -> None:
    narrow = containers.network("-o", "com.docker.network.driver.mtu=1400")
    guest = containers.serving_guest("--network", narrow)
    assert guest.info()["mtu"] == 1400
    assert guest.macvtap().mtu == 1400
    assert len(guest.get("/bytes?n=500000", 10).body) == 500_000


def test_no_packets_are_lost(vtapd: Daemon, containers: Containers) -> None:
    """A second descriptor of the tap would receive a share of the packets, and most of these requests would stall."""
    guest = containers.serving_guest()
    for _ in range(30):
        assert len(guest.get("/bytes?n=100000", 3).body) == 100_000


def test_guests_do_not_disturb_each_other(vtapd: Daemon, containers: Containers) -> None:
    one, two = containers.guest(args="first"), containers.guest(args="second")
    for guest, name in ((one, "first"), (two, "second")):
        guest.await_page()
        assert name in guest.info()["cmdline"]
    one.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(one.name) == 1, "the first is restarted")
    one.await_page()
    assert vtapd.metrics().restarts(two.name) == 0
    assert two.info()["mac"] == two.endpoint.mac


@pytest.mark.parametrize("terminal", [(), ("-t",)], ids=["pipe", "tty"])
def test_console_is_the_containers_log(vtapd: Daemon, containers: Containers, terminal: tuple[str, ...]) -> None:
    guest = containers.serving_guest(*terminal)
    eventually(lambda: f"serving on {guest.address}:80" in guest.logs(), "the guest's first line is in docker logs")
    guest.get("/echo-console?text=from%20the%20guest%0a")
    eventually(lambda: "from the guest" in guest.logs(), "later output is in docker logs")


def test_kernel_behind_symlinks_of_the_container_is_found(vtapd: Daemon, containers: Containers) -> None:
    """The symlinks are valid only inside the container; on the host there is no /hello.bin."""
    for path in ("/links/absolute", "/links/upwards"):
        containers.serving_guest(kernel=path)
