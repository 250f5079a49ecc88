"""Decide how a guest's DNS query is answered: from its container's /etc/hosts, or by which answer of which server.

A guest is to hear what its container's own processes would have heard before the guest had their address. They read
/etc/hosts first and then ask the servers of /etc/resolv.conf. Servers that are `inside` are asked from the container's
network namespace, such as Docker's on 127.0.0.11. Since the guest has the container's addresses, that namespace has no
way to servers elsewhere, and nor has Docker's server, which passes on from there what it does not know itself. Those
servers are `outside`: they are asked from the host's namespace. The container cannot choose them: they are what
`docker run --dns`, Docker's own configuration or the host's says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from supervisor.core.formats import dns
from supervisor.core.formats.hosts import Hosts


class QueryResult(Enum):
    """What became of a query."""

    ANSWERED = "answered"
    """A server answered it."""
    HOSTS = "hosts"
    """It was answered from /etc/hosts."""
    FAILED = "failed"
    """No server answered it, or none could."""
    DROPPED = "dropped"
    """Too many were being asked at the time."""
    MALFORMED = "malformed"
    """It was no query."""


_FAILURES = (dns.SERVFAIL, dns.REFUSED)


def is_definite(answer: bytes | None) -> bool:
    """Return whether no other server needs to be asked."""
    return answer is not None and dns.rcode_of(answer) not in _FAILURES


def answer_from_hosts(query: dns.Query, hosts: Hosts) -> bytes | None:
    """Return the answer that /etc/hosts has; None if a server is to be asked.

    A name that has only addresses of the other version of IP is known: it has no address of this version.
    """
    if not query.is_internet:
        return None
    if query.type == dns.PTR:
        name = hosts.names.get(dns.address_of(query.name) or b"")
        return dns.answer_name(query, name) if name else None
    addresses = hosts.addresses.get(query.name) if query.type in (dns.A, dns.AAAA) else None
    return None if addresses is None else dns.answer_addresses(query, addresses)


@dataclass(slots=True)
class Bucket:
    """How many events are let through: `burst` at once, and `per_s` in the long run."""

    per_s: float
    burst: float
    _level: float = 0.0
    """How many of the burst are used up."""
    _at_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """Let one event through at this time, and return how long to wait before the next; 0 if not at all."""
        self._level = max(0.0, self._level - (now_s - self._at_s) * self.per_s) + 1
        self._at_s = now_s
        return max(0.0, (self._level - self.burst) / self.per_s)


class Places:
    """How many queries may be asked at the same time, of all guests together."""

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self) -> bool:
        """Take a place. Returns False if none is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        self._free += 1


def choose_outside(asked: Sequence[str], hosts: Sequence[Sequence[str]], *, has_gateway: bool) -> tuple[str, ...]:
    """Return the servers to ask from the host's namespace; none for a guest whose network leads nowhere.

    `asked`: `docker run --dns`. `hosts`: Docker's and the host's, the preferred first. A container can reach them all.
    """
    if not has_gateway:
        return ()
    return tuple(next(filter(None, (asked, *hosts)), ()))
