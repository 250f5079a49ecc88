"""A guest that has its container's addresses and the container itself reach each other over their private link."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import METRICS, Daemon
from tests.harness.killed_daemon import guest_link
from tests.harness.lan import lan
from tests.harness.machine import Machine
from tests.harness.observe import network, qemus_of
from tests.harness.processes import run
from tests.harness.waiting import eventually

LINK_ADDRESS = "169.254.118.1"
GREETING = "Hiya, Gump!"
BOOT_S, PATIENCE_S = 60.0, 15.0
BYTES = 10_000_000
PATTERN = b"0123456789abcdef0123456789ABCDEF\n"
SUM = hashlib.sha256((PATTERN * (BYTES // len(PATTERN) + 1))[:BYTES]).hexdigest()
BODY = f"yes {PATTERN.decode().strip()} | head -c {BYTES}"


def pings(container: Container, address: str) -> bool:
    return " 0% packet loss" in container.exec("ping", "-c", "2", "-W", "2", address, check=False)


def shell(container: Container, script: str) -> str:
    return container.exec("sh", "-c", script, check=False).strip()


def inside(container: Container, *words: str) -> str:
    """Run a command in the container's network, as a container with CAP_NET_ADMIN can."""
    return run(["nsenter", f"--net=/proc/{container.pid}/ns/net", *words]).stdout


def reaches(container: Container) -> bool:
    return GREETING in container.fetch(container.address)


class Guest:
    """A Linux guest that carries out scripts, which a neighbour on its network posts to it."""

    def __init__(self, container: Container, neighbour: Container) -> None:
        self._container, self._neighbour = container, neighbour

    def run(self, script: str) -> str:
        head = f"POST /cgi-bin/run HTTP/1.0\\r\\nContent-Length: {len(script.encode())}\\r\\n\\r\\n"
        sent = shell(self._neighbour, f"printf '{head}%s' '{script}' | nc -w 30 {self._container.address} 80")
        return sent.partition("\r\n\r\n")[2] or sent.partition("\n\n")[2]


@pytest.fixture(params=["bridge", "user-defined", "internal", "macvlan"])
def options(request: pytest.FixtureRequest, machine: Machine, containers: Containers) -> Iterator[list[str]]:
    """The options that connect a container to a network of this kind."""
    match request.param:
        case "bridge":
            yield []
        case "user-defined":
            yield ["--network", containers.network()]
        case "internal":
            yield ["--network", containers.network("--internal")]
        case _:
            with lan(machine, containers, "lan4", "lan5"):
                machine.run("ip", "address", "add", "192.168.94.1/24", "dev", "lan5")
                made = containers.network(
                    *("-d", "macvlan", "-o", "parent=lan4"),
                    *("--subnet", "192.168.94.0/24", "--gateway", "192.168.94.1"),
                )
                yield ["--network", made]


@pytest.mark.timeout(240)
def test_linux_guest_and_its_container_exchange_10_mb_each_way(
    machine: Machine, vtapd: Daemon, containers: Containers, options: list[str]
) -> None:
    container = containers.run(*options, image=machine.linux_image)
    sidecar, neighbour = containers.run("--network", f"container:{container.id}"), containers.run(*options)
    guest = Guest(container, neighbour)
    eventually(lambda: "Hello from Linux" in neighbour.fetch(container.address), "the guest serves", BOOT_S)
    if "gw -" in container.logs():
        guest.run(f"ip route add {LINK_ADDRESS} dev eth0")  # without a gateway it has no route that leads there
    for process in (container, sidecar):
        assert "Hello from Linux" in process.fetch(container.address)
        assert pings(process, container.address)
    assert " 0% packet loss" in guest.run(f"ping -c 2 -W 2 {LINK_ADDRESS}")

    get = r"printf 'GET /cgi-bin/bytes HTTP/1.0\r\n\r\n'"
    from_guest = shell(container, rf"{get} | nc -w 30 {container.address} 80 | sed '1,/^\r*$/d' | sha256sum")
    assert from_guest.split()[0] == SUM
    post = rf"printf 'POST /cgi-bin/sum HTTP/1.0\r\nContent-Length: {BYTES}\r\n\r\n'"
    assert SUM in shell(container, f"({post}; {BODY}) | nc -w 30 {container.address} 80")

    # The standard input of a nc that receives must not end: that would end the connection.
    machine.docker("exec", "-d", sidecar.id, "sh", "-c", f"{BODY} | nc -l -p 8001")
    machine.docker(
        "exec", "-d", sidecar.id, "sh", "-c", "mkfifo /tmp/never; nc -l -p 8002 <>/tmp/never | sha256sum >/tmp/sum"
    )
    eventually(lambda: shell(sidecar, "netstat -ltn").count(":800") == 2, "the container listens", PATIENCE_S)
    received = guest.run(f"mkfifo /tmp/never; nc -w 30 {LINK_ADDRESS} 8001 <>/tmp/never | sha256sum")
    assert received.split()[0] == SUM
    guest.run(f"{BODY} | nc -w 30 {LINK_ADDRESS} 8002")
    eventually(lambda: SUM in shell(sidecar, "cat /tmp/sum"), "the container has received it", PATIENCE_S)
    assert vtapd.inspect(container.name).only_guest.notes == []


