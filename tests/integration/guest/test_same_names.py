"""A plain container and a Linux guest on the same network find the same: names, aliases, addresses, and what is not.

Both run the same program, glibc's `getent` of this machine, with Debian's /etc/host.conf.
"""

import io
import json
import re
import socket
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness.compose import ENDS_S, Project
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.dns_server import DnsServer, addresses
from tests.harness.machine import Machine
from tests.harness.processes import run
from tests.harness.waiting import eventually

GETENT = "/usr/bin/getent"
HOST_CONF = b"multi on\n"  # all addresses that /etc/hosts has of a name
RESOLVER = "169.254.118.1"
BOOT_S, ANSWER_S = 60.0, 60.0
MANY = [f"10.1.{n // 200}.{n % 200}" for n in range(400)]
OUTSIDE = {"www.example.com": addresses("192.0.2.80"), "many.example.com": addresses(*MANY)}
TOOLS_PORT = 8000

pytestmark = pytest.mark.timeout(240)


def getent() -> bytes:
    """Return an archive of the program and what it needs, by their paths on this machine."""
    needed = re.findall(r"(/\S+) \(0x", run(["ldd", GETENT]).stdout)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
        for path in (GETENT, *needed):
            archive.add(Path(path), path)
        entry = tarfile.TarInfo("etc/host.conf")
        entry.size = len(HOST_CONF)
        archive.addfile(entry, io.BytesIO(HOST_CONF))
    return packed.getvalue()


class Asker:
    """A plain container, or the guest of one, which carries out scripts."""

    def __init__(self, container: Container, *, guest: bool) -> None:
        self._container, self._guest = container, guest

    def run(self, script: str) -> str:
        if not self._guest:
            return self._container.exec("sh", "-c", script, check=False)
        machine, body = self._container.machine, script.encode()
        head = f"POST /cgi-bin/run HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        address = (self._container.address, 80)
        with machine.namespace.inside(lambda: socket.create_connection(address, ANSWER_S)) as sock:
            sock.sendall(head + body)
            with sock.makefile("rb") as stream:
                return re.split(r"\r?\n\r?\n", stream.read().decode(), maxsplit=1)[1]

    def find(self, *asked: str) -> dict[str, set[str]]:
        """Return the addresses that getent prints for a database and a name, or the name for an address."""
        found: dict[str, set[str]] = {each: set() for each in asked}
        for line in self.run("\n".join(f"echo '? {each}'; {GETENT} {each}" for each in asked)).splitlines():
            if line.startswith("? "):
                words = line.removeprefix("? ")
            else:
                address, name, *_ = line.split()
                found[words].add(name if address == words.split()[1] else address)
        return found

    def finds(self, words: str) -> set[str]:
        return self.find(words)[words]


def asker(machine: Machine, container: Container, *, guest: bool) -> Asker:
    """Give it the program. A guest fetches it from its container."""
    made = Asker(container, guest=guest)
    machine.put(getent(), container.id, "/tmp/tools")
    if guest:
        eventually(lambda: "serving on port 80" in container.logs(), "the guest serves", BOOT_S)
        listen = f"nc -l -p {TOOLS_PORT} </tmp/tools"
        machine.docker("exec", "-d", container.id, "sh", "-c", listen)
        eventually(lambda: f":{TOOLS_PORT}" in container.exec("netstat", "-ltn"), "the container listens")
        # The standard input of a nc that receives must not end: that would end the connection.
        made.run(f"mkfifo /tmp/never; nc {RESOLVER} {TOOLS_PORT} <>/tmp/never | tar x -C /")
    else:
        made.run("tar x -C / </tmp/tools")
    assert made.finds("hosts 127.0.0.1") == {"localhost"}, "the program works"
    return made


@pytest.fixture
def outside(machine: Machine, containers: Containers) -> Iterator[str]:
    """A DNS server on the gateway of a network; yields the network."""
    network = containers.network("--ipv6", "--subnet", "fd00:33::/64", "--subnet", "192.168.83.0/24")
    with closing(DnsServer(machine.namespace, "192.168.83.1", OUTSIDE, shortens=True)):
        yield network


def names_of(*containers: Container) -> list[str]:
    return [each for container in containers for each in (container.name, container.id12)]


