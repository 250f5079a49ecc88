"""Recognise requests by which a web site would read the status page through its visitor's browser (DNS rebinding).

Such a site gives its own name the address 127.0.0.1. The browser then takes the page for the site's own, but it sends
the site's name as `Host`. So an address is right, and a name only if it is the machine's.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address

LOCALHOST = "localhost"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]+)(?::[0-9]*)?")
"""A name or an address, an IPv6 one in brackets, and perhaps a port (RFC 9110, 7.2)."""


def is_own_host(header: str, names: Collection[str]) -> bool:
    """Return whether a `Host` header has an address, `localhost` or one of these names, with or without a port."""
    match = _HOST.fullmatch(header.strip().lower())
    if match is None:
        return False
    host = match[1].strip("[]")
    return host == LOCALHOST or host in {name.lower() for name in names} or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
