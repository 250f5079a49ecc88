"""Observe one run of a container, and take the steps that change the kernel's part of it.

It decides nothing. Each step returns what is there afterwards, so that a plan of many steps needs one observation.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from supervisor.container.container_nodes import ContainerNodes
from supervisor.container.device_access import DeviceRules, open_rules
from supervisor.core.attach.actions import (
    AllowDevice,
    CreateTap,
    DeleteTap,
    DenyDevice,
    GiveBack,
    LinkNetns,
    MakeNode,
    MarkExit,
    MarkReady,
    RaiseTap,
    RemoveNode,
    TakeOver,
    UnmarkExit,
    UnmarkReady,
)
from supervisor.core.attach.scope import Scope, is_sure, observed_interfaces
from supervisor.core.attach.state import Seen
from supervisor.core.devices.bpf_rules import Rule
from supervisor.core.formats.proc_cgroup import Cgroup
from supervisor.core.model import (
    ContainerHandles,
    DeviceNumber,
    IfIndex,
    Incarnation,
    Interface,
    Link,
    Record,
    Tap,
)
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroups, ifreq, marks, netns, netns_symlinks, process, rootfs, sysfs_links, tap
from supervisor.edges.kernel.links import Links

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
    | MarkReady
    | MarkExit
    | UnmarkExit
    | UnmarkReady
)


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

    def observe(self, link_name: str, record: Record | None, scope: Scope, *, with_routes: bool) -> Seen:
        """Return what is there. Routes cost a dump of their own, and matter only if an address is taken over."""
        recorded = record.taps if record else ()
        now_s = boottime_s()
        owners = {entry.tap: entry.interface for entry in recorded}
        interfaces, links = self._observe(with_routes, owners, scope, now_s)
        macvtaps = [link for link in links if link.kind == "macvtap" and link.name.startswith("vtap")]
        taps = {IfIndex(link.parent): self._tap(link) for link in macvtaps if link.parent is not None}
        seen = observed_interfaces(interfaces, {link.index: link for link in links}, taps, recorded, scope)
        devices = {t.device for t in taps.values()} | {e.device for e in recorded if e.device}
        slots = {entry.slot for entry in recorded}
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
        )

    def _observe(
        self, with_routes: bool, owners: dict[str, str], scope: Scope, now_s: float
    ) -> tuple[list[Interface], list[Link]]:
        """Observe a new container without RTNL: it would wait for that lock while Docker starts others."""
        if not owners and not tap.has_macvtaps(self.sysfs):
            interfaces, links = self._links.observe_new(with_routes, ifreq.show_link, now_s)
            if is_sure(interfaces, scope) and all(self._comes_from_outside(each) for each in interfaces):
                return interfaces, links
        return self._links.observe(with_routes, owners, now_s)

    def _comes_from_outside(self, interface: Interface) -> bool:
        """Return whether it was surely not made in the container, and can have a macvtap."""
        other = sysfs_links.observe_other_end(self.sysfs, interface.name)
        if other in (None, interface.index) or sysfs_links.is_port(self.sysfs, interface.name):
            return False
        return ifreq.show_link(self._links.fileno(), other) is None

    def sweep(self) -> None:
        """Delete what a daemon that was killed may have left without a record."""
        self._links.delete_sibling()

    async def apply(self, step: KernelStep, link_name: str, seen: Seen) -> Seen:
        """Take one step, and return what is there now. Nothing but GiveBack lets other tasks run meanwhile."""
        match step:
            case LinkNetns():
                netns_symlinks.create_symlink(link_name, self.incarnation.pid, self._owner)
                return replace(seen, netns_link=self.incarnation.pid)
            case CreateTap(interface, name):
                return _with_tap(seen, interface.name, self._create(name, interface), fresh=True)
            case RaiseTap(low, mtu):
                self._links.raise_link(low.index, mtu)
                owner = next(s for s in seen.interfaces if s.tap == low)
                return _with_tap(seen, owner.interface.name, replace(low, up=True, mtu=mtu))
            case DeleteTap(gone):
                self._links.delete_link(gone.index)
                owner = next(s for s in seen.interfaces if s.tap == gone)
                return _with_tap(seen, owner.interface.name, None)
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
            case TakeOver(original, its_tap):
                return self._take_over(original, its_tap, seen)
            case GiveBack():
                return await self._give_back(step, seen)

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

    def _create(self, name: str, parent: Interface) -> Tap:
        mac = _random_mac()
        self._links.create_macvtap(name, parent, mac)
        index = tap.observe_index(self.sysfs, name)
        return Tap(name, index, mac, parent.mtu, False, tap.observe_device(self.sysfs, index))

    def _take_over(self, original: Interface, its_tap: Tap, seen: Seen) -> Seen:
        """Addresses first, then the MACs: the kernel refuses a macvtap the MAC of its parent (EADDRINUSE)."""
        index = _index(seen, original)
        for address in original.addresses:
            self._links.remove_address(index, address)
        mac = _random_mac()
        self._links.set_mac(index, mac)
        if its_tap.mac != original.mac:
            self._links.set_mac(its_tap.index, original.mac)
        stripped = replace(original, index=index, mac=mac, addresses=(), routes=())
        return _with_tap(_with_interface(seen, stripped), stripped.name, replace(its_tap, mac=original.mac))

    async def _give_back(self, step: GiveBack, seen: Seen) -> Seen:
        """Addresses and routes get what is left of their lifetimes. If nothing is left, they are not restored."""
        original, its_tap = step.original, step.tap
        index = _index(seen, original)
        if its_tap is not None and its_tap.mac == original.mac:
            its_tap = replace(its_tap, mac=_random_mac())
            self._links.set_mac(its_tap.index, its_tap.mac)
        self._links.set_mac(index, original.mac)
        self._links.restore(index, original, step.later, boottime_s())
        return _with_tap(_with_interface(seen, replace(original, index=index)), original.name, its_tap)

    def _tap(self, link: Link) -> Tap:
        device = tap.observe_device(self.sysfs, link.index)
        return Tap(link.name, link.index, link.mac, link.mtu, link.up, device)


def _with_interface(seen: Seen, changed: Interface) -> Seen:
    each = tuple(replace(s, interface=changed) if s.interface.name == changed.name else s for s in seen.interfaces)
    return replace(seen, interfaces=each)


def _with_tap(seen: Seen, interface: str, changed: Tap | None, *, fresh: bool = False) -> Seen:
    each = tuple(replace(s, tap=changed, fresh=fresh) if s.interface.name == interface else s for s in seen.interfaces)
    return replace(seen, interfaces=each)


def _other_nodes(seen: Seen, slot: int) -> tuple[tuple[int, DeviceNumber], ...]:
    return tuple(node for node in seen.nodes if node[0] != slot)


def _index(seen: Seen, original: Interface) -> IfIndex:
    """Return the interface's index now. It changes if the interface is disconnected and connected again."""
    now = seen.of(original.name)
    return now.interface.index if now else original.index


def _random_mac() -> str:
    """Return a locally administered unicast address (IEEE 802, bits 1 and 0 of the first octet)."""
    octets = bytearray(os.urandom(6))
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")
