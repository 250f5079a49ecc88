"""The kernel and the run-time folder as one container's plan sees them: a small exact simulation.

Each action is applied in the same single changes as in the daemon, so that tests can interrupt it between any two.
What the real kernel refuses is refused here.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import assert_never

from supervisor.core.attach import actions
from supervisor.core.attach.actions import Action, Attempt, Planned, Uplink
from supervisor.core.attach.gateways import is_dockers_default
from supervisor.core.attach.lifetimes import lifetime_left
from supervisor.core.attach.ownership import find_recorded
from supervisor.core.attach.plan import next_step
from supervisor.core.attach.private_link import expected_hooks, expected_ways
from supervisor.core.attach.sleeping import filter_name
from supervisor.core.attach.state import Desired, Resting, Seen, SeenInterface
from supervisor.core.attach.troubles import may_rest
from supervisor.core.container import Incarnation, Pid
from supervisor.core.links import Address, DeviceNumber, Hooks, IfIndex, Interface, Link, Route, Tap
from supervisor.core.record import Record

from .examples import ETH1, ID, INCARNATION, NAME

MAJOR = 246
FOREIGN_DEVICE = DeviceNumber(MAJOR, 200)
FOREIGN_SLOT = 99
MAX_ACTIONS = 150

_macs = (f"5e:00:00:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in count(1))
_indexes = count(100)


class KernelRefusesError(AssertionError):
    """The plan requested what Linux refuses."""


@dataclass(frozen=True)
class Guest:
    """A running QEMU: its cards by slot, each with the device that it holds open and the addresses that it uses."""

    nics: Mapping[int, Uplink]


@dataclass
class SimulatedHost:
    docker: dict[str, Interface]
    """The interfaces as Docker makes them at each start."""
    incarnation: Incarnation | None = INCARNATION
    interfaces: dict[str, Interface] = field(default_factory=dict)
    taps: dict[str, Tap] = field(default_factory=dict)
    """By interface; an interface has at most one tap here."""
    left: list[Tap] = field(default_factory=list)
    """The taps whose interface is gone: on a macvlan network a tap outlives it."""
    foreign: list[Tap] = field(default_factory=list)
    """Macvtaps on eth0 that the container made itself."""
    rules: set[DeviceNumber] = field(default_factory=lambda: {FOREIGN_DEVICE})
    nodes: dict[int, DeviceNumber] = field(default_factory=lambda: {FOREIGN_SLOT: FOREIGN_DEVICE})
    netns_link: Pid | None = None
    record: Record | None = None
    guest: Guest | None = None
    ready: bool = False
    """The container has the mark that its guest is ready."""
    saved: bool = False
    """Whether the guest's snapshot was taken."""
    refreshed: bool = False
    """Whether the guest was moved to another QEMU."""
    exit_status: int | None = None
    """The number in the container's mark that its guest is done."""
    minors_elsewhere: set[int] = field(default_factory=set)
    """The numbers of other containers' taps."""
    now_s: float = 1000.0
    """Seconds since boot."""
    stale_elsewhere: set[int] = field(default_factory=set)
    """Numbers of deleted taps for which other containers still have a record and a rule."""
    watched: set[IfIndex] = field(default_factory=set)
    """The taps that another container could open, and therefore has open."""
    fresh: set[IfIndex] = field(default_factory=set)
    """The taps that the present daemon has made, with a number that was on no other record."""
    unwanted: set[str] = field(default_factory=set)
    """Interfaces that vtapd does not concern itself with."""
    faults: dict[Attempt, int] = field(default_factory=dict)
    """Attempts that fail, each after this number of single changes."""
    resting: Resting = frozenset()
    """What has failed since the present daemon was started."""
    foreign_clsact: frozenset[IfIndex] = frozenset({ETH1.index})
    """The interfaces on whose hooks another program has a filter."""
    clsact: set[IfIndex] = field(default_factory=set)
    """The interfaces and taps that have hooks which vtapd gave them."""
    filters: dict[IfIndex, str] = field(default_factory=dict)
    """The names of vtapd's filters on the hooks of interfaces and taps."""
    guards: dict[IfIndex, str] = field(default_factory=dict)
    """The names of those on ingress hooks."""
    wake_filters: dict[IfIndex, str] = field(default_factory=dict)
    """The names of the filters on taps whose guest sleeps."""
    awake: bool = False
    """A guest that was woken, or was not put to sleep, runs: it is not woken again."""
    sleeps: bool = False
    """A guest sleeps, or is on its way to or from that, so that it may be marked as ready though none runs."""
    loopback: set[str] = field(default_factory=lambda: {"127.0.0.1"})
    disturbed: bool = False
    """Something else broke the set-up; until it is repaired, not every invariant holds."""

    def __post_init__(self) -> None:
        self.interfaces = self.interfaces or dict(self.docker)

    def copy(self) -> "SimulatedHost":
        """Return a host in the same state, which then changes by itself."""
        twin = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list | set):
                setattr(twin, name, value.copy())
        return twin

    def seen(self) -> Seen:
        """Return what the daemon observes."""
        if self.incarnation is None:
            return Seen(None, self.netns_link)
        entries = self.record.taps if self.record and self.record.incarnation == self.incarnation else ()
        known = {tap.device for tap in self.all_taps()} | {entry.device for entry in entries if entry.device}
        slots = {entry.slot for entry in entries}
        recorded = {entry.interface for entry in entries} | {entry.parent for entry in entries}
        own, strays = self._own_taps()
        return Seen(
            self.incarnation,
            self.netns_link,
            tuple(
                SeenInterface(
                    each,
                    tap := own.get(each.index),
                    tap is not None and tap.index in self.fresh,
                    wanted=name not in self.unwanted,
                    hooks=self._hooks(each.index, tap),
                    wake_filter=self._wake_filter(name, tap),
                )
                for name, each in sorted(self.interfaces.items())
                if (each.addresses and name not in self.unwanted) or each.index in own or {name, each.index} & recorded
            ),
            frozenset(self.rules & known),
            tuple((slot, device) for slot, device in sorted(self.nodes.items()) if slot in slots),
            self.guest is not None,
            frozenset(self.guest.nics) if self.guest else frozenset(),
            self.ready,
            self.exit_status,
            self.now_s,
            frozenset(tap.device for tap in self.taps.values() if tap.device.minor in self.stale_elsewhere),
            strays=strays,
            other_ipv4=frozenset(self.loopback),
        )

    def _hooks(self, index: IfIndex, tap: Tap | None) -> Hooks:
        has_clsact = index in self.clsact or index in self.foreign_clsact
        of_tap = tap.index if tap else IfIndex(0)
        on_tap = of_tap in self.clsact, self.filters.get(of_tap, "")
        return Hooks(has_clsact, self.filters.get(index, ""), self.guards.get(index, ""), *on_tap)

    def _wake_filter(self, interface: str, tap: Tap | None) -> str:
        """Return what the daemon observes: it asks only for filters that are on record."""
        entry = self.record.tap_of(interface) if self.record else None
        return self.wake_filters.get(tap.index, "") if entry and entry.wake_filter and tap else ""

    def _own_taps(self) -> tuple[dict[IfIndex, Tap], tuple[tuple[int, Tap], ...]]:
        """Return the taps that are vtapd's by the record, as the daemon finds them among all links."""
        here = {each.index: name for name, each in self.interfaces.items()}
        if self.record is None or self.record.incarnation != self.incarnation:
            return {self.interfaces[name].index: tap for name, tap in self.taps.items() if name in self.interfaces}, ()
        links = [_link(index, name, "", "veth") for index, name in here.items()]
        links += [_link(each.index, each.name, each.mac, "macvtap", self._parent(each)) for each in self.all_taps()]
        taps = {each.index: each for each in self.all_taps()}
        found = [
            each for each in find_recorded(self.record, links) if each.device in (None, taps[each.link.index].device)
        ]
        own = {each.interface: taps[each.link.index] for each in found if each.interface is not None}
        return own, tuple((each.slot, taps[each.link.index]) for each in found if each.interface is None)

    def all_taps(self) -> list[Tap]:
        return [*self.taps.values(), *self.left, *self.foreign]

    def _parent(self, tap: Tap) -> IfIndex | None:
        name = next((name for name, each in self.taps.items() if each == tap), "eth0")
        return self.interfaces[name].index if name in self.interfaces else None

    def next(self, desired: Desired) -> Action | None:
        step = self._next_step(desired)
        return step.action if step else None

    def _next_step(self, desired: Desired) -> Planned | None:
        self.awake = self.awake and not desired.asleep
        if self.awake:
            desired = replace(desired, wakers=None)
        self.sleeps = self.sleeps or desired.wakers is not None
        if self.saved:
            desired = replace(desired, snapshot=False)
        if self.refreshed:
            desired = replace(desired, refresh=False)
        return next_step(ID, NAME, desired, self.seen(), self.record, self.resting)

    def advance(self, desired: Desired) -> Iterator[Action]:
        """Work towards the desired state; yield after each change. A caller that stops iterating kills the daemon."""
        self.fresh.clear()
        self.resting = frozenset()
        for _ in range(MAX_ACTIONS):
            step = self._next_step(desired)
            if step is None:
                return
            yield from self._try(step)
        raise AssertionError(f"the plan does not end: {step}")

    def _try(self, step: Planned) -> Iterator[Action]:
        """Take the step; yield after each change. If it is one that fails, let it rest after some of them."""
        changes = self._take(step.action)
        if step.attempt not in self.faults:
            for _change in changes:
                yield step.action
            return
        assert may_rest(step.attempt)
        for _change in islice(changes, self.faults[step.attempt]):
            yield step.action
        self.resting |= {step.attempt}

    def converge(self, desired: Desired) -> list[Action]:
        """Work until nothing is left to do; return the actions."""
        taken: list[Action] = []
        for action in self.advance(desired):
            if not taken or taken[-1] is not action:
                taken.append(action)
        return taken

    def _take(self, action: Action) -> Iterator[None]:
        match action:
            case actions.WriteRecord() | actions.DeleteRecord() | actions.LinkNetns() | actions.UnlinkNetns():
                self._take_on_host(action)
            case (
                actions.StartGuest()
                | actions.KeepSnapshot()
                | actions.RefreshGuest()
                | actions.StopGuest()
                | actions.PlugNic()
                | actions.UnplugNic()
                | actions.SleepGuest()
                | actions.ResumeGuest()
                | actions.MarkReady()
                | actions.UnmarkReady()
                | actions.MarkExit()
                | actions.UnmarkExit()
            ):
                self._take_guest(action)
            case (
                actions.CreateTap()
                | actions.RaiseTap()
                | actions.DeleteTap()
                | actions.RevokeDevice()
                | actions.SetWakeFilter()
                | actions.RemoveWakeFilter()
            ):
                self._take_tap(action)
            case actions.AllowDevice(device):
                self.rules.add(device)
            case actions.DenyDevice(device):
                self.rules.remove(device)
            case actions.MakeNode(slot, device):
                self.nodes[slot] = device
            case actions.RemoveNode(slot, device):
                assert self.nodes.pop(slot) == device
            case actions.TakeOver(original, tap, reach):
                yield from self._take_over(original, tap, reach)
            case actions.GiveBack(original, its_tap):
                yield from self._give_back(original, its_tap)
            case actions.OpenPrivateLink():
                yield from self._open_private_link(action)
            case actions.ClosePrivateLink():
                yield from self._close_private_link(action)
            case _:
                assert_never(action)
        yield

    def _take_on_host(
        self, action: actions.WriteRecord | actions.DeleteRecord | actions.LinkNetns | actions.UnlinkNetns
    ) -> None:
        match action:
            case actions.WriteRecord(record):
                self.record = record
            case actions.DeleteRecord():
                self.record = None
            case actions.LinkNetns():
                assert self.incarnation is not None
                self.netns_link = self.incarnation.pid
            case actions.UnlinkNetns():
                self.netns_link = None

    def _take_tap(
        self,
        action: actions.CreateTap
        | actions.RaiseTap
        | actions.DeleteTap
        | actions.RevokeDevice
        | actions.SetWakeFilter
        | actions.RemoveWakeFilter,
    ) -> None:
        match action:
            case actions.SetWakeFilter() | actions.RemoveWakeFilter():
                self._filter(action)
            case actions.CreateTap(interface, name, mac):
                self._create_tap(interface, name, mac)
            case actions.RaiseTap(tap, mtu):
                name = next(name for name, each in self.taps.items() if each == tap)
                self.taps[name] = replace(tap, up=True, mtu=mtu)
            case actions.DeleteTap(tap):
                self.taps = {name: each for name, each in self.taps.items() if each != tap}
                self.left = [each for each in self.left if each != tap]
                self.clsact.discard(tap.index)
                self.filters.pop(tap.index, None)
                self.wake_filters.pop(tap.index, None)
            case actions.RevokeDevice(device):
                assert device.minor in self.stale_elsewhere, "revoked a device that no other container has on record"
                self.fresh -= {tap.index for tap in self.taps.values() if tap.device == device}
                self.stale_elsewhere.remove(device.minor)

    def _filter(self, action: actions.SetWakeFilter | actions.RemoveWakeFilter) -> None:
        tap = action.tap.index
        if isinstance(action, actions.SetWakeFilter):
            self.clsact.add(tap)
            self.wake_filters[tap] = filter_name(action.wakers)
        else:
            del self.wake_filters[tap]
            if not action.linked:
                self.clsact.discard(tap)

    def _take_guest(
        self,
        action: actions.StartGuest
        | actions.KeepSnapshot
        | actions.RefreshGuest
        | actions.StopGuest
        | actions.SleepGuest
        | actions.ResumeGuest
        | actions.PlugNic
        | actions.UnplugNic
        | actions.MarkReady
        | actions.UnmarkReady
        | actions.MarkExit
        | actions.UnmarkExit,
    ) -> None:
        nics = self.guest.nics if self.guest else {}
        match action:
            case actions.StartGuest(started_with):
                assert self.guest is None, "a second QEMU on one tap"
                assert not self.wake_filters, "a guest that does not get all packets"
                self.awake, self.sleeps = True, False
                self.guest = Guest({nic.slot: nic for nic in started_with})
            case actions.KeepSnapshot(waits_with) | actions.RefreshGuest(waits_with):
                assert {nic.slot for nic in waits_with} == nics.keys(), "other cards than the guest's"
                self.saved, self.refreshed = isinstance(action, actions.KeepSnapshot), True
            case actions.StopGuest():
                self.guest = None
            case actions.SleepGuest():
                assert self.guest is not None, "a guest that does not run was put to sleep"
                filtered = {nic.tap.index for nic in self.guest.nics.values()} <= self.wake_filters.keys()
                assert filtered or self.disturbed, "a guest was put to sleep that any packet wakes"
                self.guest = None
            case actions.ResumeGuest():
                assert self.guest is not None, "a guest that does not run was resumed"
                assert not self.wake_filters, "a guest that does not get all packets"
                self.awake, self.sleeps = True, False
            case actions.PlugNic(nic):
                assert nics, "a card for a guest that does not run"
                assert nic.slot not in nics, "two cards on one tap"
                self.guest = Guest({**nics, nic.slot: nic})
            case actions.UnplugNic(slot):
                assert slot in nics, "no such card"
                self.guest = Guest({number: nic for number, nic in nics.items() if number != slot})
            case actions.MarkReady() | actions.UnmarkReady():
                assert self.ready != isinstance(action, actions.MarkReady), "an action that changes nothing"
                self.ready = isinstance(action, actions.MarkReady)
                self.sleeps = self.sleeps and self.ready
            case actions.MarkExit(status):
                assert self.exit_status != status, "an action that changes nothing"
                self.exit_status = status
            case actions.UnmarkExit():
                assert self.exit_status is not None, "an action that changes nothing"
                self.exit_status = None

    def _create_tap(self, interface: Interface, name: str, mac: str) -> None:
        if name in {tap.name for tap in self.all_taps()}:
            raise KernelRefusesError(f"EEXIST: {name}")
        used = {tap.device.minor for tap in self.all_taps()} | self.minors_elsewhere
        minor = next(n for n in count(1) if n not in used)  # minors are reused at once
        index = IfIndex(next(_indexes))
        self.taps[interface.name] = Tap(name, index, mac, interface.mtu, False, DeviceNumber(MAJOR, minor))
        (self.watched if minor in self.stale_elsewhere else self.fresh).add(index)

    def _take_over(self, original: Interface, tap: Tap, reach: tuple[str, ...]) -> Iterator[None]:
        name = original.name
        for address in original.addresses:
            self._remove_address(name, address)
            yield
        self._remove_defaults(original)
        if self.interfaces[name].mac == original.mac:
            self._set_mac(name, next(_macs))
        yield
        if tap.mac != original.mac:
            self._set_tap_mac(name, original.mac)
            yield
        self.interfaces[name] = replace(self.interfaces[name], reached=reach)

    def _give_back(self, original: Interface, tap: Tap | None) -> Iterator[None]:
        name = original.name
        if tap is not None and tap.mac == original.mac:
            self._set_tap_mac(name, next(_macs))
            yield
        self._set_mac(name, original.mac)
        yield
        self.interfaces[name] = replace(self.interfaces[name], reached=())
        yield
        for address in original.addresses:
            if lifetime := lifetime_left(address, self.now_s):
                self._add_address(name, lifetime.of(address, self.now_s))
                yield
        for route in sorted(original.routes, key=lambda r: r.gateway is not None):
            if lifetime_left(route, self.now_s):
                self._add_route(name, route)
                yield

    def _open_private_link(self, step: actions.OpenPrivateLink) -> Iterator[None]:
        self.clsact.add(step.tap.index)
        yield
        self.clsact |= {step.interface.index} - self.foreign_clsact
        yield
        self.loopback.add(step.address)
        hooks = expected_hooks(step.interface, step.tap, step.address)
        self.guards[step.interface.index] = hooks.guard
        self.filters |= {step.interface.index: hooks.interface, step.tap.index: hooks.tap}
        now = self.interfaces[step.original.name]
        ways = expected_ways(step.original, step.address)
        self.interfaces[step.original.name] = replace(now, guests=ways)

    def _close_private_link(self, step: actions.ClosePrivateLink) -> Iterator[None]:
        if step.tap is not None:
            self.filters.pop(step.tap.index, None)
            self.wake_filters.pop(step.tap.index, None)
            self.clsact.discard(step.tap.index)
            yield  # a part may fail
        if step.address is not None:
            self.remove_from_loopback(step.address)
        if step.interface is not None:
            self.filters.pop(step.interface.index, None)
            self.guards.pop(step.interface.index, None)
            now = self.interfaces[step.interface.name]
            self.interfaces[step.interface.name] = replace(now, guests=())
        if step.interface is not None and step.own_clsact:
            self.clsact.discard(step.interface.index)

    def remove_from_loopback(self, address: str) -> None:
        """An address takes the routes with it that have it as their source."""
        self.loopback.discard(address)
        for name, each in self.interfaces.items():
            ways = (replace(way, source=None) if way.source == address else way for way in each.guests)
            self.interfaces[name] = replace(each, guests=tuple(way for way in ways if way.source or way.mac))

    def _remove_defaults(self, original: Interface) -> None:
        now = self.interfaces[original.name]
        gone = {route for route in original.routes if route.family == 4 and is_dockers_default(route)}
        self.interfaces[original.name] = replace(now, routes=tuple(each for each in now.routes if each not in gone))

    def _set_mac(self, name: str, mac: str) -> None:
        if name in self.taps and self.taps[name].mac == mac:
            raise KernelRefusesError(f"EADDRINUSE: {mac} is the tap's")
        now = self.interfaces[name]
        # It takes the neighbour entries with it.
        guests = tuple(replace(way, mac=None) for way in now.guests if way.source) if now.mac != mac else now.guests
        self.interfaces[name] = replace(now, mac=mac, guests=guests)

    def _set_tap_mac(self, name: str, mac: str) -> None:
        if self.interfaces[name].mac == mac:
            raise KernelRefusesError(f"EADDRINUSE: {mac} is the interface's")
        self.taps[name] = replace(self.taps[name], mac=mac)

    def _remove_address(self, name: str, address: Address) -> None:
        """An address takes its routes with it; the last IPv4 address takes all IPv4 routes."""
        now = self.interfaces[name]
        left = tuple(each for each in now.addresses if each != address)
        families = {each.family for each in left}
        kept = tuple(
            route for route in now.routes if route.source != address.ip and (route.family == 6 or 4 in families)
        )
        self.interfaces[name] = replace(now, addresses=left, routes=kept)

    def _add_address(self, name: str, address: Address) -> None:
        now = self.interfaces[name]
        if address not in now.addresses:
            self.interfaces[name] = replace(now, addresses=(*now.addresses, address))

    def _add_route(self, name: str, route: Route) -> None:
        now = self.interfaces[name]
        if route.gateway and not any(_reaches(address, route.gateway) for address in now.addresses):
            raise KernelRefusesError(f"ENETUNREACH: {route.gateway}")
        if route not in now.routes:
            self.interfaces[name] = replace(now, routes=(*now.routes, route))


def _link(index: IfIndex, name: str, mac: str, kind: str, parent: IfIndex | None = None) -> Link:
    return Link(index, name, mac, 1500, True, True, kind, parent)


def _reaches(address: Address, gateway: str) -> bool:
    network = ipaddress.ip_network(f"{address.ip}/{address.prefix}", strict=False)
    return ipaddress.ip_address(gateway) in network
