"""Take the steps of a plan that change the kernel's part of one run of a container.

It decides nothing. Each step returns what is there afterwards, so that a plan of many steps needs one observation.
"""

from dataclasses import replace

from supervisor.container.attachment import Attachment
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
from supervisor.core.attach.private_link import expected_ways
from supervisor.core.attach.state import Seen
from supervisor.core.links import DeviceNumber, Hooks, Interface, Tap
from supervisor.edges.kernel import marks, netns_symlinks, process, tap

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


def apply(attachment: Attachment, step: KernelStep, seen: Seen) -> Seen:
    """Take one step, and return what is there now. No other task runs meanwhile."""
    match step:
        case LinkNetns():
            netns_symlinks.create_symlink(attachment.link_name, attachment.incarnation.pid, attachment.owner)
            return replace(seen, netns_link=attachment.incarnation.pid)
        case CreateTap(interface, name, mac):
            return _with_tap(seen, interface.name, _create(attachment, name, interface, mac), fresh=True)
        case RaiseTap(low, mtu):
            attachment.links.raise_link(low.index, mtu)
            owner = next(s for s in seen.interfaces if s.tap == low)
            return _with_tap(seen, owner.interface.name, replace(low, up=True, mtu=mtu))
        case DeleteTap(gone):
            attachment.links.delete_link(gone.index)
            return _without_tap(seen, gone)
        case AllowDevice(device):
            attachment.rules.allow(device)
            return replace(seen, rules=seen.rules | {device})
        case DenyDevice(device):
            attachment.rules.deny(device)
            return replace(seen, rules=seen.rules - {device})
        case MakeNode(slot, device):
            ours = frozenset(each.tap.device for each in seen.interfaces if each.tap)
            attachment.nodes.make(slot, device, lambda: tap.observe_devices(attachment.sysfs) - ours)
            nodes = (*_other_nodes(seen, slot), (slot, device))
            return replace(seen, nodes=nodes, ungiven=seen.ungiven - {slot})
        case RemoveNode(slot, device):
            attachment.nodes.remove(slot, device)
            return replace(seen, nodes=_other_nodes(seen, slot))
        case MarkReady() | UnmarkReady() | MarkExit() | UnmarkExit():
            return _set_mark(attachment, step, seen)
        case SetWakeFilter() | RemoveWakeFilter():
            return _filter(attachment, step, seen)
        case TakeOver() | GiveBack() | OpenPrivateLink() | ClosePrivateLink():
            return _change_network(attachment, step, seen)


def _filter(attachment: Attachment, step: SetWakeFilter | RemoveWakeFilter, seen: Seen) -> Seen:
    if isinstance(step, SetWakeFilter):
        return _with_wake_filter(seen, step.tap, attachment.links.set_wake_filter(step))
    attachment.links.remove_wake_filter(step)
    return _with_wake_filter(seen, step.tap, "")


def _change_network(
    attachment: Attachment, step: TakeOver | GiveBack | OpenPrivateLink | ClosePrivateLink, seen: Seen
) -> Seen:
    match step:
        case TakeOver():
            return _with_both(seen, *take_over(attachment.links, step, seen))
        case GiveBack():
            return _with_both(seen, *give_back(attachment.links, step, seen))
        case OpenPrivateLink(original, interface, _, _, address):
            hooks = attachment.links.open_private_link(step)
            linked = replace(interface, guests=expected_ways(original, address))
            return _with_link(replace(seen, other_ipv4=seen.other_ipv4 | {address}), linked, hooks)
        case ClosePrivateLink(interface, _, address, own_clsact):
            attachment.links.close_private_link(step)
            seen = replace(seen, other_ipv4=seen.other_ipv4 - {address})
            left = Hooks(clsact=not own_clsact)
            # The wake filter of a guest that sleeps may have gone with the tap's hooks.
            seen = _with_wake_filter(seen, step.tap, "") if step.tap else seen
            return _with_link(seen, replace(interface, guests=()), left) if interface else seen


def _set_mark(attachment: Attachment, step: MarkReady | UnmarkReady | MarkExit | UnmarkExit, seen: Seen) -> Seen:
    match step:
        case MarkReady():
            marks.make_ready_mark(attachment.dev, process.observe_file_owner(attachment.incarnation.pid))
            return replace(seen, ready=True)
        case UnmarkReady():
            marks.remove_ready_mark(attachment.dev)
            return replace(seen, ready=False)
        case MarkExit(status):
            marks.make_exit_mark(attachment.dev, process.observe_file_owner(attachment.incarnation.pid), status)
            return replace(seen, exit_status=status)
        case UnmarkExit():
            marks.remove_exit_mark(attachment.dev)
            return replace(seen, exit_status=None)


def _create(attachment: Attachment, name: str, parent: Interface, mac: str) -> Tap:
    attachment.links.create_macvtap(name, parent, mac)
    index = tap.observe_index(attachment.sysfs, name)
    return Tap(name, index, mac, parent.mtu, False, tap.observe_device(attachment.sysfs, index))


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
