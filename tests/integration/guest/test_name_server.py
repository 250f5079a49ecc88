"""The server of a guest's DNS queries, between servers that the test makes, in network namespaces of their own.

One namespace stands for the host's, with a server outside; another one for the container's, with Docker's server.
"""

import asyncio
import hashlib
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import pytest

from supervisor.container.on_demand import OnDemand
from supervisor.core.container import Container, ContainerId, Pid
from supervisor.core.formats import dns
from supervisor.core.guest.name_lookup import Places
from supervisor.core.kinds.network import GuestNetwork, Nic
from supervisor.edges.kernel.link_sockets import open_names
from supervisor.edges.kernel.resolv import read_unchanged
from supervisor.guest.name_resolver import NameResolver
from supervisor.guest.name_server import NameServer
from supervisor.guest.name_sources import NameSources
from tests.harness.dns_server import DnsServer, addresses, failing, late, silent
from tests.harness.netns import NetworkNamespace
from tests.harness.processes import run
from tests.harness.waiting import eventually

RESOLVER, DOCKER, OUTSIDE, GUEST, STRANGER = "169.254.118.1", "127.0.0.11", "192.0.2.53", "127.0.0.2", "127.0.0.3"
ANSWER_S = 10.0


def namespace(owned: ExitStack, address: str) -> NetworkNamespace:
    made = owned.enter_context(closing(NetworkNamespace()))
    for words in (["link", "set", "lo", "up"], ["address", "add", f"{address}/32", "dev", "lo", "scope", "host"]):
        run(["nsenter", f"--net=/proc/self/fd/{made.fd}", "ip", *words], pass_fds=(made.fd,))
    return made


class Served:
    """A guest's server, which runs in a thread in the host's namespace. `counts` are the results of queries."""

    def __init__(self, host: NetworkNamespace, inner: NetworkNamespace, root: Path, gateway: str | None) -> None:
        self.counts: Counter[str] = Counter()
        self._inner, self._root = inner, root
        self._network = GuestNetwork((Nic(0, "", 1500, (), gateway),))
        self._begun = threading.Event()
        self._end: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=host.inside, args=(lambda: anyio.run(self._run),))
        self._thread.start()
        assert self._begun.wait(ANSWER_S)

    def close(self) -> None:
        self._end()
        self._thread.join()

    async def _run(self) -> None:
        container = Container(ContainerId("0" * 64), "kek", Pid(0), 0, True, False, "net", dns=(OUTSIDE,))
        root = os.open(self._root, os.O_PATH | os.O_DIRECTORY)
        sockets = self._inner.inside(lambda: open_names(RESOLVER))
        assert sockets is not None, "the namespace has the address"
        datagrams, listener = sockets.datagrams, sockets.listener

        async def serve() -> None:
            sources = NameSources(root, lambda: container, lambda: self._network)
            resolver = NameResolver(sources, self._inner.inside)
            await NameServer(sockets, sources, resolver, Places(1000), lambda: {GUEST}, self.counts).run()

        ended = anyio.Event()
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as tasks:
            service = OnDemand(tasks, (datagrams, listener), serve)
            self._end = lambda: loop.call_soon_threadsafe(ended.set)
            self._begun.set()
            await ended.wait()
            service.close()
        os.close(root)


