"""The invariants of plan.py's docstring, checked in a simulated host after every single change."""

from collections.abc import Collection
from dataclasses import replace

from supervisor.core.attach.entries import tap_name
from supervisor.core.attach.lifetimes import is_due, static_addresses
from supervisor.core.attach.private_link import expected_hooks, expected_ways
from supervisor.core.attach.sleeping import filter_name
from supervisor.core.attach.state import Desired
from supervisor.core.links import Address, DeviceNumber, Interface, Route
from supervisor.core.record import TapRecord

from .simulated_host import FOREIGN_DEVICE, FOREIGN_SLOT, SimulatedHost


def check(host: SimulatedHost) -> None:
    """Assert what holds at every moment."""
    _check_foreign(host)
    _check_recorded(host)
    _check_unwatched(host)
    if host.disturbed:
        return
    devices = {tap.device for tap in host.taps.values()}
    assert own_rules(host) <= devices, "a rule without its tap"
    assert set(own_nodes(host).values()) <= devices, "a node without its tap"
    assert host.guest is not None or host.sleeps or not host.ready, "marked ready without a guest"
    assert host.guest is None or host.exit_status is None, "marked as done with a guest that runs"
    if host.guest is not None:
        _check_guest(host)


def _check_foreign(host: SimulatedHost) -> None:
    assert FOREIGN_DEVICE in host.rules, "a rule of the container's own was taken away"
    assert host.nodes.get(FOREIGN_SLOT) == FOREIGN_DEVICE, "a node of the container's own was removed"


def _check_recorded(host: SimulatedHost) -> None:
    """Assert that everything is recorded before it is made, and forgotten only after it is undone."""
    record = host.record
    if record is None:
        assert host.netns_link is None, "a symlink that is not in the record"
    entries = record.taps if record and record.incarnation == host.incarnation else ()
    taps = {entry.interface: entry.tap for entry in entries}
    for name, tap in host.taps.items():
        assert taps.get(name) == tap.name, "a tap that is not in the record"
    assert own_rules(host) <= {entry.device for entry in entries}, "a rule that is not in the record"
    nodes = {entry.slot: entry.device for entry in entries}
    assert own_nodes(host).items() <= nodes.items(), "a node that is not in the record"
    _check_links(host, entries)
    originals = {entry.interface: entry.original for entry in entries}
    macs = {entry.interface for entry in entries if entry.only_mac}
    for name, interface in host.interfaces.items():
        _check_lifetimes(interface, host.docker[name])
        if not is_same(host, interface, host.docker[name]):
            original = originals.get(name)
            assert original is not None, f"{name} was changed and its original is not in the record"
            assert is_same(host, original, _taken(host.docker[name], only_mac=name in macs)), (
                f"the record has a wrong original of {name}"
            )


def _taken(interface: Interface, *, only_mac: bool) -> Interface:
    """Return what is taken from an interface."""
    return replace(interface, addresses=(), routes=()) if only_mac else interface


def _check_links(host: SimulatedHost, entries: Collection[TapRecord]) -> None:
    """Assert that each part of a private link is recorded before it is made, and forgotten only after it is removed."""
    links = {entry.interface: entry.link for entry in entries if entry.link}
    filtered = {entry.interface for entry in entries if entry.wake_filter}
    for name, interface in host.interfaces.items():
        tap = host.taps.get(name)
        assert tap is None or tap.index not in host.wake_filters or name in filtered, "a filter that is not recorded"
        ends = {interface.index} | ({tap.index} if tap and name not in filtered else set())
        if interface.guests or ends & (host.clsact | host.filters.keys() | host.guards.keys()):
            assert name in links, f"{name} has a private link that is not in the record"
    addresses = {link.address for link in links.values()}
    assert host.loopback - {"127.0.0.1"} <= addresses, "an address on the loopback that is not in the record"


def _check_lifetimes(now: Interface, docker: Interface) -> None:
    """Assert that no lifetime became longer."""
    ends = {address: address.valid_until_s for address in docker.addresses if address.valid_until_s}
    for address in now.addresses:
        if address in ends:
            assert address.valid_until_s is not None, f"{address} was given back as permanent"
            assert address.valid_until_s <= ends[address], f"{address} was given back for longer"


def _check_unwatched(host: SimulatedHost) -> None:
    """Assert that a tap that another container has open is not used."""
    macs = {each.mac for each in host.docker.values()}
    for tap in host.taps.values():
        if tap.index in host.watched:
            assert not tap.up, "a tap is up that another container has open"
            assert tap.mac not in macs, "a tap has its guest's address and another container has it open"
            assert tap.device not in host.rules, "a rule for a tap that another container has open"


def _check_guest(host: SimulatedHost) -> None:
    """Assert that a guest has its tap, rule, node and address."""
    guest = host.guest
    assert guest is not None
    assert guest.nics, "a guest without a card"
    taps = {tap.device for tap in host.taps.values()}
    for slot, nic in guest.nics.items():
        device = nic.tap.device
        assert device in taps, "a guest without its tap"
        assert device in host.rules, "a guest without its rule"
        assert own_nodes(host).get(slot) == device, "a guest without its node"
        if nic.tap.mac == nic.original.mac:
            assert is_taken_over(host, nic.original), "a guest without its address"


