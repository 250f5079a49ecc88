"""Addresses and routes with a lifetime: no guest is given them, and none is restored for longer than it had.

Also containers whose network a guest can be given only in part: no usable address, several default routes.
"""

import time

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import Network, lifetimes, links, network, qemus_of
from tests.harness.processes import run
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 15.0
LONG_S, SHORT_S = 300, 4
PREFIX = "fd00:215:7"
DOCKERS, GATEWAY = f"{PREFIX}::2", f"{PREFIX}::1"
MIRAGE, OSV, UNIKRAFT = "/hello-mirage.bin", "/hello-osv.bin", "/hello-unikraft.bin"
"""Mirage can be given IPv6, the others cannot; the command line shows the addresses that each was given."""


def ip(container: Container, *words: str) -> None:
    """Run ip(8) in the container, as a DHCP client, a router or an administrator would."""
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", *words])


def add(container: Container, address: str, valid_s: int | None = None, preferred_s: int | None = None) -> None:
    lifetime = ("valid_lft", str(valid_s), "preferred_lft", str(preferred_s or valid_s)) if valid_s else ()
    ip(container, "address", "add", address, "dev", "eth0", *lifetime)


def ipv6_network(containers: Containers) -> str:
    return containers.network("--ipv6", "--subnet", f"{PREFIX}::/64", "--gateway", GATEWAY)


def command_line(daemon: Daemon, container: Container) -> list[str]:
    command = daemon.inspect(container.name).only_guest.command
    return command[command.index("-append") + 1].split()


def notes(daemon: Daemon, container: Container) -> str:
    return "\n".join(daemon.inspect(container.name).only_guest.notes)


def shown(container: Container) -> list[str]:
    """Return each address with its flags, without `nodad`, which only says that it was not checked for duplicates."""
    printed = run(
        ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-o", "address", "show", "dev", "eth0"]
    ).stdout
    return printed.replace(" nodad", "").splitlines()


def settled(container: Container) -> Network:
    """Return what a takeover must restore. Routes exist only after the check for duplicate addresses."""
    eventually(lambda: "tentative" not in str(shown(container)), "its addresses are no duplicates", PATIENCE_S)
    return network(container.pid)


@pytest.fixture
def stopped_daemon(vtapd: Daemon) -> Daemon:
    """A daemon that is not running yet."""
    vtapd.stop()
    return vtapd


def test_addresses_with_a_lifetime_are_withheld_and_restored_with_the_rest_of_it(
    stopped_daemon: Daemon, containers: Containers
) -> None:
    guest = containers.guest("--network", ipv6_network(containers), kernel=MIRAGE)
    fading, gone, stays = (f"{PREFIX}::{end}/64" for end in ("99", "98", "97"))
    fading4 = "10.99.0.9/24"
    add(guest, stays)
    add(guest, fading, LONG_S, 200)
    add(guest, fading4, LONG_S)
    ip(guest, "-6", "route", "add", "2001:db8:77::/48", "via", GATEWAY, "dev", "eth0", "expires", str(LONG_S))
    ip(guest, "-6", "route", "add", "2001:db8:78::/48", "via", GATEWAY, "dev", "eth0", "expires", str(SHORT_S))
    add(guest, gone, SHORT_S)
    begin_s = time.monotonic()
    stopped_daemon.start()
    guest.await_page()
    assert {f"--ipv6={DOCKERS}/64", f"--ipv6-gateway={GATEWAY}"} <= set(command_line(stopped_daemon, guest))
    noted = notes(stopped_daemon, guest)
    for part in (f"address {fading}", f"address {gone}", f"address {fading4}", "route 2001:db8:77::/48"):
        assert f"Not passed to the guest: {part}" in noted
    assert noted.count("it has a lifetime") >= 4
    assert network(guest.pid).addresses == ()

    ip(guest, "-6", "route", "flush", "2001:db8:77::/48")  # Linux leaves it there without the address of its link
    stopped_daemon.kill()
    stopped_daemon.start()
    stopped_daemon.await_state(guest.name, "running")
    time.sleep(max(0.0, SHORT_S + 1 - (time.monotonic() - begin_s)))
    stopped_daemon.request("detach", guest.name)
    left = lifetimes(guest.pid)
    most_s = LONG_S - int(time.monotonic() - begin_s) + 1
    for what in (fading, fading4, "2001:db8:77::/48"):
        found = left[what]
        assert found is not None, f"{what} stays"
        assert LONG_S - PATIENCE_S - SHORT_S <= found <= most_s, what
    assert (left[stays], left[f"{DOCKERS}/64"]) == (None, None)
    assert not {gone, "2001:db8:78::/48"} & left.keys(), "an expired address or route was restored"


