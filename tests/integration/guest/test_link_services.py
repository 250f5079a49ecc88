"""A guest's own container answers its DNS queries and its DHCP messages, on their private link."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.dns_server import DnsServer, addresses
from tests.harness.dockerd import ADDRESS
from tests.harness.guest_queries import ask_as_guest
from tests.harness.machine import Machine, built
from tests.harness.processes import open_files
from tests.harness.waiting import eventually, holds_for

RESOLVER = "169.254.118.1"
BOOT_S, ANSWER_S = 40.0, 10.0
DHCP_BY_PROGRAM = '{"cmdline": "web", "net": {"if":"vioif0","type":"inet","method":"dhcp"}}'

pytestmark = pytest.mark.timeout(200)


def linux(machine: Machine, containers: Containers, *options: str, **labels: str) -> Container:
    asked = {f"vtapd.{name}": value for name, value in labels.items()}
    return serving(containers.create(*options, labels=asked, image=machine.linux_image).start())


def serving(guest: Container) -> Container:
    eventually(lambda: "serving on port 80" in guest.logs(), "the Linux guest serves", BOOT_S)
    return guest


def finds(guest: Container, name: str) -> list[str]:
    """Return the addresses that the guest finds for a name."""
    return addresses_in(guest.get(f"/cgi-bin/lookup?{name}", ANSWER_S).body)


def addresses_in(answer: str) -> list[str]:
    """Return the addresses that nslookup prints, without the server's."""
    return sorted(re.findall(r"^Address(?: \d+)?: ([0-9a-f.:]+)$", answer.partition("\n\n")[2], re.MULTILINE))


