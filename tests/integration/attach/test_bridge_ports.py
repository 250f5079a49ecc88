"""Interfaces of Docker's that a container makes ports of its own bridges. The kernel has one receiver for each link."""

import subprocess
import time

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import macvtaps, network
from tests.harness.processes import run
from tests.harness.waiting import CommandFailed, eventually

PATIENCE_S = 15.0
REASON = "cannot create a macvtap on eth0: eth0 is a port of a bridge (br0)"


def inside(container: Container) -> list[str]:
    return ["nsenter", f"--net=/proc/{container.pid}/ns/net"]


def ip(container: Container, *words: str) -> None:
    """Run ip(8) in the container's network, as a container with CAP_NET_ADMIN can."""
    run([*inside(container), "ip", *words])


def enslave(container: Container) -> None:
    """Make eth0 a port of a bridge, which then has the MAC of eth0, and move the address to the bridge."""
    address = f"{container.endpoint.address}/{container.endpoint.prefix}"
    ip(container, "link", "set", "eth0", "master", "br0")
    ip(container, "address", "flush", "dev", "eth0")
    ip(container, "address", "add", address, "dev", "br0")
    ip(container, "link", "set", "br0", "up")


def release(container: Container) -> None:
    address = f"{container.endpoint.address}/{container.endpoint.prefix}"
    ip(container, "link", "delete", "br0")
    ip(container, "address", "add", address, "dev", "eth0")


def refusals(daemon: Daemon, container: Container) -> int:
    lines = [line for line in daemon.log_lines() if line.get("container") == container.name]
    return len([line for line in lines if REASON in str(line.get("error"))])


@pytest.mark.vtapd_config(attach={"resync": "300ms"})
def test_port_of_a_bridge_has_a_tap_once_it_is_no_port_any_more(vtapd: Daemon, containers: Containers) -> None:
    """A guest in such a container has a card on its other network."""
    vtapd.stop()
    plain, second = containers.run(), containers.network()
    guest = containers.create(labels={"vtapd.kernel": "/hello.bin"})
    guest.machine.docker("network", "connect", second, guest.id)
    guest = guest.start()
    for container in (plain, guest):
        ip(container, "link", "add", "br0", "type", "bridge")
        enslave(container)
    vtapd.start()
    shown = vtapd.await_state(plain.name, "failed")
    assert REASON in shown.message
    assert [REASON in str(each.reason) for each in shown.interfaces] == [True]
    vtapd.await_state(guest.name, "running", deadline_s=PATIENCE_S)
    assert {each.name: each.in_guest for each in vtapd.inspect(guest.name).interfaces} == {"eth0": False, "eth1": True}
    qemu = guest.qemu()
    time.sleep(1)
    assert [refusals(vtapd, each) for each in (plain, guest)] == [1, 1], "it is logged at each resync"
    assert macvtaps(plain.pid) == []
    for container in (plain, guest):
        release(container)
    vtapd.await_state(plain.name, "attached")
    assert [tap.name for tap in macvtaps(plain.pid)] == [plain.tap_name]
    eventually(lambda: len(macvtaps(guest.pid)) == 2, "the guest's container has both taps", PATIENCE_S)
    assert guest.qemu() == qemu


def test_interface_with_a_tap_can_be_no_port_and_the_kernel_reports_no_try(
    vtapd: Daemon, containers: Containers
) -> None:
    """This is why vtapd cannot step aside in time, and why vtapd-networking(7) names what to do before."""
    container, spared = containers.run().await_attached(), containers.run(labels={"vtapd.enable": "false"})
    for each in (container, spared):
        ip(each, "link", "add", "br0", "type", "bridge")
    enslave(spared)
    with subprocess.Popen([*inside(container), "ip", "monitor", "link"], stdout=subprocess.PIPE, text=True) as monitor:
        time.sleep(0.3)
        with pytest.raises(CommandFailed, match="busy"):
            ip(container, "link", "set", "eth0", "master", "br0")
        time.sleep(0.3)
        monitor.terminate()
        assert monitor.stdout is not None
        assert monitor.stdout.read() == ""
    before = network(container.pid)
    vtapd.request("detach", container.name)
    assert network(container.pid) == before
    enslave(container)
    vtapd.command("attach", container.name, check=False)
    assert REASON in vtapd.await_state(container.name, "failed").message
    release(container)
    vtapd.await_state(container.name, "attached")  # long before the next resync
