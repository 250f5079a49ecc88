"""What is vtapd's is known by its record. What others made, renamed or moved is not taken for it, and is left alone."""

import os
import signal
from pathlib import Path

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.device_numbers import make_macvtap, take_lower_numbers
from tests.harness.machine import Machine
from tests.harness.observe import Device, Link, links, macvtaps, network, node
from tests.harness.processes import run
from tests.harness.waiting import eventually

PATIENCE_S = 20.0
AT_ONCE_S = 3.0
TRIES = 4
pytestmark = pytest.mark.vtapd_config(attach={"resync": "10m"})
"""A resync this rare cannot be what notices something."""


def ip(container: Container, *words: str) -> None:
    """Run ip(8) in the container's network, as a container with CAP_NET_ADMIN can."""
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", *words])


def is_whole(container: Container) -> bool:
    assert_attached(container)
    return True


def may_open(container: Container, device: Device) -> bool:
    """Whether the container may open this device, at a node of its own, which Docker lets every container make."""
    container.exec("rm", "-f", "/tmp/it")
    container.exec("mknod", "/tmp/it", "c", *map(str, device))
    return container.opens("/tmp/it")


# Taps that vanish


@pytest.mark.alone  # the taps of other tests would take the number
@pytest.mark.both_cgroups
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_tap_that_vanishes_is_closed_at_once(machine: Machine, vtapd: Daemon, containers: Containers, how: str) -> None:
    """Another program's macvtap has its number, and Docker reports nothing."""
    container, other = containers.run().await_attached(), containers.run().await_attached()
    for _ in range(TRIES):
        for each in (container, other):
            vtapd.request("attach", each.name)  # returns when the daemon is done with it
        device = container.tap_device()
        os.kill(vtapd.pid, signal.SIGSTOP)  # the other program is faster
        try:
            take_lower_numbers(other, device)
            ip(container, "link", *vanish(container, how, machine.dockerd.pid))
            met = how == "moved" or make_macvtap(other, "libvirt0") == device
        finally:
            os.kill(vtapd.pid, signal.SIGCONT)
        await_other_tap(container, device)
        if met:
            break
    else:
        raise AssertionError(f"other taps took the number {TRIES} times: the test proves nothing")
    assert not may_open(container, device)
    assert container.opens("/dev/tap0")
    if how == "moved":
        machine.run("ip", "link", "delete", container.tap_name)


def vanish(container: Container, how: str, to: int) -> tuple[str, ...]:
    """Return words for ip-link(8). A link that moves to the namespace of `to` gets the lowest number that is free."""
    return ("delete", container.tap_name) if how == "deleted" else ("set", container.tap_name, "netns", str(to))


def await_other_tap(container: Container, device: Device) -> None:
    eventually(lambda: container.tap_device() != device, "it has another tap", AT_ONCE_S)
    eventually(lambda: is_whole(container), "it is attached", AT_ONCE_S)


def test_tap_that_is_deleted_again_and_again_is_made_ever_more_rarely(vtapd: Daemon, containers: Containers) -> None:
    container, neighbour = containers.run("--cap-add", "NET_ADMIN"), containers.run()
    for each in (container, neighbour):
        each.await_attached()
    lines = len(vtapd.log_lines())
    eater = f"while [ ! -e /enough ]; do ip link delete {container.tap_name}; done 2>/dev/null"
    container.machine.docker("exec", "-d", container.id, "timeout", "30", "sh", "-c", eater)
    eventually(lambda: "again and again" in vtapd.inspect(container.name).message, "it is reported", PATIENCE_S)
    container.exec("touch", "/enough")
    assert len([line for line in vtapd.log_lines()[lines:] if line.get("event") == "stale_device_denied"]) < 12
    assert neighbour.opens("/dev/tap0")
    eventually(lambda: is_whole(container), "it is attached again", PATIENCE_S)


# Macvtaps that a container made itself


def own_macvtap(container: Container) -> Link:
    return links(container.pid)[container.tap_name]


@pytest.mark.parametrize("kernel", ["", "/hello.bin"], ids=["plain", "guest"])
def test_macvtap_of_the_container_is_not_taken_for_vtapds(vtapd: Daemon, containers: Containers, kernel: str) -> None:
    """It has the name that vtapd's would have: it is reported, and neither opened, changed nor deleted."""
    vtapd.stop()
    container = containers.run(labels={"vtapd.kernel": kernel} if kernel else {})
    before = network(container.pid)
    device = make_macvtap(container, container.tap_name)
    mine = own_macvtap(container)
    vtapd.start()

    def is_reported() -> bool:
        message = vtapd.inspect(container.name).message
        return container.tap_name in message and "File exists" in message

    eventually(is_reported, "the message names the taken name", PATIENCE_S)
    assert not may_open(container, device)
    vtapd.kill()
    Path(vtapd.run_dir / f"{container.id}.json").unlink()
    vtapd.start()
    eventually(is_reported, "it is reported without a record, too", PATIENCE_S)
    vtapd.request("detach", container.name)
    assert own_macvtap(container) == mine
    assert network(container.pid) == before
    ip(container, "link", "set", container.tap_name, "name", "mine")
    vtapd.request("attach", container.name)
    eventually(lambda: container.await_page(PATIENCE_S) if kernel else is_whole(container), "it is served", PATIENCE_S)
    vtapd.request("detach", container.name)
    assert [link.name for link in macvtaps(container.pid)] == ["mine"]
    ip(container, "link", "delete", "mine")


def tap_shown(daemon: Daemon, container: Container) -> str | None:
    (interface,) = daemon.inspect(container.name).interfaces
    return interface.tap.name if interface.tap else None


def test_renamed_tap_stays_vtapds(vtapd: Daemon, containers: Containers) -> None:
    """The container renames it and gives the name, MTU and alias to a macvtap of its own."""
    guest = containers.serving_guest()
    device, qemu = guest.tap_device(), guest.qemu()
    ip(guest, "link", "set", guest.tap_name, "down")
    ip(guest, "link", "set", guest.tap_name, "name", "stolen")
    ip(guest, "link", "set", "stolen", "up")
    make_macvtap(guest, guest.tap_name)
    mine = own_macvtap(guest)
    for word in ("pause", "unpause"):  # the daemon looks at it
        guest.machine.docker(word, guest.id)
    eventually(lambda: tap_shown(vtapd, guest) == "stolen", "the name is shown", PATIENCE_S)
    guest.await_page(PATIENCE_S)
    assert guest.qemu() == qemu
    assert node(guest.pid, "tap0").device == device  # type: ignore[union-attr]  # a test
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", PATIENCE_S)
    guest.await_page(PATIENCE_S)
    vtapd.request("detach", guest.name)
    assert macvtaps(guest.pid) == [mine]
    assert network(guest.pid).mac == guest.endpoint.mac
    ip(guest, "link", "delete", guest.tap_name)