def test_guest_finds_the_names_that_its_container_would(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    first, second = containers.network(), containers.network()
    gateway = json.loads(machine.docker("network", "inspect", first))[0]["IPAM"]["Config"][0]["Gateway"]
    database = containers.run("--network", first, "--network-alias", "db", "--network-alias", "db.example")
    plain = containers.run("--network", first)
    later = containers.run("--network", second, "--network-alias", "later")
    options = ("--network", first, "--add-host", "kek:192.0.2.9", "--dns", gateway, "--hostname", "gump")
    guest = linux(machine, containers, *options)
    assert json.loads(guest.get("/cgi-bin/info").body)["resolv"] == f"nameserver {RESOLVER} "
    for name in ("db", "db.example", database.name, plain.name, "nothing"):
        assert finds(guest, name) == addresses_in(plain.exec("nslookup", name, check=False)), name
    assert finds(guest, "db") == [database.address]
    assert finds(guest, "kek") == ["192.0.2.9"]
    assert finds(guest, "gump") == [guest.address]
    reverse = guest.get(f"/cgi-bin/lookup?{database.address}", ANSWER_S).body
    assert f"{database.name}.{first}" in reverse

    with closing(DnsServer(machine.namespace, gateway, {"www.example.com": addresses("192.0.2.80")})) as outside:
        assert finds(guest, "www.example.com") == ["192.0.2.80"]
        assert not any(b"\2db" in each for each in outside.asked), "a name of the network was asked outside"

    assert finds(guest, "later") == []
    machine.docker("network", "connect", second, guest.id)
    later_address = later.endpoints()[second].address
    eventually(lambda: finds(guest, "later") == [later_address], "names of a network are known once it is connected")

    vtapd.kill()
    with ThreadPoolExecutor() as threads:  # while no daemon runs, the guest hears nothing, and asks again
        found = threads.submit(finds, guest, "db")
        holds_for(lambda: not found.done(), "the guest waits for an answer", 1.0)
        vtapd.start()
        assert found.result() == [database.address]
    counted = vtapd.metrics()
    assert counted.value("vtapd_dns_queries_total", container=guest.name, result="answered") >= 1
    logged = json.dumps(vtapd.log_lines())
    assert "db.example" not in logged
    assert "www.example.com" not in logged


def test_guest_on_an_internal_network_finds_its_names(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """It has no gateway, so it is given a route to the container's address, as a static route or by DHCP."""
    network = containers.network("--internal")
    database = containers.run("--network", network, "--network-alias", "db")
    static = linux(machine, containers, "--network", network)
    asking = linux(machine, containers, "--network", network, guest="raw", args="console=ttyS0 ip=::::kek:eth0:dhcp")
    for guest in (static, asking):
        assert finds(guest, "db") == [database.address]
        assert finds(guest, "www.example.com") == []


def test_guest_that_asks_dhcp_gets_the_containers_address(vtapd: Daemon, containers: Containers) -> None:
    guests = [
        containers.serving_guest("--network", containers.network(), kernel="/hello-nanos.img"),
        containers.serving_guest(guest="raw", args=DHCP_BY_PROGRAM),
    ]
    for guest in guests:
        info, endpoint = guest.info(), guest.endpoint
        assert (info["addr"], info["mask"], info["gw"]) == (endpoint.address, str(endpoint.prefix), endpoint.gateway)


def test_dhcp_of_linux_gets_everything(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    network = containers.network("-o", "com.docker.network.driver.mtu=1400")
    neighbour = containers.run("--network", network)
    options = ("--network", network, "--hostname", "gump")
    guest = linux(machine, containers, *options, guest="raw", args="console=ttyS0 ip=::::kek:eth0:dhcp")
    assert "eth0 has its address by DHCP" in guest.logs()
    info = json.loads(guest.get("/cgi-bin/info").body)
    assert (info["hostname"], info["mtu"]) == ("gump", 1400)
    assert info["resolv"] == f"nameserver {RESOLVER} "
    assert finds(guest, neighbour.name) == [neighbour.address]


IPXE_SCRIPT = """#!ipxe
dhcp net0
echo ipxe has ${net0/ip} ${net0/netmask} ${net0/gateway} ${net0/dns} ${net0/hostname}
imgfetch http://db/ && echo ipxe has fetched the page of db
:again
sleep 1
goto again
"""


def test_dhcp_of_ipxe_gets_an_address_and_finds_a_name(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    network = containers.network("--subnet", "192.168.84.0/24")
    containers.run("--network", network, "--network-alias", "db", command=("httpd", "-f", "-p", "80", "-h", "/www"))
    labels = {"vtapd.kernel": "/ipxe.lkrn", "vtapd.initrd": "/script", "vtapd.memory": "80M"}
    ipxe = containers.create("--network", network, "--hostname", "gump", labels=labels)
    for path, content in (("/ipxe.lkrn", built("ipxe")[0].read_bytes()), ("/script", IPXE_SCRIPT.encode())):
        machine.put(content, ipxe.id, path)
    guest = ipxe.start()
    for line in (
        f"ipxe has {guest.address} 255.255.255.0 192.168.84.1 {RESOLVER} gump",
        "ipxe has fetched the page of db",
    ):
        eventually(lambda line=line: line in guest.logs(), f"the console has: {line}", BOOT_S)  # type: ignore[misc]  # mypy has no type for a lambda's default


def test_dhcp_broadcasts_do_not_reach_the_network(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    with machine.namespace.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as host:
        host.settimeout(10)
        host.bind(("0.0.0.0", 67))  # noqa: S104  # broadcasts arrive there
        guest = containers.serving_guest(kernel="/hello-nanos.img")
        neighbour = containers.run()
        neighbour.exec("udhcpc", "-n", "-q", "-t", "1", "-T", "1", "-i", "eth0", "-s", "/bin/true", check=False)
        heard = bytes.fromhex(neighbour.endpoint.mac.replace(":", ""))
        assert host.recv(2000)[28:34] == heard, f"the first broadcast is not that of {guest.name}"


def test_guest_of_a_container_that_serves_dns_itself_asks_that_containers_servers(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    """It has taken port 53 of all addresses: that is left alone, and said."""
    vtapd.stop()
    guest = containers.guest("--dns", "192.0.2.53")
    machine.docker("exec", "-d", guest.id, "httpd", "-f", "-p", "53")
    eventually(lambda: ":0035" in guest.exec("cat", "/proc/net/tcp", "/proc/net/tcp6", check=False), "it listens")
    vtapd.start()
    guest.await_page()
    assert guest.info()["env"] == ["DNS_RESOLVER=192.0.2.53"]
    (failed,) = [line for line in vtapd.log_lines() if line["event"] == "link_service_failed"]
    assert failed["service"] == "names"
    assert "Address already in use" in str(failed["error"])


def test_guest_asks_the_servers_of_dockers_configuration(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    """On the default bridge, Docker writes them into resolv.conf; a server that the container adds is not asked."""
    config, gateway = machine.dockerd.home / "daemon.json", ADDRESS.partition("/")[0]
    before = config.read_text()
    config.write_text(json.dumps({**json.loads(before), "dns": [gateway]}))
    machine.restart_docker()
    try:
        guest = containers.serving_guest()
        with closing(DnsServer(machine.namespace, gateway, {})) as outside:
            ask_as_guest(guest, "www", "example", "com")
            eventually(lambda: outside.asked, "Docker's server outside is asked", ANSWER_S)
            guest.exec("sh", "-c", f"echo nameserver {gateway} >>/etc/resolv.conf")
            outside.asked.clear()
            failed = failures(vtapd, guest)
            ask_as_guest(guest, "www", "example", "com")
            eventually(lambda: failures(vtapd, guest) > failed, "no server answers", ANSWER_S)
            assert outside.asked == []
        containers.remove_containers()
    finally:
        config.write_text(before)
        machine.restart_docker()


def failures(vtapd: Daemon, guest: Container) -> float:
    return vtapd.metrics().value("vtapd_dns_queries_total", container=guest.name, result="failed")


def test_nothing_is_served_after_a_detach(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    assert ":0035" in guest.exec("cat", "/proc/net/udp")
    vtapd.request("detach", guest.name)
    for table in ("udp", "tcp"):
        assert ":0035" not in guest.exec("cat", f"/proc/net/{table}")
    packet_sockets = {f"socket:[{line.split()[-1]}]" for line in guest.exec("cat", "/proc/net/packet").splitlines()[1:]}
    assert not packet_sockets & {*open_files(vtapd.pid).values()}, "dockerd may have one: it announces addresses by it"
