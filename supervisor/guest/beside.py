"""Asks a guest from a link beside its own: for networks that the host has no way into (macvlan, some overlays)."""

from contextlib import ExitStack

from supervisor.core.formats.frames import Target
from supervisor.core.guest.health_spec import Question
from supervisor.core.model import Link, Pid, Whereabouts
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import netns
from supervisor.edges.kernel.links import SIBLING, Links
from supervisor.edges.probes import macvlan
from supervisor.errors import Step, Transient


async def answers_beside(init: Pid, where: Whereabouts, question: Question, timeout_s: float) -> bool:
    """Whether the guest in this container answers; one that has no IPv4 address cannot in this way.

    A guest without a gateway, in whose name it could be asked for a connection, is asked whether it has its address.
    Raises Transient where that cannot be found out.
    """
    if ":" in where.ip:
        return False
    target = Target(where.mac, where.ip)
    handles = netns.open_netns(init)
    links = Links(handles.netlink, handles.spare)
    with ExitStack() as owned:
        owned.callback(links.close)
        owned.callback(handles.close_sysfs)
        packets = netns.call_inside(init, macvlan.open_packets)
        owned.enter_context(packets)
        owned.callback(links.delete_sibling)
        link = _create(links, where.interface)
        if question.port is None or where.gateway is None:
            return await macvlan.has_address(packets, SIBLING, link.mac, target, timeout_s)
        return await macvlan.accepts_tcp(packets, SIBLING, link.mac, target, question.port, where.gateway, timeout_s)


def _create(links: Links, interface: str) -> Link:
    interfaces, _ = links.observe(with_routes=False, owners={}, now_s=boottime_s())
    parent = next((each for each in interfaces if each.name == interface), None)
    if parent is None:
        raise Transient(f"interface {interface} is gone", step=Step.HEALTH)
    return links.create_sibling(parent)
