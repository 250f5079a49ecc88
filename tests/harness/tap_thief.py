"""A process that opens one device again and again, keeps what it gets, and reads from all of it.

    python -m tests.harness.tap_thief NODE

It stands for a process of the container whose cgroup it is moved into. It begins at the first line on its standard
input; at the end of that it prints what it got, as JSON.
"""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

from .containers import Container
from .device_cgroup import device_cgroup, make_node
from .machine import REPOSITORY
from .observe import Device

TUNGETIFF = 0x800454D2  # linux/if_tun.h
IFREQ = struct.Struct("16sH22x")
KEPT_OF_EACH = 8
PAUSE_S = 0.0003
NODE = "/tmp/mine"
ENDS_S = 20.0


@dataclass(frozen=True)
class Loot:
    """By the name of the tap that each descriptor was of when it was opened."""

    opened: dict[str, int]
    frames: dict[str, int]
    alive: tuple[str, ...]
    """Those of which a descriptor still works."""


class Thief:
    """In the cgroup of a container, at a node of its own for a device. `end` or `kill` it."""

    def __init__(self, container: Container, device: Device) -> None:
        """Return when it has opened the device once."""
        node = make_node(container, NODE, device)
        argv = [sys.executable, "-m", "tests.harness.tap_thief", node]
        self._process = subprocess.Popen(
            argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            (device_cgroup(container.pid) / "cgroup.procs").write_text(str(self._process.pid))
            self._process.stdin.write("begin\n")
            assert self._process.stdout.readline() == "opened\n"
        except BaseException:
            self.kill()
            raise

    def end(self) -> Loot:
        """Once: what it got, while its container still runs."""
        printed, _ = self._process.communicate(timeout=ENDS_S)
        loot = json.loads(printed)
        return Loot(loot["opened"], loot["frames"], tuple(loot["alive"]))

    def kill(self) -> None:
        """Nothing when it has ended."""
        with self._process:
            self._process.kill()


def name_of(tap: int) -> str | None:
    """The name of the tap that a descriptor leads to; None where that is gone."""
    try:
        name: bytes = IFREQ.unpack(fcntl.ioctl(tap, TUNGETIFF, IFREQ.pack(b"", 0)))[0]
    except OSError:
        return None
    return name.rstrip(b"\0").decode()


def main() -> None:
    node = sys.argv[1]
    sys.stdin.readline()
    opened: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    kept: list[tuple[int, str]] = []
    while not select.select([sys.stdin], [], [], 0)[0]:
        if (tap := try_to_open(node)) is not None:
            name = name_of(tap)
            if not opened:
                print("opened", flush=True)
            if name is None or opened[name] >= KEPT_OF_EACH:
                os.close(tap)
            else:
                kept.append((tap, name))
            opened[name or ""] += 1
        for tap, name in kept:
            frames[name] += can_read(tap)
        time.sleep(PAUSE_S)
    alive = [name for tap, name in kept if name_of(tap) is not None]
    print(json.dumps({"opened": opened, "frames": +frames, "alive": alive}))


def try_to_open(node: str) -> int | None:
    try:
        return os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None


def can_read(tap: int) -> bool:
    try:
        return bool(os.read(tap, 65600))
    except OSError:
        return False


if __name__ == "__main__":
    main()
