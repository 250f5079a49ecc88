"""Observe one run of a container, and take the steps that change the kernel's part of it.

It decides nothing. Each step returns what is there afterwards, so that a plan of many steps needs one observation.
"""

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import replace

from supervisor.container.container_nodes import ContainerNodes
from supervisor.container.device_access import DeviceRules, open_rules
from supervisor.container.takeover import give_back, take_over
from supervisor.core.attach.actions import (
    AllowDevice,
    ClosePrivateLink,
    CreateTap,
    DeleteTap,
    DenyDevice,
    GiveBack,
    LinkNetns,
    MakeNode,
    MarkExit,
    MarkReady,
    OpenPrivateLink,
    RaiseTap,
    RemoveNode,
    RemoveWakeFilter,
    SetWakeFilter,
    TakeOver,
    UnmarkExit,
    UnmarkReady,
)
from supervisor.core.attach.ownership import OwnLink, find_recorded, find_unrecorded, own_mac
from supervisor.core.attach.private_link import expected_ways
from supervisor.core.attach.scope import Scope, is_sure, observed_interfaces
from supervisor.core.attach.state import Seen
from supervisor.core.container import Container, ContainerHandles, Incarnation
from supervisor.core.devices.bpf_rules import Rule
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.links import DeviceNumber, Hooks, IfIndex, Interface, Link, Tap
from supervisor.core.record import Record, TapRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroups, ifreq, marks, netns, netns_symlinks, process, rootfs, sysfs_links, tap
from supervisor.edges.kernel.links import SIBLING, Links, Network

KernelStep = (
    LinkNetns
    | CreateTap
    | RaiseTap
    | DeleteTap
    | AllowDevice
    | DenyDevice
    | MakeNode
    | RemoveNode
    | TakeOver
    | GiveBack
    | OpenPrivateLink
    | ClosePrivateLink
    | SetWakeFilter
    | RemoveWakeFilter
    | MarkReady
    | MarkExit
    | UnmarkExit
    | UnmarkReady
)


_USUAL_SLOTS = set(range(64))
"""Where nodes are looked for that are not on record."""


