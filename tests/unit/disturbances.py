"""Changes that Docker, systemd, the container's owner or the guest make while vtapd works on a container."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

from supervisor.core.attach.lifetimes import is_due
from supervisor.core.container import Incarnation, Pid
from supervisor.core.links import Address, IfIndex, Interface

from .simulated_host import FOREIGN_DEVICE, FOREIGN_SLOT, SimulatedHost


def end_container(host: SimulatedHost) -> None:
    """Remove its namespaces, cgroup and processes; the symlink and the record stay on the host."""
    host.incarnation, host.guest, host.ready = None, None, False
    host.interfaces, host.taps = {}, {}
    host.clsact, host.filters, host.guards, host.loopback = set(), {}, {}, {"127.0.0.1"}
    host.wake_filters = {}
    host.rules, host.nodes = {FOREIGN_DEVICE}, {FOREIGN_SLOT: FOREIGN_DEVICE}


def restart_container(host: SimulatedHost) -> None:
    before = host.incarnation or Incarnation(Pid(4000), 900)
    end_container(host)
    host.incarnation = Incarnation(Pid(before.pid + 1), before.start_ticks + 50)
    host.interfaces = dict(host.docker)


def end_guest(host: SimulatedHost) -> None:
    host.guest = None
    host.disturbed = host.disturbed or host.ready


def lose_rules(host: SimulatedHost) -> None:
    """Drop all device rules that Docker did not set, as systemctl daemon-reload does."""
    host.rules = {FOREIGN_DEVICE}
    host.disturbed = True


def lose_node(host: SimulatedHost) -> None:
    host.nodes = {FOREIGN_SLOT: FOREIGN_DEVICE}
    host.disturbed = True


def lose_link(host: SimulatedHost) -> None:
    """Remove the symlink of the network namespace, as ip netns del does."""
    host.netns_link = None


def delete_tap(host: SimulatedHost) -> None:
    """Delete one tap, as the container's owner can with ip link del."""
    if host.taps:
        _forget_hooks(host, host.taps.pop(min(host.taps)).index)
        host.disturbed = True


def _forget_hooks(host: SimulatedHost, index: IfIndex) -> None:
    """A link takes its hooks with it."""
    host.clsact.discard(index)
    host.filters.pop(index, None)
    host.guards.pop(index, None)
    host.wake_filters.pop(index, None)


def lose_hooks(host: SimulatedHost) -> None:
    """Remove the hooks of an interface, as tc qdisc del can in the container."""
    for index in sorted(host.clsact)[:1]:
        _forget_hooks(host, index)


def lose_link_address(host: SimulatedHost) -> None:
    for address in host.loopback - {"127.0.0.1"}:
        host.remove_from_loopback(address)


def lose_guest_ways(host: SimulatedHost) -> None:
    """Remove the routes and neighbour entries that lead to the guest."""
    host.interfaces = {name: replace(each, guests=()) for name, each in host.interfaces.items()}


def lose_neighbours_tap(host: SimulatedHost) -> None:
    """Let another container delete its tap: the next tap gets the number, and the old rule stays for a while."""
    used = {tap.device.minor for tap in host.taps.values()} | host.minors_elsewhere
    host.stale_elsewhere.add(next(minor for minor in count(1) if minor not in used))


def connect_network(host: SimulatedHost) -> None:
    """Add an interface behind the others, as docker network connect does."""
    if host.incarnation is None or "eth8" in host.interfaces:
        return
    eth8 = Interface("eth8", IfIndex(88), "02:42:0a:08:00:08", 1500, (Address(4, "10.8.0.8", 24),))
    host.docker["eth8"] = host.interfaces["eth8"] = eth8


def disconnect_network(host: SimulatedHost) -> None:
    """Remove the interface that docker network connect added, and its tap with it."""
    host.docker.pop("eth8", None)
    for gone in (host.interfaces.pop("eth8", None), tap := host.taps.pop("eth8", None)):
        if gone is not None:
            _forget_hooks(host, gone.index)
    if tap is not None:
        host.disturbed = True


def rename_interface(host: SimulatedHost, old: str, new: str) -> None:
    """Rename an interface, as ip link set OLD name NEW does; its tap stays on it."""
    host.docker[new] = replace(host.docker.pop(old), name=new)
    host.interfaces[new] = replace(host.interfaces.pop(old), name=new)
    if old in host.taps:
        host.taps[new] = host.taps.pop(old)


def advertise(host: SimulatedHost) -> None:
    """Receive a router advertisement: addresses with a lifetime are renewed, also where a guest took them over."""
    host.now_s += 100.0
    for name, docker in host.docker.items():
        renewed = tuple(replace(a, valid_until_s=host.now_s + 300.0) for a in docker.addresses if a.valid_until_s)
        host.docker[name] = _with_addresses(docker, renewed)
        if name in host.interfaces:
            host.interfaces[name] = _with_addresses(host.interfaces[name], renewed)


def _with_addresses(interface: Interface, addresses: tuple[Address, ...]) -> Interface:
    others = (address for address in interface.addresses if address not in addresses)
    return replace(interface, addresses=(*others, *addresses))


def end_lifetimes(host: SimulatedHost) -> None:
    host.now_s += 1000.0
    for interfaces in (host.docker, host.interfaces):
        for name, each in interfaces.items():
            addresses = tuple(address for address in each.addresses if is_due(address, host.now_s))
            routes = tuple(route for route in each.routes if is_due(route, host.now_s))
            interfaces[name] = replace(each, addresses=addresses, routes=routes)


DISTURBANCES: Mapping[str, Callable[[SimulatedHost], None]] = {
    each.__name__: each
    for each in (
        end_container,
        restart_container,
        end_guest,
        lose_rules,
        lose_node,
        lose_link,
        delete_tap,
        lose_hooks,
        lose_link_address,
        lose_guest_ways,
        lose_neighbours_tap,
        connect_network,
        disconnect_network,
        advertise,
        end_lifetimes,
    )
}
