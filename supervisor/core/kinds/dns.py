"""Choose the DNS servers and the search domain of a guest: those of its container, if the guest can reach them.

On a user-defined network, Docker runs a DNS server on the container's loopback address 127.0.0.11, which no guest can
reach. That server forwards queries to others: those in Docker's settings for the container, those in a comment that
newer versions write into resolv.conf, or the host's. (man 5 resolv.conf; moby: libnetwork/internal/resolvconf)
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
    """The resolver configuration of a guest."""

    servers: tuple[str, ...] = ()
    search: str = ""


@dataclass(frozen=True, slots=True)
class Resolv:
    """The valid parts of a resolv.conf."""

    servers: tuple[str, ...]
    upstream: tuple[str, ...]
    """The servers that Docker's server forwards to, from Docker's comment."""
    search: str


def parse_resolv(text: str) -> Resolv:
    """Parse a resolv.conf. Its content is not trusted: the container may have written it."""
    servers, upstream, search = [], [], ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"]:
            servers += words[1:2]
        elif words[:1] in (["search"], ["domain"]) and len(words) > 1:
            search = words[1] if _DOMAIN.fullmatch(words[1]) else ""
        elif comment := _UPSTREAM.match(line):
            upstream += [match[1] for match in map(_UPSTREAM_SERVER.fullmatch, comment[1].split()) if match]
    return Resolv(_reachable(servers), _reachable(upstream), search)


def named_servers(text: str) -> tuple[str, ...]:
    """Return all servers that a resolv.conf names, those on loopback addresses too: what a process there asks."""
    lines = (line.split() for line in text.splitlines())
    found = (_address(words[1]) for words in lines if words[:1] == ["nameserver"] and len(words) > 1)
    return tuple(str(address) for address in found if address is not None and not address.is_unspecified)[:_MAX_SERVERS]


def names_of(asked: Names, container: Resolv, hosts: Sequence[Resolv]) -> Names:
    """Return the guest's servers and domain. `asked`: `docker run --dns`. `hosts`: the host's, the preferred first."""
    choices = (asked.servers, container.servers, container.upstream, *(host.servers for host in hosts))
    servers = next(filter(None, map(_reachable, choices)), ())
    return Names(servers, asked.search if _DOMAIN.fullmatch(asked.search) else container.search)


def _reachable(servers: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses that a guest can reach as well: no loopback and no link-local addresses."""
    found = []
    for address in map(_address, servers):
        if address is None or address.is_loopback or address.is_unspecified:
            continue
        if not (address.is_link_local or address.is_multicast):
            found.append(str(address))
    return tuple(found[:_MAX_SERVERS])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
