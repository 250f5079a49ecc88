"""Guests that have an address of their own: what they need, and what they keep over restarts."""

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import network
from tests.harness.processes import run
from tests.harness.waiting import eventually

PATIENCE_S = 15.0
SUBNET, GATEWAY, ADDRESS = "192.168.79.0/24", "192.168.79.1", "192.168.79.200"


def card(daemon: Daemon, container: Container) -> str:
    """Return the MAC of the guest's network card."""
    daemon.await_state(container.name, "running", deadline_s=PATIENCE_S)
    (only,) = (each for each in daemon.inspect(container.name).interfaces if each.in_guest)
    assert only.tap is not None
    return only.tap.mac


def test_guest_with_its_own_address_needs_none_on_the_interface(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    vtapd.stop()
    subnet = containers.network("--subnet", SUBNET, "--gateway", GATEWAY)
    asked = (f"{ADDRESS}/24,{GATEWAY}", "none", "dhcp")
    made = [containers.guest("--network", subnet, address=address, guest="raw") for address in asked[1:]]
    made.append(containers.guest("--network", subnet, address=asked[0]))
    for container in made:
        run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "address", "flush", "dev", "eth0"])
    before = [network(container.pid) for container in made]
    vtapd.start()
    for container in made:
        assert card(vtapd, container) != network(container.pid).mac
    page = eventually(lambda: machine.http(f"http://{ADDRESS}/"), "it serves on its own address", PATIENCE_S)
    assert page.status == 200
    vtapd.kill()
    vtapd.start()
    for container, was in zip(made, before, strict=True):
        vtapd.await_state(container.name, "running")
        vtapd.command("detach", container.name)
        assert network(container.pid) == was


def test_guest_with_its_own_address_keeps_its_mac(vtapd: Daemon, containers: Containers) -> None:
    """Over a restart of its container, and a detach: a DHCP server then gives it the same address."""
    guest = containers.guest(address="none", guest="raw")
    mac = card(vtapd, guest)
    guest.machine.docker("restart", "-t", "0", guest.id)
    guest = guest.restarted()
    eventually(lambda: card(vtapd, guest) == mac, "it has the same MAC after a restart", PATIENCE_S)
    vtapd.command("detach", guest.name)
    vtapd.command("attach", guest.name)
    assert card(vtapd, guest) == mac
    assert card(vtapd, containers.guest(address="none", guest="raw")) != mac
