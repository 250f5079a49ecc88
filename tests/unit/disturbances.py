"""Changes that Docker, systemd, the container's owner or the guest make while vtapd works on a container."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

from supervisor.core.attach.lifetimes import is_due
from supervisor.core.model import Address, IfIndex, Incarnation, Interface, Pid

from .world import FOREIGN_DEVICE, FOREIGN_SLOT, World


def end_container(world: World) -> None:
    """Remove its namespaces, cgroup and processes; the symlink and the record stay on the host."""
    world.incarnation, world.guest, world.ready = None, None, False
    world.interfaces, world.taps = {}, {}
    world.rules, world.nodes = {FOREIGN_DEVICE}, {FOREIGN_SLOT: FOREIGN_DEVICE}


def restart_container(world: World) -> None:
    before = world.incarnation or Incarnation(Pid(4000), 900)
    end_container(world)
    world.incarnation = Incarnation(Pid(before.pid + 1), before.start_ticks + 50)
    world.interfaces = dict(world.docker)


def end_guest(world: World) -> None:
    world.guest = None
    world.disturbed = world.disturbed or world.ready


def lose_rules(world: World) -> None:
    """Drop all device rules that Docker did not set, as systemctl daemon-reload does."""
    world.rules = {FOREIGN_DEVICE}
    world.disturbed = True


def lose_node(world: World) -> None:
    world.nodes = {FOREIGN_SLOT: FOREIGN_DEVICE}
    world.disturbed = True


def lose_link(world: World) -> None:
    """Remove the symlink of the network namespace, as ip netns del does."""
    world.netns_link = None


def delete_tap(world: World) -> None:
    """Delete one tap, as the container's owner can with ip link del."""
    if world.taps:
        del world.taps[min(world.taps)]
        world.disturbed = True


def lose_neighbours_tap(world: World) -> None:
    """Let another container delete its tap: the next tap gets the number, and the old rule stays for a while."""
    used = {tap.device.minor for tap in world.taps.values()} | world.minors_elsewhere
    world.stale_elsewhere.add(next(minor for minor in count(1) if minor not in used))


def connect_network(world: World) -> None:
    """Add an interface behind the others, as docker network connect does."""
    if world.incarnation is None or "eth8" in world.interfaces:
        return
    eth8 = Interface("eth8", IfIndex(88), "02:42:0a:08:00:08", 1500, (Address(4, "10.8.0.8", 24),))
    world.docker["eth8"] = world.interfaces["eth8"] = eth8


def disconnect_network(world: World) -> None:
    """Remove the interface that docker network connect added, and its tap with it."""
    world.docker.pop("eth8", None)
    world.interfaces.pop("eth8", None)
    if world.taps.pop("eth8", None):
        world.disturbed = True


def rename_interface(world: World, old: str, new: str) -> None:
    """Rename an interface, as ip link set OLD name NEW does; its tap stays on it."""
    world.docker[new] = replace(world.docker.pop(old), name=new)
    world.interfaces[new] = replace(world.interfaces.pop(old), name=new)
    if old in world.taps:
        world.taps[new] = world.taps.pop(old)


def advertise(world: World) -> None:
    """Receive a router advertisement: addresses with a lifetime are renewed, also where a guest took them over."""
    world.now_s += 100.0
    for name, docker in world.docker.items():
        renewed = tuple(replace(a, valid_until_s=world.now_s + 300.0) for a in docker.addresses if a.valid_until_s)
        world.docker[name] = _with_addresses(docker, renewed)
        if name in world.interfaces:
            world.interfaces[name] = _with_addresses(world.interfaces[name], renewed)


def _with_addresses(interface: Interface, addresses: tuple[Address, ...]) -> Interface:
    others = (address for address in interface.addresses if address not in addresses)
    return replace(interface, addresses=(*others, *addresses))


def end_lifetimes(world: World) -> None:
    world.now_s += 1000.0
    for interfaces in (world.docker, world.interfaces):
        for name, each in interfaces.items():
            addresses = tuple(address for address in each.addresses if is_due(address, world.now_s))
            routes = tuple(route for route in each.routes if is_due(route, world.now_s))
            interfaces[name] = replace(each, addresses=addresses, routes=routes)


DISTURBANCES: Mapping[str, Callable[[World], None]] = {
    each.__name__: each
    for each in (
        end_container,
        restart_container,
        end_guest,
        lose_rules,
        lose_node,
        lose_link,
        delete_tap,
        lose_neighbours_tap,
        connect_network,
        disconnect_network,
        advertise,
        end_lifetimes,
    )
}
