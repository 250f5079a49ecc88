"""Attach of one container, from Docker's start event to the last step, against an operator's own commands."""

import os
import subprocess
import time
from pathlib import Path

from tests.integration.containers import Container, Containers
from tests.integration.machine import Machine
from tests.integration.observe import NETNS_FOLDER, cgroup_lines
from tests.integration.waiting import eventually

from .figures import Figure, Limit
from .stage import await_line, number_in, running_daemon

# As short as an operator can have it: Docker is asked once, and no shell forks where it need not. $3 is empty where
# there is no cgroup v1, since no command could open the device then.
BY_HAND = """set -e
id=$1 name=$2 devices=$3
found=$(docker inspect -f '{{.State.Pid}} {{.NetworkSettings.MacAddress}}' "$id")
pid=${found% *}; IFS=:; set -- ${found#* }; unset IFS; tap=vtap$4$5$6
ln -s "/proc/$pid/ns/net" "/var/run/netns/$name"
ip netns exec "$name" ip link add "$tap" link eth0 type macvtap mode bridge
ip netns exec "$name" ip link set "$tap" up
number=$(ip netns exec "$name" sh -c "cat /sys/class/net/$tap/macvtap/tap*/dev")
[ -z "$devices" ] || echo "c $number rwm" > "$devices/devices.allow"
docker exec "$id" mknod -m 600 /dev/tap0 c "${number%:*}" "${number#*:}"
"""
QUIET_S = 0.3  # what Docker still does after a start is nobody's attach
WARM_UP = 2


def measure_attach(machine: Machine, repetitions: int) -> Figure:
    ours, theirs, ends = [], [], []
    containers = Containers(machine)
    with running_daemon(machine, {}) as daemon:
        for number in range(WARM_UP + repetitions):
            began_s = time.time()
            container = containers.run()
            attached_s = number_in(await_line(daemon, "container_attached", container.name), "after_s")
            seen_s = _node_made_s(container) - _started_s(machine, container, began_s)
            time.sleep(QUIET_S)
            by_hand_s = _attach_by_hand(containers.run(labels={"vtapd.enable": "false"}))
            if number >= WARM_UP:
                ours.append(attached_s)
                ends.append(seen_s)
                theirs.append(by_hand_s)
            containers.remove_all()
    return Figure(
        name="attach",
        what="attach of one container, from Docker's start event to the last step",
        rival="the same steps by hand: docker inspect, ln, ip netns exec ip link, echo, docker exec mknod",
        unit="s",
        ours=ours,
        theirs=theirs,
        direction="times faster",
        limit=Limit(10, "at least"),
        source="after_s of the log line container_attached: the clock at the last step, less timeNano of the event",
        details={
            "by_hand": BY_HAND,
            "aim": 30,
            "seen_from_outside_s": ends,
            "seen_from_outside": "ctime of the container's /dev/tap0, a clock of 4 ms at worst, less timeNano",
        },
    )


def _attach_by_hand(container: Container) -> float:
    (devices,) = [line.split(":")[2] for line in cgroup_lines(container.pid) if ":devices:" in line] or [""]
    link = NETNS_FOLDER / container.id12
    folder = f"/sys/fs/cgroup/devices{devices}" if devices else ""
    time.sleep(QUIET_S)
    env = container.machine.dockerd.client_env()
    began_s = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", BY_HAND, "sh", container.id, container.id12, folder],
        env=env, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    took_s = time.perf_counter() - began_s
    link.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    assert Path(f"/proc/{container.pid}/root/dev/tap0").is_char_device(), "all by hand, and no device"
    return took_s


def _node_made_s(container: Container) -> float:
    """When /dev/tap0 got its name; in seconds since the epoch, without asking the daemon."""
    made = eventually(lambda: os.lstat(f"/proc/{container.pid}/root/dev/tap0"), "/dev/tap0 is there")
    return made.st_ctime_ns / 1e9


def _started_s(machine: Machine, container: Container, since_s: float) -> float:
    filters = ["--filter", f"container={container.id}", "--filter", "event=start"]
    window = ["--since", f"{since_s:.6f}", "--until", f"{time.time():.6f}"]
    return int(machine.docker("events", *window, *filters, "--format", "{{.TimeNano}}").split()[0]) / 1e9
