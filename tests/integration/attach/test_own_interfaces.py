"""Interfaces that a container made for itself, or that others put into it, and Docker's own in every disguise."""

from collections.abc import Iterator

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import macvtaps, network
from tests.harness.processes import run
from tests.harness.waiting import eventually

PATIENCE_S = 15.0


def ip(container: Container, *words: str, check: bool = True) -> str:
    """Run ip(8) in the container's network, as a container with CAP_NET_ADMIN can."""
    done = run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", *words], check=check)
    return done.stdout + done.stderr


def make_own(container: Container) -> None:
    """Make what routers, VPNs and virtual machines in containers make, each with an address."""
    ip(container, "link", "add", "br0", "type", "bridge")
    ip(container, "link", "add", "veth8", "type", "veth", "peer", "name", "veth9")
    ip(container, "tuntap", "add", "tap8", "mode", "tap")
    for number, name in enumerate(("br0", "veth8", "veth9", "tap8")):
        ip(container, "address", "add", f"10.88.{number}.1/24", "dev", name)
        ip(container, "link", "set", name, "up")
    ip(container, "link", "set", "veth9", "master", "br0")


def put_in(container: Container, machine: Machine) -> None:
    """Give it an interface from the host, as pipework and containerlab do."""
    machine.run("ip", "link", "add", "lab0", "type", "veth", "peer", "name", "lab1")
    machine.run("ip", "link", "set", "lab1", "netns", str(container.pid))
    ip(container, "address", "add", "10.89.0.1/24", "dev", "lab1")
    ip(container, "link", "set", "lab1", "up")


def taps(daemon: Daemon, container: Container) -> dict[str, bool]:
    """Return whether each interface that the daemon knows has a tap."""
    return {each.name: each.tap is not None for each in daemon.inspect(container.name).interfaces}


def test_interfaces_that_are_not_dockers_get_nothing(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """Neither in a container that runs already, nor in one that makes them later, nor when its guest starts again."""
    vtapd.stop()
    early, guest = containers.run(), containers.guest()
    make_own(early)
    make_own(guest)
    disguised = containers.run()
    ip(disguised, "link", "set", "eth0", "address", "02:42:00:00:00:77")
    put_in(early, machine)
    vtapd.start()
    guest.await_page()
    early.await_attached()
    later = containers.run().await_attached()
    make_own(later)
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "the guest was restarted", PATIENCE_S)
    guest.await_page()
    vtapd.request("attach", disguised.name)
    assert taps(vtapd, disguised) == {"eth0": True}, "its MAC was changed in the container"
    for container in (early, guest, later):
        vtapd.request("attach", container.name)
        assert taps(vtapd, container) == {"eth0": True}
        assert [tap.name for tap in macvtaps(container.pid)] == [container.tap_name]
        assert network(container.pid, "br0").addresses != ()
        ip(container, "link", "set", "tap8", "master", "br0")


@pytest.fixture
def overlay(machine: Machine, containers: Containers) -> Iterator[str]:
    """An overlay network of a swarm of one node. It has no gateway: Docker connects containers to docker_gwbridge."""
    machine.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
    try:
        yield containers.network("--driver", "overlay", "--attachable")
        containers.remove_all()
    finally:
        machine.docker("swarm", "leave", "--force")
        machine.docker("network", "rm", "docker_gwbridge", check=False)


def test_overlay_network_and_its_way_out_are_dockers(
    machine: Machine, vtapd: Daemon, containers: Containers, overlay: str
) -> None:
    """Docker does not list the second interface among the container's networks."""
    guest = containers.guest("--network", overlay, ready="tcp:80")
    plain = containers.run("--network", overlay)
    put_in(plain, machine)
    vtapd.await_state(guest.name, "ready", deadline_s=PATIENCE_S)
    plain.await_attached()
    for container in (guest, plain):
        vtapd.request("attach", container.name)
        assert taps(vtapd, container) == {"eth0": True, "eth1": True}
        assert len(macvtaps(container.pid)) == 2
    assert [each.in_guest for each in vtapd.inspect(guest.name).interfaces] == [True, True]
    assert "Hiya, Gump!" in plain.fetch(guest.address)
