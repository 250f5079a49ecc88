"""Guests from elsewhere: how each is started, how it answers, and how it is made to crash.

test_foreign_guests.py says where they are from, and what must hold of all of them.
"""

import json
from abc import ABC, abstractmethod
from typing import ClassVar

from .containers import Container, Containers
from .machine import Machine, built
from .pings import answers_ping
from .waiting import eventually

SUBNET = "10.213.8.0/24"
GATEWAY, NEIGHBOUR, ADDRESS = "10.213.8.1", "10.213.8.5", "10.213.8.42"
PORT = 8081
GREETING = "hiya,  gump"

IPXE_SCRIPT = f"""#!ipxe
ifopen net0
set net0/ip {ADDRESS}
set net0/netmask 255.255.255.0
set net0/gateway {GATEWAY}
echo ipxe has its address
:again
chain http://{NEIGHBOUR}/ || sleep 1
goto again
"""
# What a PXE server sends runs in real mode, at 0000:7c00. With an interrupt table of no entries every interrupt faults,
# and so do the two faults that follow: cli; lidt cs:[0x7c08]; int3; then, at 7c08, a limit and a base of 0.
TRIPLE_FAULT = bytes.fromhex("fa 2e0f011e087c cc 000000000000")


class ForeignGuest(ABC):
    """A running container with its guest, and a neighbour on the same network."""

    kind: ClassVar[str]
    because: ClassVar[str]
    """A part of the reason that vtapd gives for this kind."""
    console_line: ClassVar[str]
    """What the guest prints once its network is up."""
    crash_line: ClassVar[str]
    """What the guest prints when it crashes; empty if it is gone before it prints anything."""
    crash_reason: ClassVar[str]

    def __init__(self, machine: Machine, containers: Containers) -> None:
        self.machine = machine
        network = ("--network", containers.network("--subnet", SUBNET))
        self.neighbour = containers.run(*network, "--ip", NEIGHBOUR)
        self.container = self.create(containers, *network, "--ip", ADDRESS)
        for name, content in self.files().items():
            machine.put(content, self.container.id, name)
        machine.docker("start", self.container.id)

    @abstractmethod
    def create(self, containers: Containers, *options: str) -> Container: ...

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """The guest's images, by their paths in the container."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the guest answers the host at the container's address. OSError if nothing arrives."""

    @abstractmethod
    def prove_network(self) -> None:
        """Ask the guest by every other way that it can answer."""

    @abstractmethod
    def crash(self) -> None:
        """Make the guest crash by something that happens inside it."""


class LinuxGuest(ForeignGuest):
    kind = "linux"
    because = "the image has Linux's boot header and a version of Linux"
    console_line = f"linux-guest: eth0 {ADDRESS}/24 gw {GATEWAY} mtu 1500"
    crash_line = "Kernel panic - not syncing: sysrq triggered crash"
    crash_reason = "guest-panic"
    image: ClassVar[str]
    """Its name in tests/images."""

    def create(self, containers: Containers, *options: str) -> Container:
        labels = {"kernel": "/vmlinuz", "initrd": "/initrd", "guest": "auto", "memory": "96M", "env": "true"}
        options = (*options, "-p", f"{PORT}:80", "-e", f"GREETING={GREETING}")
        return containers.create(*options, labels={f"vtapd.{name}": value for name, value in labels.items()})

    def files(self) -> dict[str, bytes]:
        kernel, initrd = built(self.image)
        return {"/vmlinuz": kernel.read_bytes(), "/initrd": initrd.read_bytes()}

    def answers(self) -> bool:
        return "Hello from Linux" in self.container.get(timeout_s=0.5).body

    def prove_network(self) -> None:
        assert "Hello from Linux" in self.machine.http(f"http://127.0.0.1:{PORT}/").body
        assert "Hello from Linux" in self.neighbour.fetch(ADDRESS)
        told = json.loads(self.container.get("/cgi-bin/info").body)
        assert (told["mac"], told["mtu"], told["greeting"]) == (self.container.endpoint.mac, 1500, GREETING)

    def crash(self) -> None:
        self.container.trigger("/cgi-bin/crash")


class DebianCloud(LinuxGuest):
    image = "linux"


class DebianGeneric(LinuxGuest):
    image = "linux-generic"


class Ipxe(ForeignGuest):
    """Asks its neighbour once a second for a program to start. Below 66 MB it ignores its script."""

    kind = "raw"
    because = "no sign of a kind"
    console_line = "ipxe has its address"
    crash_line = ""
    crash_reason = "guest-reset"

    def create(self, containers: Containers, *options: str) -> Container:
        labels = {"kernel": "/ipxe.lkrn", "initrd": "/script", "guest": "auto", "memory": "80M"}
        return containers.create(*options, labels={f"vtapd.{name}": value for name, value in labels.items()})

    def files(self) -> dict[str, bytes]:
        (kernel,) = built("ipxe")
        return {"/ipxe.lkrn": kernel.read_bytes(), "/script": IPXE_SCRIPT.encode()}

    def answers(self) -> bool:
        return answers_ping(self.machine, ADDRESS)

    def prove_network(self) -> None:
        ping = ("ping", "-c", "1", "-W", "1", ADDRESS)
        eventually(lambda: " 0% packet loss" in self.neighbour.exec(*ping, check=False), "iPXE answers its neighbour")

    def crash(self) -> None:
        """Give it a program that ends in a triple fault, once: the next iPXE finds the port closed again."""
        reply = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TRIPLE_FAULT) + TRIPLE_FAULT
        self.machine.put(reply, self.neighbour.id, "/tmp/reply")
        self.machine.docker("exec", "-d", self.neighbour.id, "sh", "-c", "nc -l -p 80 </tmp/reply")
