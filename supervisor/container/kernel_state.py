"""Observe what the kernel has of one run of a container: interfaces, taps, rules, nodes and marks."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from supervisor.container.attachment import Attachment
from supervisor.core.attach.ownership import OwnLink, find_recorded, find_unrecorded
from supervisor.core.attach.scope import Scope, is_sure, observed_interfaces
from supervisor.core.attach.state import Seen
from supervisor.core.container import Container
from supervisor.core.links import DeviceNumber, IfIndex, Interface, Link, Tap
from supervisor.core.record import Record, TapRecord
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import ifreq, marks, netns_symlinks, sysfs_links, tap
from supervisor.edges.kernel.links import Network

_USUAL_SLOTS = set(range(64))
"""Where nodes are looked for that are not on record."""


def observe(
    attachment: Attachment, record: Record | None, scope: Scope, *, with_routes: bool, with_hooks: bool, fresh: bool
) -> Seen:
    """Return what is there. Of the taps, only those that the record names are vtapd's own.

    Without `fresh`, the network is as it was seen last if the kernel has reported no change of it.
    Routes and hooks cost questions of their own, and matter only if an address is taken over.
    """
    recorded = record.taps if record else ()
    now_s = boottime_s()
    attachment.view.begin(fresh=fresh or not recorded)
    network = _observe_network(attachment, with_routes, bool(recorded), scope, now_s)
    own = find_recorded(record, network.links) if record else ()
    seen = _seen(attachment, scope, network, own, recorded, now_s)
    seen = _with_wake_filters(attachment, seen, record) if record else seen
    return _with_hooks(attachment, seen) if with_hooks else seen


def observe_unrecorded(
    attachment: Attachment, container: Container, scope: Scope, rules: Collection[DeviceNumber]
) -> Seen:
    """Return what is there if the container's record is lost. `rules`: the devices of vtapd's own rules."""
    now_s = boottime_s()
    attachment.view.begin(fresh=True)
    network = _observe_network(attachment, True, False, scope, now_s)
    links = network.links
    devices = {link.index: tap.find_device(attachment.sysfs, link.index) for link in links if link.kind == "macvtap"}
    majors = {device.major for device in devices.values() if device}
    nodes = {device: slot for slot, device in attachment.nodes.observe(_USUAL_SLOTS, majors)}
    own = find_unrecorded(container, links, devices, rules, nodes)
    return _with_hooks(attachment, _seen(attachment, scope, network, own, (), now_s))


def _with_wake_filters(attachment: Attachment, seen: Seen, record: Record) -> Seen:
    filtered = {entry.interface for entry in record.taps if entry.wake_filter}
    if not filtered:
        return seen
    interfaces = (
        replace(s, wake_filter=attachment.view.wake_filter(s.tap.index))
        if s.tap and s.interface.name in filtered
        else s
        for s in seen.interfaces
    )
    return replace(seen, interfaces=tuple(interfaces))


def _with_hooks(attachment: Attachment, seen: Seen) -> Seen:
    interfaces = (
        replace(s, hooks=attachment.view.hooks(s.interface.index, s.tap.index if s.tap else None))
        for s in seen.interfaces
    )
    return replace(seen, interfaces=tuple(interfaces))


def _seen(
    attachment: Attachment,
    scope: Scope,
    network: Network,
    own: Iterable[OwnLink],
    recorded: tuple[TapRecord, ...],
    now_s: float,
) -> Seen:
    taps, strays = _own_taps(attachment, own)
    links = {link.index: link for link in network.links}
    seen = observed_interfaces(network.interfaces, links, taps, recorded, scope)
    devices = {t.device for t in (*taps.values(), *strays.values())} | {e.device for e in recorded if e.device}
    slots = {entry.slot for entry in recorded} | strays.keys()
    return Seen(
        incarnation=attachment.incarnation,
        netns_link=netns_symlinks.observe_symlink(attachment.link_name),
        interfaces=seen,
        rules=attachment.rules.observe(frozenset(devices)) if devices else frozenset(),
        nodes=attachment.nodes.observe(slots, {device.major for device in devices}),
        ungiven=attachment.nodes.observe_ungiven(slots),
        hidden_nodes=attachment.nodes.unusable_because is not None,
        ready=marks.observe_ready_mark(attachment.dev),
        exit_status=marks.observe_exit_mark(attachment.dev),
        at_s=now_s,
        strays=tuple(strays.items()),
        other_ipv4=network.other_ipv4,
    )


def _own_taps(attachment: Attachment, own: Iterable[OwnLink]) -> tuple[dict[IfIndex, Tap], dict[int, Tap]]:
    """Return the taps by interface, and those whose interface is gone by slot."""
    taps, strays = {}, {}
    for each in own:
        device = attachment.view.device(each.link.index)
        if device is None or each.device not in (None, device):
            continue  # it was deleted, and something else has its ifindex or its name
        its_tap = _tap(each.link, device)
        if each.interface is None:
            strays[each.slot] = its_tap
        else:
            taps[each.interface] = its_tap
    return taps, strays


def _observe_network(attachment: Attachment, with_routes: bool, attached: bool, scope: Scope, now_s: float) -> Network:
    """Observe a new container without RTNL: it would wait for that lock while Docker starts others."""
    if not attached and not tap.has_macvtaps(attachment.sysfs):
        new = attachment.links.observe_new(with_routes, ifreq.show_link, now_s)
        if is_sure(new.interfaces, scope) and all(_comes_from_outside(attachment, each) for each in new.interfaces):
            return new
    return attachment.view.network(with_routes, now_s)


def _comes_from_outside(attachment: Attachment, interface: Interface) -> bool:
    """Return whether it was surely not made in the container, and can have a macvtap."""
    other = sysfs_links.observe_other_end(attachment.sysfs, interface.name)
    if other in (None, interface.index) or sysfs_links.is_port(attachment.sysfs, interface.name):
        return False
    return ifreq.show_link(attachment.links.fileno(), other) is None


def _tap(link: Link, device: DeviceNumber) -> Tap:
    return Tap(link.name, link.index, link.mac, link.mtu, link.up, device)