def test_guest_on_a_user_defined_network_finds_the_same(
    machine: Machine, vtapd: Daemon, containers: Containers, outside: str
) -> None:
    aliases = ("--network-alias", "db", "--network-alias", "db.example")
    database, other = (containers.run("--network", outside, *aliases) for _ in range(2))
    options = ["--network", outside, "--dns", "192.168.83.1", "--link", f"{database.name}:linked", "--hostname", "kek"]
    for added in ("added:192.0.2.9", "added:192.0.2.10", "six:2001:db8::9"):
        options += ["--add-host", added]
    behind, alone = containers.run(*options, image=machine.linux_image), containers.run(*options)
    guest, plain = asker(machine, behind, guest=True), asker(machine, alone, guest=False)

    ipv6 = machine.engine.inspect(database.id)["NetworkSettings"]["Networks"][outside]["GlobalIPv6Address"]
    names = [*names_of(database, other), "db", "DB", "db.example", "db.", f"{database.name}.{outside}", "linked"]
    names += ["added", "six", "localhost", "www.example.com", "many.example.com"]
    missing = ["nothing", "nothing.example.com", "example.com"]
    ips = [database.address, ipv6, "192.0.2.9", "2001:db8::9", "192.0.2.10"]
    nameless = ["192.0.2.77", "fd00:33::77", "192.168.83.1"]
    forward = [f"{kind} {name}" for name in (*names, *missing) for kind in ("ahosts", "ahostsv4", "ahostsv6", "hosts")]
    asked = [*forward, *(f"hosts {ip}" for ip in (*ips, *nameless))]
    expected = plain.find(*asked)
    assert guest.find(*asked) == expected
    assert all(expected[f"ahosts {name}"] for name in names), "each of these is found"
    assert not any(expected[f"ahosts {name}"] for name in missing)
    assert all(expected[f"hosts {ip}"] for ip in ips), "each of these has a name"
    assert not any(expected[f"hosts {ip}"] for ip in nameless)
    assert expected["ahosts linked"] == {database.address, ipv6}
    assert expected["ahosts added"] == {"192.0.2.9", "192.0.2.10"}
    assert expected["ahostsv4 many.example.com"] == set(MANY), "its answer is too long for UDP"

    for each, own in ((guest, behind), (plain, alone)):
        assert each.finds("ahostsv4 kek") == {own.address}
        assert each.finds(f"hosts {own.address}") == {"kek"}
        assert guest.finds(f"ahostsv4 {own.name}") == plain.finds(f"ahostsv4 {own.name}") == {own.address}


def test_guest_on_the_default_bridge_finds_the_same(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """Docker has no server there: links are in /etc/hosts, and the server outside is in resolv.conf."""
    database = containers.run()
    gateway = database.endpoint.gateway
    options = ("--dns", gateway, "--link", f"{database.name}:db", "--add-host", "added:192.0.2.9")
    with closing(DnsServer(machine.namespace, gateway, OUTSIDE, shortens=True)):
        guest = asker(machine, containers.run(*options, image=machine.linux_image), guest=True)
        plain = asker(machine, containers.run(*options), guest=False)
        names = [*names_of(database), "db", "added", "www.example.com", "many.example.com"]
        asked = [f"{kind} {name}" for name in (*names, "nothing") for kind in ("ahosts", "ahostsv4", "hosts")]
        asked += [f"hosts {ip}" for ip in (database.address, "192.0.2.9", "192.0.2.77")]
        expected = plain.find(*asked)
        assert guest.find(*asked) == expected
    assert all(expected[f"ahosts {name}"] for name in names)


def test_guest_of_a_compose_file_finds_its_database_by_name(
    machine: Machine, vtapd: Daemon, containers: Containers, tmp_path: Path
) -> None:
    page = {"image": machine.image, "command": ["httpd", "-f", "-p", "5432", "-h", "/www"]}
    services = {"web": {"image": machine.linux_image, "depends_on": ["db"]}, "db": page}
    with Project(machine, tmp_path, json.dumps({"services": services})) as shop:
        up = shop.start("up", "-d")
        web, database = shop.container("web"), shop.container("db")
        output, _ = up.communicate(timeout=ENDS_S)
        assert up.returncode == 0, output
        eventually(lambda: "serving on port 80" in web.logs(), "the guest serves", BOOT_S)
        guest = Asker(web, guest=True)
        assert f"Address: {database.address}" in guest.run("nslookup db")
        assert "the container's own page" in guest.run("wget -qO- http://db:5432/")
