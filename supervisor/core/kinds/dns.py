"""Which DNS servers and search domain a guest is told of: those that its container has, as far as it can reach them.

On a network of the user's own Docker puts a server of its own on the container's loopback (127.0.0.11), which no guest
reaches; the servers that this one asks in turn are named in Docker's settings for the container, in a comment of newer
versions' resolv.conf, or are the host's. (man 5 resolv.conf; moby: libnetwork/internal/resolvconf)
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

_UPSTREAM = re.compile(r"#\s*ExtServers:\s*\[(.*)\]")
_UPSTREAM_SERVER = re.compile(r"(?:host\()?([0-9a-fA-F.:]+)\)?")
_DOMAIN = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_MAX_SERVERS = 3  # resolv.h: MAXNS


@dataclass(frozen=True, slots=True)
class Names:
    """How a guest resolves names."""

    servers: tuple[str, ...] = ()
    search: str = ""


@dataclass(frozen=True, slots=True)
class Resolv:
    """What a resolv.conf says, as far as it makes sense."""

    servers: tuple[str, ...]
    upstream: tuple[str, ...]
    """Those that Docker's own server asks, where a comment of Docker's tells."""
    search: str


def parse_resolv(text: str) -> Resolv:
    """From a file that anybody may have written."""
    servers, upstream, search = [], [], ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"]:
            servers += words[1:2]
        elif words[:1] in (["search"], ["domain"]) and len(words) > 1:
            search = words[1] if _DOMAIN.fullmatch(words[1]) else ""
        elif told := _UPSTREAM.match(line):
            upstream += [match[1] for match in map(_UPSTREAM_SERVER.fullmatch, told[1].split()) if match]
    return Resolv(_reachable(servers), _reachable(upstream), search)


def names_of(asked: Names, container: Resolv, hosts: Sequence[Resolv]) -> Names:
    """`asked`: `docker run --dns`; `hosts`: the host's files, the one to be asked first in front."""
    choices = (asked.servers, container.servers, container.upstream, *(host.servers for host in hosts))
    servers = next(filter(None, map(_reachable, choices)), ())
    return Names(servers, asked.search if _DOMAIN.fullmatch(asked.search) else container.search)


def _reachable(servers: Sequence[str]) -> tuple[str, ...]:
    """Addresses that mean the same to a guest: none of a loopback, and none of one link alone."""
    found = []
    for server in servers:
        try:
            address = ipaddress.ip_address(server)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast):
            found.append(str(address))
    return tuple(found[:_MAX_SERVERS])
