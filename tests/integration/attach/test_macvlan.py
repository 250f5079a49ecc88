"""Containers on a macvlan network of Docker, as on a LAN: the kernel makes a macvtap next to their interface.

The LAN is a veth pair of the test machine: one end is Docker's parent interface, the other end is the rest of the LAN.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.lan import lan as between
from tests.harness.machine import Machine
from tests.harness.observe import links, macvtaps, network, node
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 20.0
BOOT_S = 40.0
HOST, ADDRESS = "192.168.90.1", "192.168.90.77"
QUICK = "every=300ms,fails=2"
ICMPV6_RA = 134


@pytest.fixture
def lan(machine: Machine, containers: Containers) -> Iterator[str]:
    """A macvlan network that the host cannot reach yet."""
    with between(machine, containers, "lan0", "lan1"):
        yield containers.network(
            *("-d", "macvlan", "-o", "parent=lan0", "--subnet", "192.168.90.0/24", "--gateway", HOST)
        )


@pytest.fixture
def from_host(machine: Machine, lan: str) -> str:
    machine.run("ip", "address", "add", f"{HOST}/24", "dev", "lan1")
    return lan


def test_guest_on_a_macvlan_serves_restarts_and_is_undone(
    vtapd: Daemon, containers: Containers, from_host: str
) -> None:
    vtapd.stop()
    guest = containers.guest("--network", from_host)
    before = network(guest.pid)
    vtapd.start()
    assert "Hiya, Gump!" in guest.await_page().body
    assert network(guest.pid).addresses == ()
    assert guest.macvtap().mac == guest.endpoint.mac
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    guest.await_page()
    vtapd.request("detach", guest.name)
    assert network(guest.pid) == before


def test_containers_on_a_macvlan_reach_each_other(vtapd: Daemon, containers: Containers, from_host: str) -> None:
    guest, neighbour = containers.serving_guest("--network", from_host), containers.run("--network", from_host)
    neighbour.await_attached()
    assert "Hiya, Gump!" in neighbour.fetch(guest.address)


@pytest.mark.parametrize("how", ["tcp:80", "ping"])
def test_guest_unreachable_from_the_host_is_probed_by_macvlan(
    vtapd: Daemon, containers: Containers, lan: str, how: str
) -> None:
    """The daemon probes such a guest from a temporary link next to the guest's, and removes the link afterwards."""
    guest = containers.guest("--network", lan, ready=how, alive=f"{how},{QUICK}")
    vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    qemu = guest.qemu()
    holds_for(lambda: guest.qemu() == qemu, "a guest that answers keeps running", 2.0)
    neighbour = Neighbour(guest)
    neighbour.fetch("/hang")
    eventually(lambda: vtapd.metrics().exits(guest.name, "hang") == 1, "the hang is noticed", PATIENCE_S)
    vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    vtapd.request("detach", guest.name)
    assert "vtapask" not in links(guest.pid)


@pytest.mark.parametrize("how", ["daemon runs", "daemon is down", "daemon is down and the records are lost"])
def test_tap_goes_with_its_interface(vtapd: Daemon, containers: Containers, from_host: str, how: str) -> None:
    """It hangs beside the interface: the kernel does not delete it when Docker disconnects the network."""
    plain = containers.run("--network", from_host).await_attached()
    guest = containers.guest("--network", from_host, "--ip", ADDRESS)
    guest.await_page(PATIENCE_S)
    if how != "daemon runs":
        vtapd.kill()
    for container in (plain, guest):
        assert macvtaps(container.pid)
        if how.endswith("lost"):
            (vtapd.run_dir / f"{container.id}.json").unlink()
        container.machine.docker("network", "disconnect", from_host, container.id)
    if how != "daemon runs":
        vtapd.start()
    for container in (plain, guest):
        eventually(lambda pid=container.pid: not macvtaps(pid), "the tap is deleted", PATIENCE_S)  # type: ignore[misc]  # mypy cannot type a default of a lambda
        eventually(lambda pid=container.pid: node(pid) is None, "its node is removed", PATIENCE_S)  # type: ignore[misc]  # mypy has no type for a lambda's default
    # Docker gives the same address the same MAC, which no other link on the LAN may have.
    containers.guest("--network", from_host, "--ip", ADDRESS).await_page(PATIENCE_S)


class Neighbour:
    """Another container on the LAN, from which tests reach a guest."""

    def __init__(self, guest: Container) -> None:
        self._guest = guest
        (network_name,) = guest.endpoints()
        self._id = guest.machine.docker("run", "-d", "--network", network_name, guest.machine.image)
        guest.machine.container_ids.add(self._id)

    def fetch(self, path: str) -> None:
        request = f"printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {self._guest.address} 80"
        self._guest.machine.docker("exec", self._id, "sh", "-c", request, check=False)
        self._guest.machine.remove(self._id)