@pytest.mark.vtapd_config(attach={"resync": "300ms"})
def test_address_renewed_by_a_router_does_not_restart_the_takeover(
    stopped_daemon: Daemon, containers: Containers
) -> None:
    """With a stable private identifier (RFC 7217) the interface gets the same address again, whatever its MAC is."""
    guest = containers.guest("--network", ipv6_network(containers), kernel=MIRAGE)
    fading = f"{PREFIX}::99/64"
    add(guest, fading, LONG_S)
    stopped_daemon.start()
    guest.await_page()
    qemu, before = guest.qemu(), network(guest.pid)
    add(guest, fading, 2 * LONG_S)
    holds_for(lambda: lifetimes(guest.pid).keys() >= {fading}, "it is left to the container", 2.0)
    assert (guest.qemu(), network(guest.pid).mac) == (qemu, before.mac)
    ip(guest, "address", "delete", fading, "dev", "eth0")
    holds_for(lambda: guest.qemu() == qemu, "its end changes nothing", 1.0)
    stopped_daemon.request("detach", guest.name)
    assert (lifetimes(guest.pid)[fading] or 0) <= LONG_S
    assert network(guest.pid).mac == guest.endpoint.mac


def test_permanent_address_keeps_its_flags(stopped_daemon: Daemon, containers: Containers) -> None:
    """Deprecated, or without a route to its prefix (linux/if_addr.h: IFA_F_NOPREFIXROUTE)."""
    guest = containers.guest("--network", ipv6_network(containers), kernel=MIRAGE)
    ip(guest, "address", "add", f"{PREFIX}::95/64", "dev", "eth0", "preferred_lft", "0")
    ip(guest, "address", "add", "fd01::1/64", "dev", "eth0", "noprefixroute")
    ip(guest, "address", "add", "10.98.0.1/24", "dev", "eth0", "noprefixroute")
    before, before_shown = settled(guest), shown(guest)
    stopped_daemon.start()
    guest.await_page()
    assert f"address {PREFIX}::95/64 of eth0: it is deprecated" in notes(stopped_daemon, guest)
    stopped_daemon.request("detach", guest.name)
    assert network(guest.pid) == before
    assert shown(guest) == before_shown


def test_ipv6_alone_suffices_for_a_kind_with_ipv6(stopped_daemon: Daemon, containers: Containers) -> None:
    guest = containers.guest("--network", ipv6_network(containers), kernel=MIRAGE)
    ip(guest, "-4", "address", "flush", "dev", "eth0")
    add(guest, f"{PREFIX}::94/64")
    before = settled(guest)
    stopped_daemon.start()
    stopped_daemon.await_state(guest.name, "running")
    words = command_line(stopped_daemon, guest)
    assert {f"--ipv6={DOCKERS}/64", f"--ipv6-gateway={GATEWAY}"} <= set(words)
    assert not any(word.startswith("--ipv4") for word in words)
    (row,) = (row for row in stopped_daemon.ps() if row.name == guest.name)
    assert row.address == f"{DOCKERS}/64"
    assert network(guest.pid).addresses == ()
    stopped_daemon.request("detach", guest.name)
    assert network(guest.pid) == before


