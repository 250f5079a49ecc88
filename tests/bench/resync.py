"""The processor time of one resync of twenty containers, compared with an operator who checks the same things."""

import subprocess
import time
from itertools import cycle, islice

from tests.harness.containers import Container
from tests.harness.daemon import Daemon, Tables
from tests.harness.machine import Machine
from tests.harness.observe import cgroup_lines

from .accounting import children_cpu_s, cpu_s
from .environment import await_attached, running_daemon
from .figures import Figure
from .many_containers import SIZE, many_containers

OFTEN: Tables = {"attach": {"resync": "2s"}}
POLL_S, STILL_S, DEADLINE_S = 0.02, 0.5, 10.0
AT_A_TIME = 3

# What a resync checks: Docker's state, links and addresses, the device rule, the node, the symlink.
LOOK_BY_HAND = """set -e
docker inspect "$1"
ip netns exec "$2" ip -details address
[ -z "$3" ] || cat "$3/devices.list"
stat "/proc/$4/root/dev/tap0" "/var/run/netns/$2"
"""


def measure_resync(machine: Machine, repetitions: int) -> list[Figure]:
    ours, theirs = [], []
    with many_containers(machine) as containers, running_daemon(machine, OFTEN) as daemon:
        await_attached(daemon, SIZE)
        one_resync_s(daemon)  # the one at the start is different
        for number in range(repetitions):
            ours.append(one_resync_s(daemon) / SIZE)
            looked_at = list(islice(cycle(containers), number * AT_A_TIME, (number + 1) * AT_A_TIME))
            theirs.append(sum(map(_look_by_hand_s, looked_at)) / AT_A_TIME)
    figure = Figure(
        name="resync",
        what=f"resync of {SIZE} attached containers: processor time for each",
        rival="the same look by hand: docker inspect, ip netns exec ip address, cat, stat",
        unit="s",
        ours=ours,
        theirs=theirs,
        direction="times faster",
        source="the daemon's own processor clock around a resync, that of the commands' processes for the rival",
        details={"by_hand": LOOK_BY_HAND, "whole_resync_s": [value * SIZE for value in ours]},
        holds_under_load=True,
    )
    return [figure]


def one_resync_s(daemon: Daemon) -> float:
    """Return the processor time of the next resync: the growth of the clock from one standstill to the next."""
    first = last = cpu_s([daemon.pid])
    still_since_s = time.monotonic()
    until_s = still_since_s + DEADLINE_S
    while last == first or time.monotonic() - still_since_s < STILL_S:
        assert time.monotonic() < until_s, "no resync has ended"
        time.sleep(POLL_S)
        now = cpu_s([daemon.pid])
        if now != last:
            last, still_since_s = now, time.monotonic()
    return last - first


def _look_by_hand_s(container: Container) -> float:
    devices = next((line.split(":")[2] for line in cgroup_lines(container.pid) if ":devices:" in line), "")
    folder = f"/sys/fs/cgroup/devices{devices}" if devices else ""
    argv = ["sh", "-c", LOOK_BY_HAND, "sh", container.id, container.id12, folder, str(container.pid)]
    before_s = children_cpu_s()
    env = container.machine.dockerd.client_env()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return children_cpu_s() - before_s