def is_taken_over(host: SimulatedHost, original: Interface) -> bool:
    now, tap = host.interfaces[original.name], host.taps[original.name]
    lasting = {address for address in original.addresses if address.valid_until_s is None}
    return tap.mac == original.mac != now.mac and not set(now.addresses) & lasting


def is_same(host: SimulatedHost, one: Interface, other: Interface) -> bool:
    """Compare what is still valid of two interfaces."""

    def is_equal(ones: Collection[Address | Route], others: Collection[Address | Route]) -> bool:
        # Most are the same tuple. To compare that first saves these tests a third of their time.
        return ones == others or {o for o in ones if is_due(o, host.now_s)} == {
            o for o in others if is_due(o, host.now_s)
        }

    return (
        (one.mac, one.mtu) == (other.mac, other.mtu)
        and is_equal(one.addresses, other.addresses)
        and is_equal(one.routes, other.routes)
    )


def own_rules(host: SimulatedHost) -> set[DeviceNumber]:
    return host.rules - {FOREIGN_DEVICE}


def own_nodes(host: SimulatedHost) -> dict[int, DeviceNumber]:
    return {slot: device for slot, device in host.nodes.items() if slot != FOREIGN_SLOT}


def check_reached(host: SimulatedHost, desired: Desired) -> None:
    """Assert what holds after the plan has converged."""
    host.disturbed = False
    check(host)
    if not desired.attached or host.incarnation is None:
        _check_nothing_left(host)
        return
    assert host.record is not None
    assert host.record.incarnation == host.incarnation
    assert host.netns_link == host.incarnation.pid
    assert host.left == [], "a tap whose interface is gone"
    taps = {name: tap.name for name, tap in host.taps.items()}
    # An interface whose addresses have all ended needs no tap, and keeps the one that is on record.
    recorded = {entry.interface for entry in host.record.taps}
    wanted = {name: each.mac for name, each in host.docker.items() if each.addresses or name in recorded}
    assert taps == {name: tap_name(mac) for name, mac in wanted.items()}
    assert not {tap.index for tap in host.taps.values()} & host.watched, "another container has a tap open"
    devices = {tap.device for tap in host.taps.values()}
    assert not {device.minor for device in devices} & host.stale_elsewhere, "another container may open a tap"
    assert own_rules(host) == devices
    assert own_nodes(host) == {int(name.removeprefix("eth")): tap.device for name, tap in host.taps.items()}
    nics = {nic.original.name: nic for nic in host.guest.nics.values()} if host.guest else {}
    linked = False
    for name, interface in host.docker.items():
        if name in taps and desired.takeover and (host.guest is None or name in nics):
            assert is_taken_over(host, interface)
            linked = _check_link(host, interface, desired.link_address) or linked
        elif name in nics and interface.mac == desired.mac:
            assert is_taken_over(host, _taken(interface, only_mac=True))
            assert is_same(host, replace(host.interfaces[name], mac=interface.mac), interface)
        else:
            assert is_same(host, host.interfaces[name], interface), f"{name} was not left as it was"
            assert not host.interfaces[name].guests, f"{name} has a route or a neighbour entry left"
    assert host.loopback == ({"127.0.0.1", str(desired.link_address)} if linked else {"127.0.0.1"})
    assert (host.guest is not None) == (desired.guest and taps != {})
    assert host.ready == (desired.ready and taps != {})
    assert host.wake_filters.keys() == ({tap.index for tap in host.taps.values()} if desired.asleep else set())
    if desired.wakers is not None and desired.asleep:
        assert set(host.wake_filters.values()) <= {filter_name(desired.wakers)}
    assert {entry.interface for entry in host.record.taps if entry.wake_filter} == (
        taps.keys() if desired.asleep else set()
    )
    for name, nic in nics.items():
        assert nic.tap.device == host.taps[name].device, "a card is on another interface's tap"
        only_mac = nic.original.mac == desired.mac and not desired.takeover
        assert is_same(host, nic.original, _taken(host.docker[name], only_mac=only_mac)), (
            "the guest has an outdated address"
        )
    if desired.guest and desired.hotplug:
        assert nics.keys() == taps.keys(), "an interface without a card"


def _check_link(host: SimulatedHost, docker: Interface, address: str | None) -> bool:
    """Assert that an interface that is taken over has its private link, if it can have one; return whether it has."""
    interface, tap = host.interfaces[docker.name], host.taps[docker.name]
    hooks = {host.filters.get(interface.index), host.filters.get(tap.index)}
    if address is None or not any(static_addresses(docker, (4,))):
        assert not interface.guests
        assert hooks == {None}
        return False
    assert interface.guests == expected_ways(docker, address)
    assert hooks == {expected_hooks(interface, tap, address).interface}
    return True


def _check_nothing_left(host: SimulatedHost) -> None:
    assert host.record is None
    assert host.netns_link is None
    assert host.taps == {}
    assert host.left == []
    assert own_rules(host) == set()
    assert own_nodes(host) == {}
    assert host.guest is None
    assert not host.ready
    assert host.loopback == {"127.0.0.1"}
    assert host.clsact == set()
    assert host.filters == {}
    assert host.guards == {}
    assert host.wake_filters == {}
    if host.incarnation is not None:
        assert host.interfaces.keys() == host.docker.keys()
    for name, interface in host.interfaces.items():
        assert is_same(host, interface, host.docker[name]), f"{name} is not as it was"
        assert not interface.guests, f"{name} has a route or a neighbour entry left"