class Place:
    """A host with a server outside, and a container on it with Docker's server and a guest."""

    def __init__(self, owned: ExitStack, root: Path, gateway: str | None = "192.0.2.1") -> None:
        host, self.inner = namespace(owned, OUTSIDE), namespace(owned, RESOLVER)
        self.docker = owned.enter_context(closing(DnsServer(self.inner, DOCKER, {"db": addresses("10.0.0.2")})))
        self.outside = owned.enter_context(closing(DnsServer(host, OUTSIDE, {"example.com": addresses("192.0.2.80")})))
        (root / "etc").mkdir()
        self.hosts = root / "etc" / "hosts"
        (root / "etc" / "resolv.conf").write_text(f"nameserver {DOCKER}\noptions ndots:0\n")
        self.served = owned.enter_context(closing(Served(host, self.inner, root, gateway)))

    def ask(self, name: str, message: bytes | None = None, source: str = GUEST, timeout_s: float = ANSWER_S) -> bytes:
        """Ask as the guest does, over UDP, and return the answer. Raises TimeoutError."""
        with self.inner.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.settimeout(timeout_s)
            sock.bind((source, 0))
            sock.connect((RESOLVER, 53))
            sock.send(message or query(name))
            return sock.recv(65535)

    def connect(self, source: str = GUEST) -> socket.socket:
        return self.inner.inside(lambda: socket.create_connection((RESOLVER, 53), ANSWER_S, (source, 0)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as owned:
        yield Place(owned, tmp_path)


def query(name: str, id: int = 0x1234, flags: int = 0x0100, rest: bytes = b"", additional: int = 0) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", id, flags, 1, 0, 0, additional) + labels + b"\0\0\1\0\1" + rest


def found(answer: bytes) -> list[str]:
    """Return the IPv4 addresses of an answer that the test's servers, or the one under test, made."""
    count = struct.unpack_from("!H", answer, 6)[0]
    return [socket.inet_ntoa(answer[len(answer) - 16 * (n + 1) + 12 :][:4]) for n in reversed(range(count))]


def over(connection: socket.socket, asked: bytes) -> bytes:
    """Ask over TCP, and return the answer."""
    connection.sendall(struct.pack("!H", len(asked)) + asked)
    with connection.makefile("rb") as stream:
        return stream.read(struct.unpack("!H", stream.read(2))[0])


def test_query_is_passed_on_unchanged_but_for_its_id(place: Place) -> None:
    option = b"\0" + struct.pack("!HHIH", dns.OPT, 1232, 0x8000, 0)
    asked = query("DB", id=0xABCD, flags=0x0130, rest=option, additional=1)
    answer = place.ask("", asked)
    assert dns.id_of(answer) == 0xABCD
    assert found(answer) == ["10.0.0.2"]
    (passed_on,) = place.docker.asked
    assert passed_on[2:] == asked[2:]
    assert place.outside.asked == []
    assert place.served.counts == {"answered": 1}


def test_nothing_is_cached(place: Place) -> None:
    assert found(place.ask("db")) == ["10.0.0.2"]
    place.docker.answers["db"] = addresses("10.0.0.3", "10.0.0.4")
    assert found(place.ask("db")) == ["10.0.0.3", "10.0.0.4"]


def test_hosts_file_is_asked_first_and_read_again_when_it_changes(place: Place) -> None:
    place.hosts.write_text("10.0.0.9 db\n")
    assert found(place.ask("db")) == ["10.0.0.9"]
    assert place.docker.asked == []
    assert place.served.counts == {"hosts": 1}
    place.hosts.write_text("10.0.0.8 db\n")
    eventually(lambda: found(place.ask("db")) == ["10.0.0.8"], "the new address is answered")


def test_name_that_no_server_knows_does_not_exist(place: Place) -> None:
    assert dns.rcode_of(place.ask("nothing")) == dns.NXDOMAIN


@pytest.mark.parametrize("fails", [silent, failing(dns.SERVFAIL), failing(dns.REFUSED)])
def test_server_outside_is_asked_if_dockers_fails(place: Place, fails: Callable[[dns.Query], bytes | None]) -> None:
    """Docker's server asks those outside from the container's namespace, which has no way to them any more."""
    place.docker.default = fails
    assert found(place.ask("example.com")) == ["192.0.2.80"]
    assert dns.rcode_of(place.ask("nothing.example.com")) == dns.NXDOMAIN


def test_slow_answer_of_dockers_server_counts_more_than_an_unknown_name_outside(place: Place) -> None:
    place.docker.answers["db"] = late(addresses("10.0.0.2"), 0.3)
    assert found(place.ask("db")) == ["10.0.0.2"]
    assert len(place.outside.asked) == 1


def test_server_that_is_proved_to_be_silent_costs_little_time(place: Place) -> None:
    """It answers what it knows, and says nothing to what it cannot pass on, as Docker's before version 24."""
    place.docker.answers["0" * 12] = addresses("10.0.0.9")
    place.docker.default = silent
    took_s = []
    for _ in range(5):
        before_s = time.monotonic()
        assert found(place.ask("example.com")) == ["192.0.2.80"]
        assert dns.rcode_of(place.ask("nothing.example.com")) == dns.NXDOMAIN
        with place.connect() as connection:
            assert found(over(connection, query("example.com"))) == ["192.0.2.80"]
        took_s.append(time.monotonic() - before_s)
    assert min(took_s) < 0.2
    assert found(place.ask("db")) == ["10.0.0.2"]
    assert not any(b"\2db" in each for each in place.outside.asked)


def test_failure_of_all_servers_is_the_answer(place: Place) -> None:
    place.docker.default = failing(dns.REFUSED)
    place.outside.default = failing(dns.SERVFAIL)
    assert dns.rcode_of(place.ask("example.org")) == dns.SERVFAIL
    assert place.served.counts == {"failed": 1}


def test_guest_whose_network_leads_nowhere_is_not_helped_outside(tmp_path: Path) -> None:
    with ExitStack() as owned:
        place = Place(owned, tmp_path, gateway=None)
        place.docker.default = silent
        assert dns.rcode_of(place.ask("example.com")) == dns.SERVFAIL
        assert place.outside.asked == []


def test_dead_server_inside_costs_no_time_and_may_come_back(place: Place) -> None:
    assert found(place.ask("db")) == ["10.0.0.2"]
    place.docker.close()
    before_s = time.monotonic()
    for _ in range(3):
        assert found(place.ask("example.com")) == ["192.0.2.80"]
    assert time.monotonic() - before_s < 4
    with closing(DnsServer(place.inner, DOCKER, {"db": addresses("10.0.0.3")})):
        assert found(place.ask("db")) == ["10.0.0.3"]


def test_servers_that_docker_wrote_are_trusted_until_the_container_changes_the_file(tmp_path: Path) -> None:
    text = "nameserver 192.0.2.53\n"
    written = tmp_path / "resolv.conf"
    written.write_text(text)
    assert read_unchanged(str(written)) == "", "there is no hash"
    (tmp_path / "resolv.conf.hash").write_text(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")
    assert read_unchanged(str(written)) == text
    written.write_text(f"{text}nameserver 10.0.0.1\n")
    assert read_unchanged(str(written)) == ""
    assert read_unchanged("") == ""


def test_server_to_which_a_route_leads_but_no_address_is_as_dead(place: Place, tmp_path: Path) -> None:
    """As the container's gateway, to which vtapd keeps a route for Docker."""
    for words in ("link add veth0 type veth peer name veth1", "link set veth0 up", "route add 192.0.2.99 dev veth0"):
        run(["nsenter", f"--net=/proc/self/fd/{place.inner.fd}", "ip", *words.split()], pass_fds=(place.inner.fd,))
    (tmp_path / "etc" / "resolv.conf").write_text("nameserver 192.0.2.99\n")
    with place.inner.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.connect(("192.0.2.99", 53))
        assert sock.getsockname()[0] == "0.0.0.0"  # noqa: S104  # it is not bound
    before_s = time.monotonic()
    for _ in range(3):
        assert dns.rcode_of(place.ask("nothing.example.com")) == dns.NXDOMAIN
    assert time.monotonic() - before_s < 2


def test_long_answers_are_for_tcp(place: Place) -> None:
    many = [f"10.1.{n // 200}.{n % 200}" for n in range(3000)]
    place.docker.answers["many"] = addresses(*many)
    answer = place.ask("many")
    assert len(answer) <= 512
    assert dns.has_records(answer)
    assert found(answer) == [], "it is cut short"
    with place.connect() as connection:
        for name, expected in (("many", many), ("db", ["10.0.0.2"])):
            answer = over(connection, query(name))
            assert found(answer) == expected
            assert dns.id_of(answer) == 0x1234


def test_server_outside_is_asked_over_tcp_too(place: Place) -> None:
    place.docker.default = failing(dns.SERVFAIL)
    with place.connect() as connection:
        assert found(over(connection, query("example.com"))) == ["192.0.2.80"]


def test_garbage_is_refused_and_counted(place: Place) -> None:
    assert dns.rcode_of(place.ask("", query("db")[:-1])) == dns.FORMERR
    with pytest.raises(TimeoutError):
        place.ask("", query("db", flags=0x8000), timeout_s=0.2)
    with place.connect() as connection:
        connection.sendall(b"\xff\xff")
        assert connection.recv(10) == b"", "a query that long is not waited for"
    assert place.served.counts == {"malformed": 2}
    assert found(place.ask("db")) == ["10.0.0.2"]


def test_queries_are_kept_while_the_daemon_is_late() -> None:
    with ExitStack() as owned:
        inner = namespace(owned, RESOLVER)
        sockets = inner.inside(lambda: open_names(RESOLVER))
        assert sockets is not None
        with closing(sockets), inner.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as guest:
            for _ in range(2000):
                guest.sendto(query("db"), (RESOLVER, 53))
            for _ in range(2000):
                sockets.datagrams.recv(4096)


def test_only_the_guest_is_answered(place: Place) -> None:
    with pytest.raises(TimeoutError):
        place.ask("db", source=STRANGER, timeout_s=0.5)
    with place.connect(STRANGER) as connection:
        assert connection.recv(10) == b""
    assert place.docker.asked == []


def test_connections_are_bounded(place: Place) -> None:
    with ExitStack() as owned:
        opened = [owned.enter_context(place.connect()) for _ in range(8)]
        with place.connect() as more:
            assert more.recv(10) == b""
        opened[0].close()
        asked = query("db")

        def is_served() -> bool:
            with place.connect() as again:
                again.sendall(struct.pack("!H", len(asked)) + asked)
                return len(again.recv(100)) > 12

        eventually(is_served, "a connection that was closed leaves its place")


def test_flood_of_one_guest_is_bounded_and_does_not_slow_anothers_queries(tmp_path: Path) -> None:
    """Of what the first one asks, no server answers anything."""
    with ExitStack() as owned:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        one, two = Place(owned, tmp_path / "one"), Place(owned, tmp_path / "two")
        one.docker.default = one.outside.default = silent
        ended = threading.Event()
        flooder = threading.Thread(target=flood, args=(one.inner, ended))
        flooder.start()
        owned.callback(flooder.join)
        owned.callback(ended.set)
        eventually(lambda: one.served.counts["dropped"] > 1000, "queries are dropped")
        for _ in range(50):
            assert found(two.ask("db", timeout_s=1.0)) == ["10.0.0.2"]
        assert len(one.docker.asked) < 128 * 20, "few are being asked at the same time"


def flood(inner: NetworkNamespace, ended: threading.Event) -> None:
    with inner.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((GUEST, 0))
        while not ended.is_set():
            for id in range(100):
                sock.sendto(query("flood", id), (RESOLVER, 53))
            time.sleep(0.001)