@pytest.mark.timeout(240)
def test_guest_reaches_nothing_but_its_container_by_the_address(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    """Nor does garbage disturb anything, nor the end of the container in the middle of it."""
    container, neighbour = containers.run(image=machine.linux_image), containers.run()
    guest = Guest(container, neighbour)
    eventually(lambda: "Hello from Linux" in neighbour.fetch(container.address), "the guest serves", BOOT_S)
    metrics = METRICS.rpartition(":")[2]
    for port in (metrics, "2375", "22"):
        assert "refused" in guest.run(f"nc -w 3 {LINK_ADDRESS} {port} </dev/null")

    before = echo_requests(neighbour)
    spoofing = f"ip address add {LINK_ADDRESS}/32 dev eth0; ping -c 2 -W 1 -I {LINK_ADDRESS} {neighbour.address}"
    assert "100% packet loss" in guest.run(f"{spoofing}; ip address del {LINK_ADDRESS}/32 dev eth0")
    assert echo_requests(neighbour) == before
    assert " 0% packet loss" in guest.run(f"ping -c 1 -W 2 {neighbour.address}"), "with its own address it does"

    garbage = r'"$(head -c 300 /dev/urandom | tr -d "\0")"'  # by tftp, since its nc has no UDP
    datagram = f"timeout 1 tftp -g -l /dev/null -r {garbage} {LINK_ADDRESS}"
    guest.run(f"for i in 1 2 3; do for port in 53 67 68 9817; do {datagram} $port & done; done; wait")
    for message in (r'printf "\001\054"; head -c 300 /dev/urandom', "head -c 9000 /dev/urandom"):  # 300 has its length
        guest.run(f"for i in 1 2 3; do ({message}) | nc -w 1 {LINK_ADDRESS} 53 >/dev/null; done")
    assert "Address: 127.0.0.1" in guest.run("nslookup localhost"), "names are answered as before"
    assert vtapd.metrics().value("vtapd_dns_queries_total", container=container.name, result="malformed") >= 6
    guest.run("for i in 1 2 3 4; do (while :; do nslookup nothing; done) >/dev/null 2>&1 & done")
    machine.docker("kill", container.id)
    eventually(lambda: not qemus_of(container.id), "the guest has ended", PATIENCE_S)
    assert vtapd.is_running()
    assert not vtapd.bugs()


def test_health_check_of_a_container_asks_its_guest(vtapd: Daemon, containers: Containers) -> None:
    asked = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 $(hostname) 80 | grep -q Gump"
    options = ("--health-cmd", asked, "--health-interval", "500ms", "--health-retries", "1")
    guest = containers.guest(*options, on_exit="keep")

    def health() -> object:
        return guest.docker_state()["Health"]["Status"]

    eventually(lambda: health() == "healthy", "the guest is asked", PATIENCE_S)
    vtapd.command("stop", guest.name)
    eventually(lambda: health() == "unhealthy", "a guest that has ended is noticed", PATIENCE_S)


def remove_hooks(container: Container) -> None:
    inside(container, "tc", "qdisc", "del", "dev", "eth0", "clsact")


def remove_filter_of_tap(container: Container) -> None:
    inside(container, "tc", "filter", "del", "dev", container.tap_name, "egress")


def remove_address(container: Container) -> None:
    inside(container, "ip", "address", "del", f"{LINK_ADDRESS}/32", "dev", "lo")


def remove_route(container: Container) -> None:
    inside(container, "ip", "route", "del", container.address, "dev", "eth0")


def remove_neighbour(container: Container) -> None:
    inside(container, "ip", "neighbour", "del", container.address, "dev", "eth0")


def delete_tap(container: Container) -> None:
    inside(container, "ip", "link", "del", container.tap_name)


def change_mac(container: Container) -> None:
    """The neighbour entries go with it, and the program has another MAC to write."""
    inside(container, "ip", "link", "set", "eth0", "address", "5e:00:00:00:00:77")


CHANGES = (
    remove_hooks, remove_filter_of_tap, remove_address, remove_route, remove_neighbour, delete_tap, change_mac,
)  # fmt: skip


@pytest.mark.vtapd_config(attach={"resync": "300ms"})
@pytest.mark.parametrize("change", CHANGES)
def test_what_the_container_removes_is_made_again(
    vtapd: Daemon, containers: Containers, change: Callable[[Container], None]
) -> None:
    vtapd.stop()
    guest = containers.guest()
    before = network(guest.pid), guest_link(guest.pid)
    vtapd.start()
    guest.await_page()
    assert reaches(guest)
    change(guest)
    eventually(lambda: reaches(guest), f"the container reaches its guest after {change.__name__}", PATIENCE_S)
    vtapd.request("detach", guest.name)
    assert (network(guest.pid), guest_link(guest.pid)) == before


def test_link_outlives_the_daemon_and_is_left_as_it_is(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    before = guest_link(guest.pid)
    assert len(re.findall(r" id \d+ ", before)) == 2
    vtapd.kill()
    assert reaches(guest)
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    assert reaches(guest)
    assert guest_link(guest.pid) == before, "a program was loaded again"


def test_what_another_program_has_on_the_hooks_stays(vtapd: Daemon, containers: Containers) -> None:
    vtapd.stop()
    guest = containers.guest()
    inside(guest, "tc", "qdisc", "add", "dev", "eth0", "clsact")
    bytecode = "1,6 0 0 4294967295"  # it lets everything pass
    inside(guest, *("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "7", "bpf", "bytecode", bytecode))
    before = network(guest.pid), guest_link(guest.pid)
    vtapd.start()
    guest.await_page()
    assert reaches(guest)
    assert guest.get().status == 200
    vtapd.request("detach", guest.name)
    assert (network(guest.pid), guest_link(guest.pid)) == before


def test_hooks_that_another_program_uses_meanwhile_stay(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    bytecode = "1,6 0 0 4294967295"
    inside(guest, *("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "7", "bpf", "bytecode", bytecode))
    vtapd.request("detach", guest.name)
    shown = guest_link(guest.pid)
    assert "clsact" in shown
    assert "vtapd-" not in shown
    assert "pref 7" in shown
    remove_hooks(guest)


def test_link_is_made_again_after_a_restart_of_the_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    guest.await_page()
    assert reaches(guest)
    guest.stop(5)
    started = guest.start()
    started.await_page()
    assert reaches(started)


def test_lost_record_of_a_link_is_rebuilt(vtapd: Daemon, containers: Containers) -> None:
    vtapd.stop()
    guest = containers.guest()
    before = network(guest.pid), guest_link(guest.pid)
    vtapd.start()
    guest.await_page()
    vtapd.kill()
    (vtapd.run_dir / f"{guest.id}.json").unlink()
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    assert reaches(guest)
    vtapd.request("detach", guest.name)
    assert (network(guest.pid), guest_link(guest.pid)) == before


class TestMissing:
    """The guest runs without the link, and `inspect` says why."""

    def test_address_of_the_container(self, vtapd: Daemon, containers: Containers) -> None:
        vtapd.stop()
        guest = containers.guest()
        inside(guest, "ip", "address", "add", f"{LINK_ADDRESS}/32", "dev", "lo")
        before = network(guest.pid), guest_link(guest.pid)
        vtapd.start()
        guest.await_page()
        (note,) = vtapd.inspect(guest.name).only_guest.notes
        assert note.endswith(f"on eth0: the container has the address {LINK_ADDRESS} itself.")
        assert "clsact" not in guest_link(guest.pid)
        vtapd.request("detach", guest.name)
        assert (network(guest.pid), guest_link(guest.pid)) == before

    def test_network_of_the_container(self, vtapd: Daemon, containers: Containers) -> None:
        guest = containers.serving_guest("--network", containers.network("--subnet", "169.254.118.0/24"))
        (note,) = vtapd.inspect(guest.name).only_guest.notes
        assert f"{LINK_ADDRESS} is in the network" in note

    @pytest.mark.vtapd_config(attach={"resync": "300ms"})
    def test_hook_that_the_kernel_refuses(self, vtapd: Daemon, containers: Containers) -> None:
        """The qdisc `ingress` of another program is in the place of clsact, and has no egress hook."""
        vtapd.stop()
        guest = containers.guest()
        inside(guest, "tc", "qdisc", "add", "dev", "eth0", "ingress")
        before = network(guest.pid)
        vtapd.start()
        guest.await_page()
        shown = vtapd.inspect(guest.name)
        assert "cannot open a private link on eth0" in shown.only_guest.notes[0]
        assert shown.state == "running"
        assert [each.state for each in shown.interfaces] == ["attached"]
        assert shown.reason is None
        inside(guest, "tc", "qdisc", "del", "dev", "eth0", "ingress")
        eventually(lambda: reaches(guest), "the link is made when it can be", 40.0)
        vtapd.request("detach", guest.name)
        assert network(guest.pid) == before
        assert "clsact" not in guest_link(guest.pid)

    @pytest.mark.vtapd_config(guest={"link_address": ""})
    def test_link_that_is_switched_off(self, vtapd: Daemon, containers: Containers) -> None:
        guest = containers.serving_guest()
        assert vtapd.inspect(guest.name).only_guest.notes == []
        assert "clsact" not in guest_link(guest.pid)

    def test_guest_with_an_address_of_its_own(self, vtapd: Daemon, containers: Containers) -> None:
        guest = containers.guest(address="none")
        vtapd.await_state(guest.name, "running")
        assert "clsact" not in guest_link(guest.pid)


@pytest.mark.vtapd_config(guest={"link_address": "10.255.77.1"})
def test_address_is_the_configured_one(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    assert reaches(guest)
    route = json.loads(inside(guest, "ip", "-json", "route", "get", guest.address))
    assert route[0]["prefsrc"] == "10.255.77.1"


def test_container_has_no_address_towards_others(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """What its processes send to others is as it was without the link."""
    guest, other = containers.serving_guest(), containers.run()
    assert not pings(guest, other.address)
    seen = json.loads(inside(guest, "ip", "-json", "route", "show", "table", "main"))
    assert {route["dst"] for route in seen} == {guest.address, guest.endpoint.gateway}


def echo_requests(container: Container) -> str:
    """Return how many echo requests the container's kernel has received."""
    head, counts = (line.split() for line in inside(container, "cat", "/proc/net/snmp").splitlines() if "Icmp:" in line)
    return dict(zip(head, counts, strict=True))["InEchos"]


def test_other_machines_do_not_reach_the_address(vtapd: Daemon, containers: Containers) -> None:
    """Nor if they know the MAC of the container's interface."""
    guest, other = containers.serving_guest(), containers.run()
    before = echo_requests(guest)
    inside(other, "ip", "route", "add", LINK_ADDRESS, "dev", "eth0")
    assert not pings(other, LINK_ADDRESS)
    inside(other, "ip", "neighbour", "replace", LINK_ADDRESS, "lladdr", network(guest.pid).mac, "dev", "eth0")
    assert not pings(other, LINK_ADDRESS)
    assert echo_requests(guest) == before
    assert pings(other, guest.address)
