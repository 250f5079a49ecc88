"""Parsers of label values: text in, value out. Each raises ValueError with a text that says what is allowed.

Labels come from the author of the image, so these parsers never guess.
"""

import ipaddress
import re
from collections.abc import Callable

from supervisor.core.guest.spec import AddressPlan, RestartPolicy
from supervisor.core.links import Address

_MAX_TEXT = 4096
_RESTART = re.compile(r"(no|always|unless-stopped|on-failure)(?::(\d{1,6}))?")
_OWN_ADDRESS = re.compile(r"(?P<own>[0-9.]{7,15}/[0-9]{1,2})(?:,(?P<gateway>[0-9.]{7,15}))?")
_DISK_FORM = "/path[:ro][,mount=/where][,format=raw|qcow2]"
_SHARE_FORM = "/path[:ro][,tag=NAME][,mount=/where][,by=virtiofs|9p]"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")
"""9p has 31 bytes for it (QEMU: MAX_TAG_LEN), virtiofs 36."""
PROTOCOLS = ("virtiofs", "9p")
_MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

DiskFile = tuple[str, bool, str | None, str]
"""Path, read-only, mount point and format: what `vtapd.disk.N` says of a disk."""

Folder = tuple[str, bool, str | None, str | None, str | None]
"""Path, read-only, tag, mount point and protocol: what `vtapd.share.N` says of a folder."""


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return parse


def parse_flag(text: str) -> bool:
    """Parse `true` or `false`."""
    return one_of("true", "false")(text) == "true"


def parse_snapshot(text: str) -> tuple[bool, bool]:
    """Parse `off`, `ready` or `ready,standby`. Return whether a snapshot is taken, and whether a QEMU waits for it."""
    one_of("off", "ready", "ready,standby")(text)
    return text != "off", text == "ready,standby"


def parse_path(text: str) -> str:
    """Parse an absolute path, which may not be the root."""
    if not text.startswith("/") or text == "/" or not _is_printable(text):
        raise ValueError("an absolute path in the container's file system")
    return text


def parse_text(text: str) -> str:
    """Accept printable text up to a limit."""
    if not _is_printable(text):
        raise ValueError(f"up to {_MAX_TEXT} printable characters")
    return text


def parse_count(text: str) -> int:
    """Parse a whole number of at most four digits."""
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise ValueError("a whole number")
    return int(text)


def parse_names(text: str) -> bool | tuple[str, ...]:
    """Parse `true`, `false`, or names with commas between them. Names are checked later, against the container."""
    return text == "true" if text in ("true", "false") else tuple(text.split(","))


def parse_disk(text: str) -> DiskFile:
    """Parse the file of a disk and its options."""
    file, options = _split_options(text, {"mount", "format"}, _DISK_FORM)
    path = file.removesuffix(":ro")
    mount, disk_format = options.get("mount"), options.get("format", "raw")
    if disk_format not in ("raw", "qcow2"):
        raise ValueError(_DISK_FORM)
    return parse_path(path), path != file, None if mount is None else parse_path(mount), disk_format


def parse_share(text: str) -> Folder:
    """Parse the folder of a share and its options. The folder may be the root."""
    folder, options = _split_options(text, {"tag", "mount", "by"}, _SHARE_FORM)
    path = folder.removesuffix(":ro")
    tag, mount, by = options.get("tag"), options.get("mount"), options.get("by")
    if tag is not None and not _TAG.fullmatch(tag):
        raise ValueError("a tag of up to 31 letters, digits and _.-, that begins with a letter or a digit")
    if by not in (None, *PROTOCOLS):
        raise ValueError(_SHARE_FORM)
    where = None if mount is None else _parse_folder(mount)
    return _parse_folder(path), path != folder, tag, where, by


def _parse_folder(text: str) -> str:
    return text if text == "/" else parse_path(text)


def _split_options(text: str, known: set[str], form: str) -> tuple[str, dict[str, str]]:
    """Return what comes before the first comma, and the options after it, each once."""
    file, *words = text.split(",")
    options = dict(word.partition("=")[::2] for word in words)
    if len(options) < len(words) or not options.keys() <= known:
        raise ValueError(form)
    return file, options


def parse_restart(text: str) -> RestartPolicy:
    """Parse Docker's words for restart policies."""
    match = _RESTART.fullmatch(text)
    if not match or (match[2] and match[1] != "on-failure"):
        raise ValueError("no, on-failure, on-failure:N, always or unless-stopped")
    return RestartPolicy(match[1], int(match[2] or 0) or None)  # on-failure:0 is no limit, as in Docker


def parse_address(text: str) -> AddressPlan:
    """Parse `takeover`, `dhcp`, `none`, or an IPv4 address with its prefix and perhaps a gateway."""
    if text in ("takeover", "dhcp", "none"):
        return AddressPlan(text)
    match = _OWN_ADDRESS.fullmatch(text)
    interface = _usable(match["own"]) if match else None
    gateway = match["gateway"] if match else None
    if interface is None or (gateway and not _is_gateway(gateway, interface)):
        raise ValueError(
            "takeover, dhcp, none, or A.B.C.D/P, with a gateway on that link behind a comma if there is one"
        )
    broadcast = str(interface.network.broadcast_address)
    return AddressPlan("static", Address(4, str(interface.ip), interface.network.prefixlen, broadcast), gateway)


def parse_machine(text: str) -> str:
    """Accept what can be the name of a machine type; QEMU itself decides whether it has that machine."""
    if not _MACHINE.fullmatch(text):
        raise ValueError("one of QEMU's machine types, such as pc or q35")
    return text


def _is_printable(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) <= _MAX_TEXT and text.isprintable()


def _usable(text: str) -> ipaddress.IPv4Interface | None:
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        return None
    ip = interface.ip
    return None if ip.is_multicast or ip.is_loopback or ip.is_unspecified else interface


def _is_gateway(text: str, interface: ipaddress.IPv4Interface) -> bool:
    try:
        gateway = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return gateway in interface.network and gateway != interface.ip
