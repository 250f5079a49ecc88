"""Interfaces that cannot be attached, taken over or given back: each costs itself, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import network
from tests.harness.processes import run
from tests.harness.views import InterfaceView
from tests.harness.waiting import eventually

PATIENCE_S = 20.0
FIXED_MAC = "ifb7"
"""A link whose MAC cannot be changed, like an ipvlan's."""


def ip(container: Container, *words: str) -> None:
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", *words])


def in_container(container: Container, path: str) -> Path:
    return Path(f"/proc/{container.pid}/root") / path


@pytest.fixture
def passthru(machine: Machine, containers: Containers) -> Iterator[str]:
    """A macvlan network in passthru mode, whose interfaces can have no macvtap."""
    machine.run("ip", "link", "add", "lan8", "type", "veth", "peer", "name", "lan9")
    try:
        options = ("-d", "macvlan", "-o", "parent=lan8", "-o", "macvlan_mode=passthru", "--subnet", "192.168.98.0/24")
        yield containers.network(*options)
        containers.remove_all()
    finally:
        machine.run("ip", "link", "del", "lan8")


def interfaces(daemon: Daemon, container: Container) -> dict[str, InterfaceView]:
    return {each.name: each for each in daemon.inspect(container.name).interfaces}


def in_guest(daemon: Daemon, container: Container) -> set[str]:
    return {name for name, each in interfaces(daemon, container).items() if each.in_guest}


def failed(daemon: Daemon, container: Container) -> dict[str, str]:
    found = interfaces(daemon, container)
    return {name: each.reason or "" for name, each in found.items() if each.state not in ("attached", "detached")}


def own_addresses(container: Container) -> set[str]:
    """Return the IPv4 addresses of its ethN."""
    names = [name for name in container.links() if name.startswith("eth")]
    found = (address for name in names for address in network(container.pid, name).addresses)
    return {address.partition("/")[0] for address in found if ":" not in address}


def add_fixed_mac(container: Container) -> None:
    ip(container, "link", "add", FIXED_MAC, "type", "ifb")
    ip(container, "address", "add", "10.97.0.2/24", "dev", FIXED_MAC)
    ip(container, "link", "set", FIXED_MAC, "up")


@pytest.mark.vtapd_config(attach={"interfaces": "all"})
def test_guest_has_the_interfaces_that_are_in_order(vtapd: Daemon, containers: Containers, passthru: str) -> None:
    guest = containers.serving_guest("--network", containers.network())
    qemu, second = guest.qemu(), containers.network()
    in_container(guest, "dev/tap1").mkdir()
    guest.machine.docker("network", "connect", second, guest.id)
    guest.machine.docker("network", "connect", passthru, guest.id)
    add_fixed_mac(guest)
    fixed = network(guest.pid, FIXED_MAC).addresses
    vtapd.request("attach", guest.name)
    eventually(lambda: {"eth1", "eth2"} <= failed(vtapd, guest).keys(), "the two are reported", PATIENCE_S)
    assert "/dev/tap1" in failed(vtapd, guest)["eth1"]
    assert guest.qemu() == qemu, "the guest was stopped for a network that was connected"

    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "the guest was restarted", PATIENCE_S)
    guest.await_page()
    assert in_guest(vtapd, guest) == {"eth0"}
    assert "MAC" in failed(vtapd, guest)[FIXED_MAC]
    assert network(guest.pid, FIXED_MAC).addresses == fixed
    assert all(network(guest.pid, name).addresses for name in ("eth1", "eth2")), "the container lost a network"

    vtapd.kill()
    vtapd.start()
    assert vtapd.await_state(guest.name, "running").name == guest.name
    qemu = guest.qemu()
    eventually(lambda: {"eth1", "eth2"} <= failed(vtapd, guest).keys(), "the two are reported again", PATIENCE_S)
    assert guest.qemu() == qemu

    in_container(guest, "dev/tap1").rmdir()
    vtapd.request("restart", guest.name)
    guest.await_page()
    assert in_guest(vtapd, guest) == {"eth0", "eth1"}
    vtapd.request("detach", guest.name)
    assert own_addresses(guest) == {each.address for each in guest.endpoints().values()}
    assert network(guest.pid, FIXED_MAC).addresses == fixed


def test_container_of_which_nothing_can_be_attached_is_left_as_it_was(vtapd: Daemon, containers: Containers) -> None:
    """It is tried again once an operator says so, and a plain container beside it has its other interface."""
    vtapd.stop()
    guest, plain = containers.guest(), containers.run("--network", containers.network())
    plain.machine.docker("network", "connect", containers.network(), plain.id)
    before = network(guest.pid)
    for container in (guest, plain):
        in_container(container, "dev/tap0").write_text("mine")
    vtapd.start()
    assert "/dev/tap0" in vtapd.await_state(guest.name, "failed").message
    assert network(guest.pid) == before
    assert guest.is_running()
    assert vtapd.await_state(plain.name, "attached").message.startswith(f"container {plain.name}: eth0: ")
    assert {name: each.state for name, each in interfaces(vtapd, plain).items()} == {
        "eth0": "failed",
        "eth1": "attached",
    }
    in_container(guest, "dev/tap0").unlink()
    vtapd.request("attach", guest.name)
    guest.await_page()
    assert in_container(plain, "dev/tap0").read_text() == "mine"


def test_undo_goes_on_after_a_step_that_fails(vtapd: Daemon, containers: Containers) -> None:
    """The routes of an interface that is down cannot be given back. All else is, and they are once it is up."""
    vtapd.stop()
    container = containers.guest("--network", containers.network())
    container.machine.docker("network", "connect", containers.network(), container.id)
    ip(container, "route", "add", "10.55.0.0/16", "dev", "eth0")
    vtapd.start()
    eventually(lambda: in_guest(vtapd, container) == {"eth0", "eth1"}, "the guest has both cards", PATIENCE_S)
    addresses = {each.address for each in container.endpoints().values()}
    ip(container, "link", "set", "eth0", "down")
    refused = vtapd.command("detach", container.name, check=False)
    assert refused.returncode == 1
    assert "eth0: cannot add route" in refused.stderr
    assert not [link for link in container.links().values() if link.macvtap_mode], "the taps stay"
    assert addresses == own_addresses(container), "an address is missing"
    assert interfaces(vtapd, container)["eth0"].state == "detaching"
    ip(container, "link", "set", "eth0", "up")
    eventually(lambda: vtapd.command("detach", container.name), "it is detached", PATIENCE_S)
    assert any("10.55.0.0/16" in route for route in network(container.pid).routes)
