"""Others change what the daemon made, or the interfaces under it: it is repaired, or left alone and reported."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import NETNS_FOLDER, cgroup_lines, device_rules, network, node, qemus_of
from tests.harness.processes import run
from tests.harness.waiting import eventually, holds_for

PATIENCE_S = 30.0
A_WHILE_S = 2.0
MOST_LINES_A_SECOND = 30.0

pytestmark = pytest.mark.vtapd_config(attach={"resync": "300ms"})


def ip(container: Container, *words: str) -> None:
    """Run ip(8) in the container's network, as an administrator of the host or a container with CAP_NET_ADMIN can."""
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", *words])


def in_container(container: Container, path: str) -> Path:
    return Path(f"/proc/{container.pid}/root/{path}")


def is_whole(container: Container) -> bool:
    assert_attached(container)
    return True


# Changes to what the daemon made


def delete_macvtap(container: Container) -> None:
    ip(container, "link", "delete", container.tap_name)


def put_macvtap_down(container: Container) -> None:
    ip(container, "link", "set", container.tap_name, "down")


def remove_node(container: Container) -> None:
    in_container(container, "dev/tap0").unlink()


def exchange_node(container: Container) -> None:
    """Replace it with the node of another tap, through which a container could reach another network."""
    major, minor = container.tap_device()
    remove_node(container)
    os.mknod(in_container(container, "dev/tap0"), 0o666 | stat.S_IFCHR, os.makedev(major, minor + 1000))


def deny_device(container: Container) -> None:
    if device_rules(container.pid) is None:
        pytest.skip("cgroup v2 has no list of rules to write to; test_cgroup_v2.py removes rules there")
    major, minor = container.tap_device()
    (devices,) = (line.split(":", 2)[2] for line in cgroup_lines(container.pid) if ":devices:" in line)
    Path(f"/sys/fs/cgroup/devices{devices}/devices.deny").write_text(f"c {major}:{minor} rwm")


def remove_symlink(container: Container) -> None:
    (NETNS_FOLDER / container.id12).unlink()


def turn_symlink(container: Container) -> None:
    remove_symlink(container)
    (NETNS_FOLDER / container.id12).symlink_to("/proc/1/ns/net")


REPAIRED = (
    delete_macvtap, put_macvtap_down, remove_node, exchange_node, deny_device, remove_symlink, turn_symlink,
)  # fmt: skip


@pytest.mark.parametrize("change", REPAIRED)
def test_changed_or_deleted_parts_are_restored(
    vtapd: Daemon, containers: Containers, change: Callable[[Container], None]
) -> None:
    plain, guest = containers.run().await_attached(), containers.serving_guest()
    qemu = guest.qemu()
    for one in (plain, guest):
        change(one)
    eventually(lambda: is_whole(plain), "the container is repaired", PATIENCE_S)
    eventually(lambda: is_whole_with_guest(guest), "the guest's container is repaired", PATIENCE_S)
    guest.await_page(PATIENCE_S)
    assert len(qemus_of(guest.id)) == 1
    assert vtapd.metrics().exits(guest.name, "qemu-exit") == 0
    if change is not delete_macvtap:
        assert guest.qemu() == qemu, "a guest whose tap still exists was restarted"


def is_whole_with_guest(guest: Container) -> bool:
    device = guest.tap_device()
    found = node(guest.pid)
    assert found is not None
    assert found.device == device
    return guest.macvtap().up and (NETNS_FOLDER / guest.id12).readlink() == Path(f"/proc/{guest.pid}/ns/net")


