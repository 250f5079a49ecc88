"""The whole network of a container in a foreign guest: Debian's kernel with a busybox initramfs.

The console shows what the guest was given; connections in both directions show that it works.
"""

import hashlib
import http.client
import json

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import network
from tests.harness.processes import descriptors_of_device
from tests.harness.waiting import eventually

BOOT_S = 40.0
TRANSFER_S = 60.0
PATTERN = b"0123456789abcdef0123456789ABCDEF\n"
BODY = (PATTERN * (10_000_000 // len(PATTERN) + 1))[:10_000_000]

pytestmark = pytest.mark.timeout(200)


def linux(machine: Machine, containers: Containers, *options: str, **labels: str) -> Container:
    asked = {f"vtapd.{name}": value for name, value in labels.items()}
    return containers.create(*options, labels=asked, image=machine.linux_image)


def prints(guest: Container, line: str) -> None:
    eventually(lambda: f"linux-guest: {line}" in guest.logs(), f"the console has: {line}", BOOT_S)


def get(machine: Machine, host: str, path: str = "/", port: int = 80, body: bytes | None = None) -> bytes:
    def ask() -> bytes:
        connection = http.client.HTTPConnection(host, port, timeout=TRANSFER_S)
        try:
            connection.request("GET" if body is None else "POST", path, body)
            return connection.getresponse().read()
        finally:
            connection.close()

    return machine.namespace.inside(ask)


def pings(container: Container, address: str) -> bool:
    return " 0% packet loss" in container.exec("ping", "-c", "2", "-W", "2", address, check=False)


@pytest.mark.parametrize("mtu", [1400, 1500])
def test_both_families_on_two_networks(machine: Machine, vtapd: Daemon, containers: Containers, mtu: int) -> None:
    first = containers.network(
        *("--ipv6", "--subnet", f"fd00:{mtu}::/64", "--gateway", f"fd00:{mtu}::1"),
        *("--subnet", "192.168.80.0/24", "--gateway", "192.168.80.1"),
        *("-o", f"com.docker.network.driver.mtu={mtu}"),
    )
    second = containers.network("--subnet", "192.168.81.0/26", "--internal")
    guest = linux(
        machine, containers, *("--network", first, "-p", "8086:80", "--hostname", "kek-host", "--dns", "192.0.2.53")
    )
    machine.docker("network", "connect", second, guest.id)
    guest.start()
    ipv6 = f"fd00:{mtu}::2"
    other = guest.endpoints()[second].address
    prints(guest, f"eth0 {guest.address}/24 gw 192.168.80.1 mtu {mtu}")
    prints(guest, f"eth0 {ipv6}/64 gw fd00:{mtu}::1 mtu {mtu}")
    prints(guest, f"eth1 {other}/26 gw - mtu 1500")
    prints(guest, "serving on port 80")

    neighbour = containers.run("--network", first)
    internal_neighbour = containers.run("--network", second)
    assert b"Hello from Linux" in get(machine, guest.address)
    assert b"Hello from Linux" in get(machine, ipv6)
    assert b"Hello from Linux" in get(machine, "127.0.0.1", port=8086)
    assert b"Hello from Linux" in get(machine, "::1", port=8086)
    assert "Hello from Linux" in neighbour.fetch(guest.address)
    assert "Hello from Linux" in internal_neighbour.fetch(other)
    for address in (guest.address, ipv6):
        assert pings(neighbour, address), address
    assert pings(internal_neighbour, other)

    info = json.loads(get(machine, guest.address, "/cgi-bin/info"))
    assert (info["hostname"], info["mtu"], info["mac"]) == ("kek-host", mtu, guest.endpoint.mac)
    assert info["resolv"] == "nameserver 169.254.118.1 "
    notes = vtapd.inspect(guest.name).only_guest.notes
    assert notes == [], "it was info of everything"

    assert hashlib.sha256(get(machine, guest.address, "/cgi-bin/bytes")).digest() == hashlib.sha256(BODY).digest()
    summed = get(machine, guest.address, "/cgi-bin/sum", body=BODY).decode().split()[0]
    assert summed == hashlib.sha256(BODY).hexdigest()


def test_routes_of_the_container_are_the_guests(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """A route is added before the guest starts, as `docker network connect` with a gateway or a script does."""
    vtapd.stop()
    guest = linux(machine, containers, "--cap-add", "NET_ADMIN").start()
    guest.exec("ip", "route", "add", "198.51.100.0/24", "via", guest.endpoint.gateway)
    before = network(guest.pid)
    vtapd.start()
    prints(guest, f"route 198.51.100.0/24 via {guest.endpoint.gateway} dev eth0")
    vtapd.request("detach", guest.name)
    assert network(guest.pid) == before


def test_guest_gets_its_address_by_dhcp(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """A server on the guest's network gives it; the container keeps its own address."""
    lan = containers.network("--subnet", "192.168.82.0/24")
    server = containers.run("--network", lan, "--ip", "192.168.82.5")
    config = "start 192.168.82.100\nend 192.168.82.110\ninterface eth0\nopt subnet 255.255.255.0\n"
    config += "opt dns 192.0.2.77\nlease_file /tmp/leases\n"
    server.exec("sh", "-c", f"printf '{config}' >/tmp/dhcpd.conf; touch /tmp/leases")
    machine.docker("exec", "-d", server.id, "udhcpd", "-f", "/tmp/dhcpd.conf")
    guest = linux(machine, containers, "--network", lan, address="dhcp").start()
    prints(guest, "eth0 has its address by DHCP")
    prints(guest, "serving on port 80")
    answering = [f"192.168.82.{number}" for number in range(100, 111)]
    leased = next(address for address in answering if pings(server, address))
    assert b"Hello from Linux" in get(machine, leased)
    assert json.loads(get(machine, leased, "/cgi-bin/info"))["resolv"] == "nameserver 192.0.2.77 "
    assert any(guest.address in each for each in network(guest.pid).addresses)


def test_one_queue_per_cpu(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """This also holds for a guest that starts after one that left a queue switched off."""
    guest = linux(machine, containers, cpus="2").start()
    prints(guest, "eth0 has 2 queues")
    guest.await_page(BOOT_S)
    tap = vtapd.inspect(guest.name).interfaces[0].tap
    assert tap is not None
    assert len(descriptors_of_device(guest.qemu(), tap.device)) == 2
    assert hashlib.sha256(get(machine, guest.address, "/cgi-bin/bytes")).digest() == hashlib.sha256(BODY).digest()
    guest.trigger("/cgi-bin/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted after the panic", BOOT_S)
    guest.await_page(BOOT_S)
    assert hashlib.sha256(get(machine, guest.address, "/cgi-bin/bytes")).digest() == hashlib.sha256(BODY).digest()
