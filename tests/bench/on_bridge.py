"""A QEMU started by hand, on a tap of the host that is a port of Docker's bridge."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.harness.containers import Container
from tests.harness.machine import Machine
from tests.harness.processes import command_line, end

from .bare_qemu import share_cgroup

ADDRESS, GATEWAY, PREFIX = "172.17.200.1", "172.17.0.1", 16
TAP, MAC = "vtapdbench0", "02:00:00:00:c8:01"
KEPT = ("-machine", "-accel", "-cpu", "-m", "-smp")


@contextmanager
def qemu_on_bridge(machine: Machine, like: Container, words: Sequence[str], neighbour: Container) -> Iterator[None]:
    """Run a QEMU with the machine and the card of a guest and these further words, in the neighbour's cgroup."""
    machine.run("ip", "tuntap", "add", TAP, "mode", "tap")
    machine.run("ip", "link", "set", TAP, "master", "docker0", "up")
    argv = command_line(like.qemu())
    kept = [word for name in KEPT for word in (name, argv[argv.index(name) + 1])]
    card = next(word for word in argv if word.startswith("virtio-net-pci")).split(",")[0]
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", *kept, *words]
    argv += ["-netdev", f"tap,id=net0,ifname={TAP},script=no,downscript=no"]
    argv += ["-device", f"{card},netdev=net0,mac={MAC},host_mtu=1500,romfile="]
    qemu = subprocess.Popen([*machine.dockerd.entered(), *argv], pass_fds=(machine.namespace.fd,))
    share_cgroup(neighbour, qemu.pid)
    try:
        yield
    finally:
        end(qemu, 5)
        machine.run("ip", "link", "delete", TAP)