def test_lost_rule_is_counted(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    before = vtapd.metrics().value("vtapd_device_rule_repairs_total")
    deny_device(container)
    eventually(lambda: vtapd.metrics().value("vtapd_device_rule_repairs_total") == before + 1, "the repair is counted")
    assert container.opens("/dev/tap0")


# Names that are taken


def test_file_in_the_symlinks_place_is_kept_and_reported(vtapd: Daemon, containers: Containers) -> None:
    """`ip netns add` makes such a file: it stays, and the message says what to do."""
    container = containers.run().await_attached()
    path = NETNS_FOLDER / container.id12
    path.unlink()
    path.touch()
    try:
        view = vtapd.await_state(container.name, "failed")
        assert str(path) in view.message
        assert path.is_file()
        assert not path.is_symlink()
        containers.run().await_attached()
    finally:
        path.unlink()
    vtapd.request("attach", container.name)
    eventually(lambda: is_whole(container), "it is attached", PATIENCE_S)


def test_file_in_the_nodes_place_is_kept_and_reported(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    remove_node(container)
    in_container(container, "dev/tap0").write_text("mine")
    view = vtapd.await_state(container.name, "failed")
    assert "/dev/tap0" in view.message
    assert in_container(container, "dev/tap0").read_text() == "mine"
    assert any(address.startswith(container.address) for address in network(container.pid).addresses)


def test_detach_waits_for_a_read_only_dev(vtapd: Daemon, containers: Containers) -> None:
    """The undo waits until /dev is writable, and other containers are served meanwhile."""
    container = containers.run().await_attached()
    run(["nsenter", "-m", "-p", "-t", str(container.pid), "mount", "-o", "remount,ro", "/dev"])
    refused = vtapd.command("detach", container.name, check=False)
    assert refused.returncode == 1
    assert "cannot remove /dev/tap0" in refused.stderr
    containers.run().await_attached()
    run(["nsenter", "-m", "-p", "-t", str(container.pid), "mount", "-o", "remount,rw", "/dev"])
    eventually(lambda: vtapd.command("detach", container.name), "it is detached", PATIENCE_S)
    assert container.is_untouched()


def test_link_with_the_taps_name_is_reported(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run().await_attached()
    vtapd.request("detach", container.name)
    ip(container, "link", "add", container.tap_name, "type", "bridge")
    vtapd.command("attach", container.name, check=False)

    def is_reported() -> bool:
        message = vtapd.inspect(container.name).message
        return container.tap_name in message and "File exists" in message

    eventually(is_reported, "the message names the taken name", PATIENCE_S)
    containers.run().await_attached()
    ip(container, "link", "delete", container.tap_name)
    eventually(lambda: is_whole(container), "it is attached", PATIENCE_S)


def test_two_similar_macs_give_two_tap_names(vtapd: Daemon, containers: Containers) -> None:
    container, network_name = containers.run().await_attached(), containers.network()
    vtapd.request("detach", container.name)
    container.machine.docker("network", "connect", network_name, container.id)
    ip(container, "link", "set", "eth1", "address", "02:99" + container.endpoint.mac[5:])
    vtapd.request("attach", container.name)
    names = {link.name for link in container.links().values() if link.macvtap_mode}
    assert names == {container.tap_name, "vtap" + ("0299" + container.endpoint.mac[5:].replace(":", ""))[-10:]}
    assert node(container.pid, "tap0") != node(container.pid, "tap1")


# A daemon to which a container seems gone, once, in the middle of a detach.
FAILING_ONCE = """
from supervisor.cli.main import main
from supervisor.container import kernel_steps
from supervisor.core.attach.actions import DenyDevice
from supervisor.errors import ContainerGone, Step

apply, failed = kernel_steps.apply, False

def apply_or_fail(attachment, step, seen):
    global failed
    if isinstance(step, DenyDevice) and not failed:
        failed = True
        raise ContainerGone("it looks gone", step=Step.DEVICE_RULE)
    return apply(attachment, step, seen)

kernel_steps.apply = apply_or_fail
main()
"""


def test_detach_returns_when_it_is_done(vtapd: Daemon, containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    vtapd.stop()
    monkeypatch.setattr(vtapd, "program", (sys.executable, "-c", FAILING_ONCE))
    vtapd.start()
    container = containers.run().await_attached()
    vtapd.request("detach", container.name)
    assert container.is_untouched()


def test_longest_container_names(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.serving_guest()
    for name in ("k" * 255, "k" * 1000):
        guest.machine.docker("rename", guest.id, name)
        assert vtapd.await_state(name, "running").name == name
    assert vtapd.metrics().guest_up(name)
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(name) == 1, "it is restarted under that name", PATIENCE_S)


# Changes to the container's interface


def test_interface_that_is_down_is_left_down(vtapd: Daemon, containers: Containers) -> None:
    """An administrator wants it down: the daemon neither raises it nor retries all the time."""
    guest, neighbour = containers.serving_guest(), containers.serving_guest()
    qemu = guest.qemu()
    ip(guest, "link", "set", "eth0", "down")
    lines = len(vtapd.log_lines())
    holds_for(lambda: not guest.links()["eth0"].up, "it stays down", A_WHILE_S)
    assert len(vtapd.log_lines()) - lines <= MOST_LINES_A_SECOND * A_WHILE_S
    assert neighbour.get().status == 200
    ip(guest, "link", "set", "eth0", "up")
    guest.await_page(PATIENCE_S)
    assert guest.qemu() == qemu


@pytest.mark.parametrize("with_guest", [False, True], ids=["plain", "guest"])
def test_renamed_interface_keeps_its_tap(vtapd: Daemon, containers: Containers, with_guest: bool) -> None:
    """It is the same interface: its tap stays, a guest keeps its address, and detach restores everything."""
    container = containers.serving_guest() if with_guest else containers.run().await_attached()
    before, device = qemus_of(container.id), container.tap_device()
    mac = container.endpoint.mac
    ip(container, "link", "set", "eth0", "down")
    ip(container, "link", "set", "eth0", "name", "wan0")
    ip(container, "link", "set", "wan0", "up")
    vtapd.await_state(container.name, "running" if with_guest else "attached")
    eventually(
        lambda: [i.name for i in vtapd.inspect(container.name).interfaces] == ["wan0"],
        "the new name is shown",
        PATIENCE_S,
    )
    assert container.tap_device() == device
    assert qemus_of(container.id) == before
    if with_guest:
        container.await_page(PATIENCE_S)
    vtapd.request("detach", container.name)
    after = network(container.pid, "wan0")
    assert after.mac == mac
    assert any(address.startswith(container.address) for address in after.addresses)
    assert container.is_untouched()


def test_deleted_interface_is_reported(vtapd: Daemon, containers: Containers) -> None:
    """Nothing is left to attach; the message says so, and the next start of the container is attached again."""
    plain, guest = containers.run().await_attached(), containers.serving_guest()
    for one in (plain, guest):
        ip(one, "link", "delete", "eth0")
    eventually(lambda: node(plain.pid) is None and node(guest.pid) is None, "the nodes are gone", PATIENCE_S)
    eventually(lambda: not qemus_of(guest.id), "no QEMU runs without a network", PATIENCE_S)
    eventually(
        lambda: "no interface" in vtapd.inspect(guest.name).message,
        "the message names the missing interface",
        PATIENCE_S,
    )
    guest.machine.docker("restart", "-t", "0", guest.id, plain.id)
    guest.restarted().await_page(PATIENCE_S)
    plain.restarted().await_attached()