@pytest.mark.parametrize("kernel", [OSV, UNIKRAFT])
def test_guest_without_a_usable_address_is_rejected(
    stopped_daemon: Daemon, containers: Containers, kernel: str
) -> None:
    guest = containers.guest("--network", ipv6_network(containers), kernel=kernel)
    ip(guest, "-4", "address", "flush", "dev", "eth0")
    add(guest, "10.97.0.9/24", LONG_S)
    before = settled(guest)
    stopped_daemon.start()
    view = stopped_daemon.await_state(guest.name, "rejected")
    assert "eth0 has no IPv4 address that the guest could have for good" in view.message
    assert "put the container on a network with IPv4" in view.message
    eventually(guest.is_untouched, "the container is untouched", PATIENCE_S)
    assert network(guest.pid) == before
    assert qemus_of(guest.id) == []


@pytest.mark.parametrize("kernel", [OSV, UNIKRAFT])
def test_interface_without_a_usable_address_stays_with_the_container(
    stopped_daemon: Daemon, containers: Containers, kernel: str
) -> None:
    guest = containers.create(
        *("--network", ipv6_network(containers)), labels={"vtapd.kernel": kernel, "vtapd.ready": "tcp:80"}
    )
    other = containers.network()
    guest.machine.docker("network", "connect", other, guest.id)
    guest = guest.start()
    ip(guest, "-4", "address", "flush", "dev", "eth0")
    before = settled(guest)
    stopped_daemon.start()
    stopped_daemon.await_state(guest.name, "ready")
    address = guest.endpoints()[other].address
    assert any(address in word for word in command_line(stopped_daemon, guest))
    (row,) = (row for row in stopped_daemon.ps() if row.name == guest.name)
    assert row.address == f"{address}/{guest.endpoints()[other].prefix}"
    view = stopped_daemon.inspect(guest.name)
    assert {each.name: each.in_guest for each in view.interfaces} == {"eth0": False, "eth1": True}
    assert "no card on eth0, which stays with the container: it has no IPv4 address" in notes(stopped_daemon, guest)
    assert network(guest.pid).mac == before.mac
    assert network(guest.pid).addresses == before.addresses
    assert sum(1 for link in links(guest.pid).values() if link.macvtap_mode) == 2, "eth0 has no tap for its owner"


def test_gateway_is_on_the_link_of_the_address(stopped_daemon: Daemon, containers: Containers) -> None:
    guest = containers.guest("--network", ipv6_network(containers), kernel=MIRAGE)
    add(guest, "10.96.0.9/24")
    ip(guest, "route", "add", "default", "via", "10.96.0.1", "dev", "eth0", "metric", "7")
    ip(guest, "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0", "metric", "7")
    ip(guest, "-6", "route", "add", "default", "via", "2001:db8:5::1", "dev", "eth0", "onlink", "metric", "8")
    before = settled(guest)
    stopped_daemon.start()
    guest.await_page()
    endpoint = guest.endpoint
    words = command_line(stopped_daemon, guest)
    assert f"--ipv4={endpoint.address}/{endpoint.prefix}" in words
    assert f"--ipv4-gateway={endpoint.gateway}" in words
    assert f"--ipv6-gateway={GATEWAY}" in words
    noted = notes(stopped_daemon, guest)
    assert f"gateway 10.96.0.1 of eth0: it is not on the link of {endpoint.address}/{endpoint.prefix}" in noted
    assert f"gateway 2001:db8:5::1 of eth0: it is not on the link of {DOCKERS}/64" in noted
    assert f"gateway fe80::1 of eth0: the guest is given {GATEWAY}" in noted, (
        "a link-local gateway counted as off the link"
    )
    stopped_daemon.request("detach", guest.name)
    assert network(guest.pid) == before
