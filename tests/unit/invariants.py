"""The invariants of plan.py's docstring, checked in a simulated host after every single change."""

from supervisor.core.attach.entries import tap_name
from supervisor.core.attach.lifetimes import is_due
from supervisor.core.attach.state import Desired
from supervisor.core.model import Address, DeviceNumber, Interface, Route

from .world import FOREIGN_DEVICE, FOREIGN_SLOT, World


def check(world: World) -> None:
    """Assert what holds at every moment."""
    _check_foreign(world)
    _check_recorded(world)
    _check_unwatched(world)
    if world.disturbed:
        return
    devices = {tap.device for tap in world.taps.values()}
    assert own_rules(world) <= devices, "a rule without its tap"
    assert set(own_nodes(world).values()) <= devices, "a node without its tap"
    assert world.guest is not None or not world.ready, "marked ready without a guest"
    if world.guest is not None:
        _check_guest(world)


def _check_foreign(world: World) -> None:
    assert FOREIGN_DEVICE in world.rules, "a rule of the container's own was taken away"
    assert world.nodes.get(FOREIGN_SLOT) == FOREIGN_DEVICE, "a node of the container's own was removed"


def _check_recorded(world: World) -> None:
    """Assert that everything is recorded before it is made, and forgotten only after it is undone."""
    record = world.record
    if record is None:
        assert world.netns_link is None, "a symlink that is not in the record"
    entries = record.taps if record and record.incarnation == world.incarnation else ()
    taps = {entry.interface: entry.tap for entry in entries}
    for name, tap in world.taps.items():
        assert taps.get(name) == tap.name, "a tap that is not in the record"
    assert own_rules(world) <= {entry.device for entry in entries}, "a rule that is not in the record"
    nodes = {entry.slot: entry.device for entry in entries}
    assert own_nodes(world).items() <= nodes.items(), "a node that is not in the record"
    originals = {entry.interface: entry.original for entry in entries}
    for name, interface in world.interfaces.items():
        _check_lifetimes(interface, world.docker[name])
        if not is_same(world, interface, world.docker[name]):
            original = originals.get(name)
            assert original is not None, f"{name} was changed and its original is not in the record"
            assert is_same(world, original, world.docker[name]), f"the record has a wrong original of {name}"


def _check_lifetimes(now: Interface, docker: Interface) -> None:
    """Assert that no lifetime became longer."""
    ends = {address: address.valid_until_s for address in docker.addresses if address.valid_until_s}
    for address in now.addresses:
        if address in ends:
            assert address.valid_until_s is not None, f"{address} was given back as permanent"
            assert address.valid_until_s <= ends[address], f"{address} was given back for longer"


def _check_unwatched(world: World) -> None:
    """Assert that a tap that another container has open is not used."""
    macs = {each.mac for each in world.docker.values()}
    for tap in world.taps.values():
        if tap.index in world.watched:
            assert not tap.up, "a tap is up that another container has open"
            assert tap.mac not in macs, "a tap has its guest's address and another container has it open"
            assert tap.device not in world.rules, "a rule for a tap that another container has open"


def _check_guest(world: World) -> None:
    """Assert that a guest has its tap, rule, node and address."""
    guest = world.guest
    assert guest is not None
    assert guest.nics, "a guest without a card"
    taps = {tap.device for tap in world.taps.values()}
    for slot, nic in guest.nics.items():
        device = nic.tap.device
        assert device in taps, "a guest without its tap"
        assert device in world.rules, "a guest without its rule"
        assert own_nodes(world).get(slot) == device, "a guest without its node"
        if nic.tap.mac == nic.original.mac:
            assert is_taken_over(world, nic.original), "a guest without its address"


def is_taken_over(world: World, original: Interface) -> bool:
    now, tap = world.interfaces[original.name], world.taps[original.name]
    lasting = {address for address in original.addresses if address.valid_until_s is None}
    return tap.mac == original.mac != now.mac and not set(now.addresses) & lasting


def is_same(world: World, one: Interface, other: Interface) -> bool:
    """Compare what is still valid of two interfaces."""

    def due(interface: Interface) -> tuple[str, int, set[Address], set[Route]]:
        addresses = {address for address in interface.addresses if is_due(address, world.now_s)}
        return interface.mac, interface.mtu, addresses, {r for r in interface.routes if is_due(r, world.now_s)}

    return due(one) == due(other)


def own_rules(world: World) -> set[DeviceNumber]:
    return world.rules - {FOREIGN_DEVICE}


def own_nodes(world: World) -> dict[int, DeviceNumber]:
    return {slot: device for slot, device in world.nodes.items() if slot != FOREIGN_SLOT}


def check_reached(world: World, desired: Desired) -> None:
    """Assert what holds after the plan has converged."""
    world.disturbed = False
    check(world)
    if not desired.attached or world.incarnation is None:
        _check_nothing_left(world)
        return
    assert world.record is not None
    assert world.record.incarnation == world.incarnation
    assert world.netns_link == world.incarnation.pid
    assert {name: tap.name for name, tap in world.taps.items()} == {
        name: tap_name(interface.mac) for name, interface in world.docker.items()
    }
    assert not {tap.index for tap in world.taps.values()} & world.watched, "another container has a tap open"
    devices = {tap.device for tap in world.taps.values()}
    assert not {device.minor for device in devices} & world.stale_elsewhere, "another container may open a tap"
    assert own_rules(world) == devices
    assert own_nodes(world) == {int(name.removeprefix("eth")): tap.device for name, tap in world.taps.items()}
    nics = {nic.original.name: nic for nic in world.guest.nics.values()} if world.guest else {}
    for name, interface in world.docker.items():
        if desired.takeover and (world.guest is None or name in nics):
            assert is_taken_over(world, interface)
        else:
            assert is_same(world, world.interfaces[name], interface), f"{name} was not left as it was"
    assert (world.guest is not None) == desired.guest
    assert world.ready == desired.ready
    for name, nic in nics.items():
        assert nic.tap.device == world.taps[name].device, "a card is on another interface's tap"
        assert is_same(world, nic.original, world.docker[name]), "the guest has an outdated address"
    if desired.guest and desired.hotplug:
        assert nics.keys() == world.docker.keys(), "an interface without a card"


def _check_nothing_left(world: World) -> None:
    assert world.record is None
    assert world.netns_link is None
    assert world.taps == {}
    assert own_rules(world) == set()
    assert own_nodes(world) == {}
    assert world.guest is None
    assert not world.ready
    if world.incarnation is not None:
        assert world.interfaces.keys() == world.docker.keys()
    for name, interface in world.interfaces.items():
        assert is_same(world, interface, world.docker[name]), f"{name} is not as it was"