def test_guest_takes_an_ipv6_address_from_a_router(
    machine: Machine, vtapd: Daemon, containers: Containers, from_host: str
) -> None:
    """A router on the LAN announces a prefix; a guest that configures itself takes an address from it."""
    machine.run("ip", "address", "add", "fd00:90::1/64", "dev", "lan1", "nodad")
    guest = containers.run("--network", from_host, labels={"vtapd.address": "none"}, image=machine.linux_image)
    over = threading.Event()
    announcing = threading.Thread(target=machine.namespace.inside, args=(announcer(over),))
    announcing.start()
    try:
        mac = eventually(lambda: guest.macvtap().mac, "its tap is made", PATIENCE_S)
        address = f"fd00:90::{interface_identifier(mac)}"
        eventually(lambda: machine.http(f"http://[{address}]/").status == 200, f"{address} answers", BOOT_S)
    finally:
        over.set()
        announcing.join()


def interface_identifier(mac: str) -> str:
    """Return the identifier of RFC 4291, appendix A."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    whole = bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:])
    return whole.hex(":", 2)


def announcer(over: threading.Event) -> Callable[[], None]:
    """Return a function that sends router advertisements with the prefix fd00:90::/64 (RFC 4861, 4.2 and 4.6.2)."""
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 1800, 0, socket.inet_pton(socket.AF_INET6, "fd00:90::"))
    message = struct.pack("!BBHBBHII", ICMPV6_RA, 0, 0, 64, 0, 0, 0, 0) + prefix

    def announce() -> None:
        index = socket.if_nametoindex("lan1")
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
            router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            while not over.wait(0.5):
                router.sendto(message, ("ff02::1", 0, 0, index))

    return announce


@pytest.fixture
def second_lan(machine: Machine, containers: Containers) -> Iterator[str]:
    """The parent of another macvlan network, for any mode."""
    with between(machine, containers, "lan2", "lan3"):
        machine.run("ip", "address", "add", "192.168.91.1/24", "dev", "lan3")
        yield "lan2"


def macvlan_network(containers: Containers, parent: str, mode: str) -> str:
    options = ("-o", f"macvlan_mode={mode}", "--subnet", "192.168.91.0/24", "--gateway", "192.168.91.1")
    return containers.network("-d", "macvlan", "-o", f"parent={parent}", *options)


@pytest.mark.parametrize("mode", ["private", "vepa"])
def test_macvtap_has_the_mode_of_its_macvlan(vtapd: Daemon, containers: Containers, second_lan: str, mode: str) -> None:
    """Neither containers of such a network reach each other, nor their guests."""
    lan = macvlan_network(containers, second_lan, mode)
    guest, neighbour = containers.serving_guest("--network", lan), containers.run("--network", lan)
    neighbour.await_attached()
    assert {each.macvtap().macvtap_mode for each in (guest, neighbour)} == {mode}
    asked = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {guest.address} 80"
    assert "Hiya" not in neighbour.exec("sh", "-c", asked, check=False)


def test_unanswerable_probe_ends_no_guest(vtapd: Daemon, containers: Containers, second_lan: str) -> None:
    """The host has no way in, and in private mode no link of the container has one either."""
    lan = containers.network(
        *("-d", "macvlan", "-o", f"parent={second_lan}", "-o", "macvlan_mode=private", "--subnet", "192.168.92.0/24")
    )
    guest = containers.guest("--network", lan, alive=f"tcp:80,{QUICK}")
    vtapd.await_state(guest.name, "running")
    qemu = guest.qemu()
    eventually(lambda: "private mode" in vtapd.log_tail(), "the reason is logged", PATIENCE_S)
    holds_for(lambda: guest.qemu() == qemu, "it runs on", 2.0)
    assert vtapd.log_tail(100).count("health_probe_failed") == 1


def test_passthru_macvlan_is_refused_with_the_reason(vtapd: Daemon, containers: Containers, second_lan: str) -> None:
    container = containers.run("--network", macvlan_network(containers, second_lan, "passthru"))
    before = network(container.pid)
    said = "eth0 is a macvlan in passthru mode"
    eventually(lambda: said in vtapd.command("inspect", container.name).stdout, "it is refused", PATIENCE_S)
    assert network(container.pid) == before
    assert not any(link.macvtap_mode for link in container.links().values())
