"""Where a guest's queries are answered from: its container's files, Docker's settings, the host's resolv.conf."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from supervisor.core.container import Container
from supervisor.core.formats import dns
from supervisor.core.formats.hosts import Hosts, parse_hosts
from supervisor.core.guest.name_lookup import choose_outside
from supervisor.core.kinds.dns import Names, named_servers, names_of, parse_resolv
from supervisor.core.kinds.network import GuestNetwork
from supervisor.edges.kernel import resolv, rootfs

_RESOLV_CONF, _HOSTS = "/etc/resolv.conf", "/etc/hosts"
_SHORT_ID = 12
_FRESH_S = 0.05
"""How old what was read may be: a container that writes its files all the time must not keep the daemon busy."""

S = TypeVar("S")
T = TypeVar("T")


class _Fresh(Generic[S, T]):
    """A value that comes from a source. If it is needed and not fresh, it is read again."""

    def __init__(self, read: Callable[[], S], make: Callable[[S], T]) -> None:
        self._read, self._make = read, make
        self._source: S | None = None
        self._value: T | None = None
        self._read_at_s = float("-inf")

    def get(self) -> T:
        now_s = time.monotonic()
        if self._value is None or now_s - self._read_at_s >= _FRESH_S:
            self._read_at_s = now_s
            source = self._read()
            if self._value is None or source != self._source:
                self._source, self._value = source, self._make(source)
        return self._value


class NameSources:
    """What one container's processes would ask. Nothing of it is kept for longer than a moment."""

    def __init__(
        self,
        root: int,
        describe: Callable[[], Container | None],
        find_network: Callable[[], GuestNetwork | None],
    ) -> None:
        """`root`: the container's root directory, of which this keeps a descriptor of its own until `close`."""
        self._root = os.dup(root)
        self._hosts = _Fresh(lambda: rootfs.read_text(self._root, _HOSTS), parse_hosts)
        self._inside = _Fresh(lambda: rootfs.read_text(self._root, _RESOLV_CONF), named_servers)
        self._outside = _Fresh(self._find_outside, tuple)
        self._describe = describe
        self._find_network = find_network

    def close(self) -> None:
        os.close(self._root)

    def hosts(self) -> Hosts:
        """Return the container's /etc/hosts."""
        return self._hosts.get()

    def inside(self) -> tuple[str, ...]:
        """Return the servers of its /etc/resolv.conf, which only its own namespace may be asked from."""
        return self._inside.get()

    def outside(self) -> tuple[str, ...]:
        """Return the servers that the host may be asked to reach: those that the container cannot have chosen."""
        return self._outside.get()

    def proof(self) -> bytes | None:
        """Return a query to which Docker's server has the answer, for the container's own id; None if it is unknown."""
        container = self._describe()
        return dns.format_query((container.id[:_SHORT_ID].encode(),)) if container else None

    def _find_outside(self) -> tuple[str, ...]:
        container, network = self._describe(), self._find_network()
        asked = names_of(Names(container.dns if container else ()), parse_resolv(""), ()).servers
        hosts = list(_servers_behind(container.resolv_conf if container else "")) if not asked else []
        has_gateway = network is not None and any(nic.gateway4 or nic.gateway6 for nic in network.nics)
        return choose_outside(asked, hosts, has_gateway=has_gateway)


def _servers_behind(written: str) -> Iterator[tuple[str, ...]]:
    """Yield the servers that Docker found for the container, as in its daemon.json, then those of the host.

    `written`: the resolv.conf that Docker wrote. On a user-defined network, a comment in it names them.
    """
    docker = parse_resolv(resolv.read_unchanged(written))
    yield docker.servers
    yield docker.upstream
    for text in resolv.read_resolv_confs():
        yield parse_resolv(text).servers
