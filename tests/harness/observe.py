"""What the kernel shows of a container, found without the daemon and by other means than the daemon's own."""

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # what `ip -json` prints; it does not leave this file

from .netns import inside_of
from .processes import all_pids, command_line, is_alive, run

Device = tuple[int, int]

FOREVER_S = 0xFFFFFFFF  # net/addrconf.h: INFINITY_LIFE_TIME
NETNS_FOLDER = Path("/var/run/netns")


@dataclass(frozen=True)
class Link:
    name: str
    ifindex: int
    mac: str
    mtu: int
    up: bool
    parent: int | None
    macvtap_mode: str | None  # None: not a macvtap


@dataclass(frozen=True)
class Network:
    """All that a takeover changes on an interface and must give back; routes of every table, with the kernel's own."""

    mac: str
    up: bool
    addresses: tuple[str, ...]
    routes: tuple[str, ...]


def _ip(pid: int, *args: str) -> list[dict[str, Any]]:
    printed = inside_of(pid, lambda: run(["ip", "-json", "-details", *args], timeout_s=10)).stdout
    parsed: list[dict[str, Any]] = json.loads(printed or "[]")
    return parsed


def _parent(data: dict[str, Any], indexes: dict[str, int]) -> int | None:
    index = data.get("link_index")
    return int(index) if index is not None else indexes.get(data.get("link", ""))


def links(pid: int) -> dict[str, Link]:
    """By name, in the network namespace of a process."""
    shown = _ip(pid, "link", "show")
    indexes = {data["ifname"]: int(data["ifindex"]) for data in shown}
    found = {}
    for data in shown:
        info = data.get("linkinfo", {})
        mode = info["info_data"]["mode"] if info.get("info_kind") == "macvtap" else None
        name, up = data["ifname"], "UP" in data["flags"]
        found[name] = Link(
            name, int(data["ifindex"]), data["address"], int(data["mtu"]), up, _parent(data, indexes), mode
        )
    return found


def macvtaps(pid: int) -> list[Link]:
    return [link for link in links(pid).values() if link.macvtap_mode]


def network(pid: int, interface: str = "eth0") -> Network:
    (link,) = _ip(pid, "address", "show", "dev", interface)
    addresses = sorted(f"{a['local']}/{a['prefixlen']} {a.get('broadcast')} {a['scope']}" for a in link["addr_info"])
    routes = sorted(
        json.dumps({key: value for key, value in route.items() if key != "flags"}, sort_keys=True)
        for route in _ip(pid, "route", "show", "table", "all", "dev", interface)
    )
    return Network(link["address"], "UP" in link["flags"], tuple(addresses), tuple(routes))


def lifetimes(pid: int, interface: str = "eth0") -> dict[str, int | None]:
    """Seconds that its addresses and IPv6 routes still have; None for what stays."""
    (link,) = _ip(pid, "address", "show", "dev", interface)
    left = {f"{a['local']}/{a['prefixlen']}": int(a["valid_life_time"]) for a in link["addr_info"]}
    routes = {route["dst"]: route.get("expires") for route in _ip(pid, "-6", "route", "show", "dev", interface)}
    return {address: None if s == FOREVER_S else s for address, s in left.items()} | routes


def tap_name(mac: str) -> str:
    """The contract's name of the macvtap for an interface with this MAC: 02:42:ac:11:00:02 → vtap110002."""
    return "vtap" + mac.replace(":", "")[-6:]


def device_of_macvtap(pid: int, link: Link) -> Device:
    """From the sysfs that runc mounted in the container, which shows the container's own network namespace."""
    major, minor = Path(f"/proc/{pid}/root/sys/class/macvtap/tap{link.ifindex}/dev").read_text().split(":")
    return int(major), int(minor)


@dataclass(frozen=True)
class Node:
    device: Device
    mode: int
    owner: int


def node(pid: int, name: str = "tap0") -> Node | None:
    """A character device in the container's /dev; None if there is nothing of that name."""
    try:
        at = Path(f"/proc/{pid}/root/dev/{name}").lstat()
    except FileNotFoundError:
        return None
    assert stat.S_ISCHR(at.st_mode), f"/dev/{name} is no character device: {stat.filemode(at.st_mode)}"
    return Node((os.major(at.st_rdev), os.minor(at.st_rdev)), stat.S_IMODE(at.st_mode), at.st_uid)


def cgroup_lines(pid: int) -> list[str]:
    return sorted(Path(f"/proc/{pid}/cgroup").read_text().splitlines())


def device_rules(pid: int) -> list[str] | None:
    """The rules of the container's device cgroup; None under cgroup v2, which has a program instead of a list."""
    for line in cgroup_lines(pid):
        _, controllers, path = line.split(":", 2)
        if "devices" in controllers.split(",") and path != "/":
            return Path(f"/sys/fs/cgroup/devices{path}/devices.list").read_text().splitlines()
    return None


def netns_links() -> dict[str, str]:
    """The symlinks under /var/run/netns; `ip netns add` makes files there, not symlinks."""
    if not NETNS_FOLDER.is_dir():
        return {}
    return {path.name: str(path.readlink()) for path in NETNS_FOLDER.iterdir() if path.is_symlink()}


def qemus() -> dict[int, str]:
    """The running QEMUs of any vtapd: pid and container id, as on their command lines (`-name vtapd-<id>`)."""
    found = {}
    for pid in all_pids():
        words = command_line(pid)
        if not words or "qemu" not in words[0]:
            continue
        match = re.search(r"(?:^|\0)vtapd-([0-9a-f]{12,64})", "\0".join(words))
        if match and is_alive(pid):
            found[pid] = match[1]
    return found


def qemus_of(container_id: str) -> list[int]:
    return [pid for pid, owner in qemus().items() if container_id.startswith(owner)]
