"""A usual container, its interfaces and its guest; each test names only what differs."""

from collections.abc import Sequence
from dataclasses import replace

from supervisor.core.container import Container, ContainerId, Incarnation, Pid
from supervisor.core.guest.spec import Environment
from supervisor.core.kinds.kind import Boot, BootRequest, GuestKind
from supervisor.core.kinds.network import GuestNetwork, Nic
from supervisor.core.links import Address, DeviceNumber, IfIndex, Interface, Route, Tap
from supervisor.core.record import ProcessRecord, Record

ID = ContainerId("c0ffee" + "0" * 58)
NAME = "kek"
INCARNATION = Incarnation(Pid(4242), 1000)
DEVICE = DeviceNumber(246, 1)

ETH0 = Interface(
    "eth0",
    IfIndex(7),
    "02:42:ac:11:00:02",
    1500,
    (Address(4, "172.17.0.2", 16, "172.17.255.255"),),
    (Route(4, "", 0, "172.17.0.1"),),
)
ETH1 = Interface("eth1", IfIndex(9), "02:42:ac:12:00:05", 1400, (Address(4, "172.18.0.5", 24),))
TAP0 = Tap("vtap110002", IfIndex(2), "5e:00:00:00:00:01", 1500, True, DEVICE)
NIC = Nic(0, "02:42:ac:11:00:02", 1500, (Address(4, "172.17.0.2", 16),), "172.17.0.1")
NIC1 = Nic(1, "02:42:ac:12:00:05", 1400, (Address(4, "172.18.0.5", 24),))
NETWORK = GuestNetwork((NIC,), "kek")
NO_GATEWAY = GuestNetwork((replace(NIC, gateway4=None),), "kek")
BOTH_FAMILIES = GuestNetwork(
    (replace(NIC, addresses=(*NIC.addresses, Address(6, "2001:db8::2", 64)), gateway6="2001:db8::1"),), "kek"
)
ONLY_IPV6 = GuestNetwork((replace(NIC, addresses=(Address(6, "2001:db8::2", 64),), gateway4=None),), "kek")
PROCESS = ProcessRecord(Pid(5000), 2000, spawned_at_s=100.0, kind="rumprun")


def container(**changes: object) -> Container:
    """A running container on Docker's default bridge, without labels."""
    plain = Container(ID, NAME, INCARNATION.pid, 1_793_000_000_000_000_000, True, False, "default")
    return replace(plain, **changes)  # type: ignore[arg-type]  # replace checks the names, the tests the types


def labelled(**labels: str) -> Container:
    """Return a container with labels: `labelled(stop_timeout="5s")` has the label vtapd.stop-timeout."""
    return container(labels={f"vtapd.{name.replace('_', '-')}": value for name, value in labels.items()})


def booted(
    kind: GuestKind,
    args: str = "",
    network: GuestNetwork | None = None,
    env: Sequence[tuple[str, str]] = (),
    **more: object,
) -> Boot:
    """Return what a guest of this kind is given."""
    request = BootRequest(args=args, network=network, env=Environment(tuple(env)))
    return kind.boot(replace(request, **more))  # type: ignore[arg-type]  # replace checks the names, the tests the types


def record() -> Record:
    """Return a record that was just written, before anything is made."""
    return Record(ID, NAME, INCARNATION)
