"""Guests that have an address of their own: what they need, and what they keep over restarts."""

import os
import signal

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import network
from tests.harness.processes import run
from tests.harness.waiting import eventually

PATIENCE_S = 15.0
MAC = "02:00:5e:12:34:56"
SUBNET, GATEWAY, ADDRESS = "192.168.79.0/24", "192.168.79.1", "192.168.79.200"
ON_DEFAULT = "172.17.200.9"
"""On the network that the tests' Docker gives a container by default."""


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
        vtapd.request("detach", container.name)
        assert network(container.pid) == was


def test_guest_with_its_own_address_keeps_its_mac(vtapd: Daemon, containers: Containers) -> None:
    """Over a restart of its container, and a detach: a DHCP server then gives it the same address."""
    guest = containers.guest(address="none", guest="raw")
    mac = card(vtapd, guest)
    guest.machine.docker("restart", "-t", "0", guest.id)
    guest = guest.restarted()
    eventually(lambda: card(vtapd, guest) == mac, "it has the same MAC after a restart", PATIENCE_S)
    vtapd.request("detach", guest.name)
    vtapd.request("attach", guest.name)
    assert card(vtapd, guest) == mac
    assert card(vtapd, containers.guest(address="none", guest="raw")) != mac


def test_guest_with_its_own_address_has_the_mac_that_docker_was_asked_for(
    machine: Machine, vtapd: Daemon, containers: Containers
) -> None:
    """The container keeps its addresses under another MAC, also after a kill of the daemon, and gets its MAC back."""
    vtapd.stop()
    # As `docker run --mac-address` does it, which a newer client refuses if Docker is older than version 25.
    labels = {"vtapd.kernel": "/hello.bin", "vtapd.address": f"{ON_DEFAULT}/16"}
    guest = containers.run_by_api(labels, MacAddress=MAC)
    was = network(guest.pid)
    assert was.mac == MAC
    vtapd.start()
    assert card(vtapd, guest) == MAC
    now = network(guest.pid)
    assert now.mac != MAC
    assert (now.addresses, now.routes) == (was.addresses, was.routes)
    assert eventually(lambda: machine.http(f"http://{ON_DEFAULT}/"), "it serves", PATIENCE_S).status == 200
    with pytest.raises(ConnectionRefusedError):  # its own address answers, and nothing serves there
        machine.http(f"http://{guest.address}/", timeout_s=PATIENCE_S)
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "running")
    assert network(guest.pid) == now
    os.kill(guest.qemu(), signal.SIGKILL)
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it was restarted", PATIENCE_S)
    assert card(vtapd, guest) == MAC
    vtapd.request("detach", guest.name)
    assert network(guest.pid) == was