class Attachment:
    """Descriptors into one incarnation's namespaces; `close` closes them all."""

    def __init__(
        self,
        incarnation: Incarnation,
        handles: netns.NetnsHandles,
        root: int,
        dev: int,
        nodes: ContainerNodes,
        cgroup: Cgroup,
        rules: DeviceRules,
        owner: str,
    ) -> None:
        self.incarnation = incarnation
        self.cgroup = cgroup
        self.rules = rules
        self.root = root
        self.dev = dev
        self.nodes = nodes
        self.sysfs = handles.sysfs
        self._owner = owner
        self._links = Links(handles.netlink)

    @classmethod
    def open(cls, incarnation: Incarnation, own_rules: Callable[[], tuple[Rule, ...]], owner: str) -> "Attachment":
        """Open everything. Raises ContainerGone if the container has ended.

        `own_rules` returns the container's own device rules. It is called if its program cannot be read. `owner` is
        the daemon's run-time folder.
        """
        cgroup = cgroups.observe_cgroup(incarnation.pid)
        with ExitStack() as owned:
            root = rootfs.open_root(incarnation.pid)
            owned.callback(os.close, root)
            dev = rootfs.open_dev(root)
            owned.callback(os.close, dev)
            nodes = ContainerNodes(incarnation.pid, dev, own_rules)
            owned.callback(nodes.close)
            rules = open_rules(cgroup, own_rules)
            owned.callback(rules.close)
            handles = netns.open_netns(incarnation.pid)
            owned.pop_all()
        return cls(incarnation, handles, root, dev, nodes, cgroup, rules, owner)

    @property
    def handles(self) -> ContainerHandles:
        """What a guest needs of it. They are valid while this is open."""
        return ContainerHandles(self.incarnation.pid, self.root, self.nodes.folder, self.cgroup)

    def close(self) -> None:
        self._links.close()
        self.rules.close()
        self.nodes.close()
        for descriptor in (self.sysfs, self.dev, self.root):
            os.close(descriptor)

    def observe(
        self, link_name: str, record: Record | None, scope: Scope, *, with_routes: bool, with_hooks: bool
    ) -> Seen:
        """Return what is there.

        Routes and hooks cost questions of their own, and matter only if an address is taken over.
        """
        recorded = record.taps if record else ()
        now_s = boottime_s()
        network = self._observe(with_routes, bool(recorded), scope, now_s)
        own = find_recorded(record, network.links) if record else ()
        seen = self._seen(link_name, scope, network, own, recorded, now_s)
        seen = self._with_wake_filters(seen, record) if record else seen
        return self._with_hooks(seen) if with_hooks else seen

    def _with_wake_filters(self, seen: Seen, record: Record) -> Seen:
        filtered = {entry.interface for entry in record.taps if entry.wake_filter}
        if not filtered:
            return seen
        interfaces = (
            replace(s, wake_filter=self._links.observe_wake_filter(s.tap.index))
            if s.tap and s.interface.name in filtered
            else s
            for s in seen.interfaces
        )
        return replace(seen, interfaces=tuple(interfaces))

    def _with_hooks(self, seen: Seen) -> Seen:
        interfaces = (
            replace(s, hooks=self._links.observe_hooks(s.interface.index, s.tap.index if s.tap else None))
            for s in seen.interfaces
        )
        return replace(seen, interfaces=tuple(interfaces))

    def observe_unrecorded(
        self, link_name: str, container: Container, scope: Scope, rules: Collection[DeviceNumber]
    ) -> Seen:
        """Return what is there if the container's record is lost. `rules`: the devices of vtapd's own rules."""
        now_s = boottime_s()
        network = self._observe(True, False, scope, now_s)
        links = network.links
        devices = {link.index: tap.find_device(self.sysfs, link.index) for link in links if link.kind == "macvtap"}
        majors = {device.major for device in devices.values() if device}
        nodes = {device: slot for slot, device in self.nodes.observe(_USUAL_SLOTS, majors)}
        own = find_unrecorded(container, links, devices, rules, nodes)
        return self._with_hooks(self._seen(link_name, scope, network, own, (), now_s))

    def _seen(
        self,
        link_name: str,
        scope: Scope,
        network: Network,
        own: Iterable[OwnLink],
        recorded: tuple[TapRecord, ...],
        now_s: float,
    ) -> Seen:
        taps, strays = self._own_taps(own)
        links = {link.index: link for link in network.links}
        seen = observed_interfaces(network.interfaces, links, taps, recorded, scope)
        devices = {t.device for t in (*taps.values(), *strays.values())} | {e.device for e in recorded if e.device}
        slots = {entry.slot for entry in recorded} | strays.keys()
        return Seen(
            incarnation=self.incarnation,
            netns_link=netns_symlinks.observe_symlink(link_name),
            interfaces=seen,
            rules=self.rules.observe(frozenset(devices)) if devices else frozenset(),
            nodes=self.nodes.observe(slots, {device.major for device in devices}),
            ungiven=self.nodes.observe_ungiven(slots),
            hidden_nodes=self.nodes.unusable_because is not None,
            ready=marks.observe_ready_mark(self.dev),
            exit_status=marks.observe_exit_mark(self.dev),
            at_s=now_s,
            strays=tuple(strays.items()),
            other_ipv4=network.other_ipv4,
        )

    def _own_taps(self, own: Iterable[OwnLink]) -> tuple[dict[IfIndex, Tap], dict[int, Tap]]:
        """Return the taps by interface, and those whose interface is gone by slot."""
        taps, strays = {}, {}
        for each in own:
            device = tap.find_device(self.sysfs, each.link.index)
            if device is None or each.device not in (None, device):
                continue  # it was deleted, and something else has its ifindex or its name
            its_tap = _tap(each.link, device)
            if each.interface is None:
                strays[each.slot] = its_tap
            else:
                taps[each.interface] = its_tap
        return taps, strays

    def _observe(self, with_routes: bool, attached: bool, scope: Scope, now_s: float) -> Network:
        """Observe a new container without RTNL: it would wait for that lock while Docker starts others."""
        if not attached and not tap.has_macvtaps(self.sysfs):
            new = self._links.observe_new(with_routes, ifreq.show_link, now_s)
            if is_sure(new.interfaces, scope) and all(self._comes_from_outside(each) for each in new.interfaces):
                return new
        return self._links.observe(with_routes, now_s)

    def _comes_from_outside(self, interface: Interface) -> bool:
        """Return whether it was surely not made in the container, and can have a macvtap."""
        other = sysfs_links.observe_other_end(self.sysfs, interface.name)
        if other in (None, interface.index) or sysfs_links.is_port(self.sysfs, interface.name):
            return False
        return ifreq.show_link(self._links.fileno(), other) is None

    def sweep(self) -> None:
        """Delete what a daemon that was killed may have left without a record."""
        self._links.delete_sibling(own_mac(str(self.incarnation.pid), SIBLING))

    def apply(self, step: KernelStep, link_name: str, seen: Seen) -> Seen:
        """Take one step, and return what is there now. No other task runs meanwhile."""
        match step:
            case LinkNetns():
                netns_symlinks.create_symlink(link_name, self.incarnation.pid, self._owner)
                return replace(seen, netns_link=self.incarnation.pid)
            case CreateTap(interface, name, mac):
                return _with_tap(seen, interface.name, self._create(name, interface, mac), fresh=True)
            case RaiseTap(low, mtu):
                self._links.raise_link(low.index, mtu)
                owner = next(s for s in seen.interfaces if s.tap == low)
                return _with_tap(seen, owner.interface.name, replace(low, up=True, mtu=mtu))
            case DeleteTap(gone):
                self._links.delete_link(gone.index)
                return _without_tap(seen, gone)
            case AllowDevice(device):
                self.rules.allow(device)
                return replace(seen, rules=seen.rules | {device})
            case DenyDevice(device):
                self.rules.deny(device)
                return replace(seen, rules=seen.rules - {device})
            case MakeNode(slot, device):
                ours = frozenset(each.tap.device for each in seen.interfaces if each.tap)
                self.nodes.make(slot, device, lambda: tap.observe_devices(self.sysfs) - ours)
                nodes = (*_other_nodes(seen, slot), (slot, device))
                return replace(seen, nodes=nodes, ungiven=seen.ungiven - {slot})
            case RemoveNode(slot, device):
                self.nodes.remove(slot, device)
                return replace(seen, nodes=_other_nodes(seen, slot))
            case MarkReady() | UnmarkReady() | MarkExit() | UnmarkExit():
                return self._set_mark(step, seen)
            case SetWakeFilter() | RemoveWakeFilter():
                return self._filter(step, seen)
            case TakeOver() | GiveBack() | OpenPrivateLink() | ClosePrivateLink():
                return self._change_network(step, seen)

    def _filter(self, step: SetWakeFilter | RemoveWakeFilter, seen: Seen) -> Seen:
        if isinstance(step, SetWakeFilter):
            return _with_wake_filter(seen, step.tap, self._links.set_wake_filter(step))
        self._links.remove_wake_filter(step)
        return _with_wake_filter(seen, step.tap, "")

    def _change_network(self, step: TakeOver | GiveBack | OpenPrivateLink | ClosePrivateLink, seen: Seen) -> Seen:
        match step:
            case TakeOver():
                return _with_both(seen, *take_over(self._links, step, seen))
            case GiveBack():
                return _with_both(seen, *give_back(self._links, step, seen))
            case OpenPrivateLink(original, interface, _, _, address):
                hooks = self._links.open_private_link(step)
                linked = replace(interface, guests=expected_ways(original, address))
                return _with_link(replace(seen, other_ipv4=seen.other_ipv4 | {address}), linked, hooks)
            case ClosePrivateLink(interface, _, address, own_clsact):
                self._links.close_private_link(step)
                seen = replace(seen, other_ipv4=seen.other_ipv4 - {address})
                left = Hooks(clsact=not own_clsact)
                # The wake filter of a guest that sleeps may have gone with the tap's hooks.
                seen = _with_wake_filter(seen, step.tap, "") if step.tap else seen
                return _with_link(seen, replace(interface, guests=()), left) if interface else seen

    def _set_mark(self, step: MarkReady | UnmarkReady | MarkExit | UnmarkExit, seen: Seen) -> Seen:
        match step:
            case MarkReady():
                marks.make_ready_mark(self.dev, process.observe_file_owner(self.incarnation.pid))
                return replace(seen, ready=True)
            case UnmarkReady():
                marks.remove_ready_mark(self.dev)
                return replace(seen, ready=False)
            case MarkExit(status):
                marks.make_exit_mark(self.dev, process.observe_file_owner(self.incarnation.pid), status)
                return replace(seen, exit_status=status)
            case UnmarkExit():
                marks.remove_exit_mark(self.dev)
                return replace(seen, exit_status=None)

    def _create(self, name: str, parent: Interface, mac: str) -> Tap:
        self._links.create_macvtap(name, parent, mac)
        index = tap.observe_index(self.sysfs, name)
        return Tap(name, index, mac, parent.mtu, False, tap.observe_device(self.sysfs, index))


