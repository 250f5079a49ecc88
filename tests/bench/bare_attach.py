"""`python -m tests.bench.bare_attach DOCKER-SOCKET`: an attach with nothing else, as vtapd's rival.

It receives Docker's start event, inspects the container once, makes the system calls and netlink messages of an attach,
and prints how many seconds after the event's time it was done. It observes nothing, writes no record, handles no
errors and undoes nothing; it attaches only containers with its own label.
"""

import ctypes
import json
import os
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any  # Docker's JSON
from urllib.parse import quote

from supervisor.core.formats import netlink
from supervisor.core.formats.rtnetlink_requests import create_macvlan, raise_link
from supervisor.core.links import IfIndex

CLONE_NEWNET = 0x40000000  # linux/sched.h
FSOPEN, FSCONFIG, FSMOUNT, CREATE = 430, 431, 432, 6  # asm-generic/unistd.h, linux/mount.h
LABEL = "bench=bare"
_Answer = dict[str, dict[str, Any]]
EVENTS = "/events?filters=" + quote(json.dumps({"event": ["start"], "label": [LABEL]}))

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    path = sys.argv[1]
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    events = _get(path, EVENTS)
    lines = events.makefile("rb")
    print("listening", flush=True)
    for line in lines:
        if line.startswith(b"{"):
            event = json.loads(line)
            _attach(path, home, event["id"])
            print((time.time_ns() - event["timeNano"]) / 1e9, flush=True)


def _attach(path: str, home: int, container: str) -> None:
    found = _inspect(path, container)
    pid, mac = found["State"]["Pid"], found["NetworkSettings"]["MacAddress"]
    name = "vtap" + mac.replace(":", "")[6:]
    Path(f"/var/run/netns/{container[:12]}").symlink_to(f"/proc/{pid}/ns/net")
    device = _inside(pid, home, name)
    devices = [line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if ":devices:" in line]
    for line in devices:  # under v1
        Path(f"/sys/fs/cgroup/devices{line.split(':')[2]}/devices.allow").write_text(f"c {device} rwm")
    major, minor = map(int, device.split(":"))
    os.mknod(f"/proc/{pid}/root/dev/tap0", stat.S_IFCHR | 0o600, os.makedev(major, minor))


def _inside(pid: int, home: int, name: str) -> str:
    """Make the macvtap in the container's network, and return its device number as MAJOR:MINOR."""
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    libc.setns(there, CLONE_NEWNET)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE) as route:
            eth0 = IfIndex(socket.if_nametoindex("eth0"))
            requests = (
                create_macvlan("macvtap", name, eth0, 1500),
                raise_link(name, 1500),
            )
            route.send(netlink.pack(requests, 1))
            for _ in requests:
                (answer,) = netlink.unpack(route.recv(65536))
                assert netlink.parse_error(answer[3]) == 0, os.strerror(netlink.parse_error(answer[3]))
            index = socket.if_nametoindex(name)
        context = libc.syscall(FSOPEN, b"sysfs", 0)
        libc.syscall(FSCONFIG, context, CREATE, None, None, 0)
        sysfs = libc.syscall(FSMOUNT, context, 0, 0)
    finally:
        libc.setns(home, CLONE_NEWNET)
    number = os.open(f"class/macvtap/tap{index}/dev", os.O_RDONLY, dir_fd=sysfs)
    text = os.read(number, 64).decode().strip()
    for descriptor in (there, context, sysfs, number):
        os.close(descriptor)
    return text


def _get(path: str, what: str) -> socket.socket:
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(path)
    asking.sendall(f"GET {what} HTTP/1.0\r\n\r\n".encode())
    return asking


def _inspect(path: str, container: str) -> _Answer:
    with _get(path, f"/containers/{container}/json") as asking, asking.makefile("rb") as answer:
        body: _Answer = json.loads(answer.read().partition(b"\r\n\r\n")[2])
    return body


if __name__ == "__main__":
    main()
