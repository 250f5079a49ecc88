"""The attach chain: what must hold of an attached container, and the same done by hand, as without a daemon."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .containers import Container
from .observe import cgroup_lines, device_of_macvtap, device_rules, links, netns_links, node, tap_name
from .processes import end, run


def assert_attached(container: Container) -> None:
    """The whole chain, step by step, as the contract has it."""
    device = container.tap_device()
    link, eth0 = container.macvtap(), container.links()["eth0"]
    assert netns_links()[container.id12] == f"/proc/{container.pid}/ns/net"
    assert (link.macvtap_mode, link.up, link.mtu, link.parent) == ("bridge", True, eth0.mtu, eth0.ifindex)
    tap0 = node(container.pid)
    assert tap0 is not None
    assert (tap0.device, tap0.mode, tap0.owner) == (device, 0o600, 0)
    rules = device_rules(container.pid)
    assert rules is None or f"c {device[0]}:{device[1]} rwm" in rules


def attach_by_hand(container: Container) -> None:
    """Each step with the tool that one would use; the device rule only under cgroup v1, where it is a line of text."""
    pid, mac = str(container.pid), container.endpoint.mac
    name = tap_name(mac)
    run(["ln", "-s", f"/proc/{pid}/ns/net", f"/var/run/netns/{container.id12}"])
    inside = ["ip", "netns", "exec", container.id12, "ip", "link"]
    run([*inside, "add", name, "link", "eth0", "type", "macvtap", "mode", "bridge"])
    run([*inside, "set", name, "up"])
    major, minor = device_of_macvtap(container.pid, links(container.pid)[name])
    if device_rules(container.pid) is not None:
        (devices,) = (line.split(":", 2)[2] for line in cgroup_lines(container.pid) if ":devices:" in line)
        Path(f"/sys/fs/cgroup/devices{devices}/devices.allow").write_text(f"c {major}:{minor} rwm")
    container.exec("mknod", "-m", "600", "/dev/tap0", "c", str(major), str(minor))


def detach_by_hand(container: Container) -> None:
    run(["ip", "netns", "exec", container.id12, "ip", "link", "delete", container.tap_name])
    run(["rm", f"/var/run/netns/{container.id12}"])
    container.exec("rm", "/dev/tap0")


def take_over_by_hand(container: Container) -> None:
    """Free its address and MAC for the user of its tap; they are not restored."""
    inside = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip"]
    run([*inside, "address", "flush", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "address", "02:00:00:00:00:01"])
    run([*inside, "link", "set", container.tap_name, "address", container.endpoint.mac])


def guest_network(address: str, prefix: int, gateway: str) -> str:
    """Return the JSON that gives the test guest its network, as for rumprun."""
    net = {"if": "vioif0", "type": "inet", "method": "static", "addr": address, "mask": str(prefix), "gw": gateway}
    return json.dumps({"cmdline": "hello", "net": net})


@contextmanager
def guest_by_hand(container: Container) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU on the host that has the container's tap and address; the container does not get the address back."""
    endpoint = container.endpoint
    take_over_by_hand(container)
    tap = os.open(f"/proc/{container.pid}/root/dev/tap0", os.O_RDWR)
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none"]
    argv += ["-serial", "null", "-kernel", f"/proc/{container.pid}/root/hello.bin"]
    argv += [
        "-append",
        guest_network(endpoint.address, endpoint.prefix, endpoint.gateway),
        "-netdev",
        f"tap,id=net0,fd={tap}",
    ]
    argv += ["-device", f"virtio-net-pci,netdev=net0,mac={endpoint.mac},romfile="]
    qemu = subprocess.Popen(argv, pass_fds=(tap,))
    os.close(tap)
    try:
        yield qemu
    finally:
        end(qemu, 5)