def _tap(link: Link, device: DeviceNumber) -> Tap:
    return Tap(link.name, link.index, link.mac, link.mtu, link.up, device)


def _with_both(seen: Seen, interface: Interface, its_tap: Tap | None) -> Seen:
    name = interface.name
    each = tuple(replace(s, interface=interface) if s.interface.name == name else s for s in seen.interfaces)
    return _with_tap(replace(seen, interfaces=each), name, its_tap)


def _with_tap(seen: Seen, interface: str, changed: Tap | None, *, fresh: bool = False) -> Seen:
    each = tuple(replace(s, tap=changed, fresh=fresh) if s.interface.name == interface else s for s in seen.interfaces)
    return replace(seen, interfaces=each)


def _with_link(seen: Seen, interface: Interface, hooks: Hooks) -> Seen:
    each = tuple(
        replace(s, interface=interface, hooks=hooks) if s.interface.index == interface.index else s
        for s in seen.interfaces
    )
    return replace(seen, interfaces=each)


def _with_wake_filter(seen: Seen, its_tap: Tap, name: str) -> Seen:
    each = tuple(replace(s, wake_filter=name) if s.tap == its_tap else s for s in seen.interfaces)
    return replace(seen, interfaces=each)


def _without_tap(seen: Seen, gone: Tap) -> Seen:
    interfaces = tuple(replace(s, tap=None, fresh=False) if s.tap == gone else s for s in seen.interfaces)
    return replace(seen, interfaces=interfaces, strays=tuple(each for each in seen.strays if each[1] != gone))


def _other_nodes(seen: Seen, slot: int) -> tuple[tuple[int, DeviceNumber], ...]:
    return tuple(node for node in seen.nodes if node[0] != slot)
