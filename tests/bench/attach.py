"""Attach of one container, from Docker's start event: against an operator's commands, and bare system calls."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.harness.containers import Container, Containers
from tests.harness.machine import REPOSITORY, Machine
from tests.harness.observe import NETNS_FOLDER, cgroup_lines, node
from tests.harness.waiting import eventually

from . import bare_attach
from .accounting import children_cpu_s, cpu_s
from .environment import await_line, number_in, running_daemon
from .figures import Figure, Limit

# As short as an operator can write it: Docker is asked once, and no shell forks if it need not. $3 is empty without
# cgroup v1, since no command could open the device then.
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
WHAT = "attach of one container, from Docker's start event to the last step"
LEFT_ALONE = {"vtapd.enable": "false"}
QUIET_S = 0.3  # Docker and the kernel still work after a start or a removal, and that is no part of an attach
WARM_UP = 2


def measure_attach(machine: Machine, repetitions: int) -> list[Figure]:
    ours, theirs, bare, ends, our_cpu, their_cpu = [], [], [], [], [], []
    containers = Containers(machine)
    with running_daemon(machine, {}) as daemon, _bare_attacher(machine) as attacher:
        for number in range(WARM_UP + repetitions):
            time.sleep(QUIET_S)
            began_s, before_s = time.time(), cpu_s([daemon.pid])
            container = containers.run()
            attached_s = number_in(await_line(daemon, "container_attached", container.name), "after_s")
            seen_s = _node_made_s(container) - _started_s(machine, container, began_s)
            time.sleep(QUIET_S)
            used_s = cpu_s([daemon.pid]) - before_s
            with _stopped(daemon.pid):
                bare_s = _attach_bare(containers, attacher)
            time.sleep(QUIET_S)
            by_hand_s, by_hand_cpu_s = _attach_by_hand(containers.run(labels=LEFT_ALONE))
            if number >= WARM_UP:
                ours.append(attached_s)
                ends.append(seen_s)
                theirs.append(by_hand_s)
                bare.append(bare_s)
                our_cpu.append(used_s)
                their_cpu.append(by_hand_cpu_s)
            containers.remove_all()
    source = "after_s of the log line container_attached: the clock at the last step, less timeNano of the event"
    return [
        Figure(
            name="attach",
            what=WHAT,
            rival="the same steps by hand: docker inspect, ln, ip netns exec ip link, echo, docker exec mknod",
            unit="s",
            ours=ours,
            theirs=theirs,
            direction="times faster",
            limit=Limit(30, "at least"),
            source=source,
            details={
                "by_hand": BY_HAND,
                "seen_from_outside_s": ends,
                "seen_from_outside": "ctime of the container's /dev/tap0, a clock of 4 ms at worst, less timeNano",
            },
        ),
        Figure(
            name="attach-bare",
            what="the same",
            rival="a Python program that asks Docker and makes the bare system calls and netlink messages",
            unit="s",
            ours=ours,
            theirs=bare,
            direction="times the rival",
            limit=Limit(3, "below"),
            source=source,
        ),
        Figure(
            name="attach-processor",
            what="the same: processor time, with the second look",
            rival="by hand: the commands' own processor time, without Docker's",
            unit="s",
            ours=our_cpu,
            theirs=their_cpu,
            direction="times faster",
            source="the daemon's own processor clock, from before docker start until it is quiet",
            holds_under_load=True,
        ),
    ]


@contextmanager
def _bare_attacher(machine: Machine) -> Iterator[IO[str]]:
    """Run the process that attaches containers on which vtapd is not enabled; it prints a line for each."""
    argv = [sys.executable, "-m", "tests.bench.bare_attach", str(machine.dockerd.socket)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield process.stdout
        finally:
            process.terminate()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Stop the daemon during the context: it would work on containers that the rival attaches."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _attach_bare(containers: Containers, attacher: IO[str]) -> float:
    container = containers.run("--label", bare_attach.LABEL, labels=LEFT_ALONE)
    took_s = float(attacher.readline())
    link = NETNS_FOLDER / container.id12
    assert link.is_symlink(), "the rival made no symlink"
    link.unlink()
    assert node(container.pid) is not None, "the rival made no device"
    return took_s


def _attach_by_hand(container: Container) -> tuple[float, float]:
    """Return how long it took, and how much processor time."""
    (devices,) = [line.split(":")[2] for line in cgroup_lines(container.pid) if ":devices:" in line] or [""]
    link = NETNS_FOLDER / container.id12
    folder = f"/sys/fs/cgroup/devices{devices}" if devices else ""
    time.sleep(QUIET_S)
    env = container.machine.dockerd.client_env()
    began_s, before_s = time.perf_counter(), children_cpu_s()
    done = subprocess.run(
        ["sh", "-c", BY_HAND, "sh", container.id, container.id12, folder],
        env=env, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    took_s, used_s = time.perf_counter() - began_s, children_cpu_s() - before_s
    link.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    assert Path(f"/proc/{container.pid}/root/dev/tap0").is_char_device(), "the commands made no device"
    return took_s, used_s


def _node_made_s(container: Container) -> float:
    """Return when /dev/tap0 was made, in seconds since the epoch, without asking the daemon."""
    made = eventually(lambda: os.lstat(f"/proc/{container.pid}/root/dev/tap0"), "/dev/tap0 is there")
    return made.st_ctime_ns / 1e9


def _started_s(machine: Machine, container: Container, since_s: float) -> float:
    filters = ["--filter", f"container={container.id}", "--filter", "event=start"]
    window = ["--since", f"{since_s:.6f}", "--until", f"{time.time():.6f}"]
    return int(machine.docker("events", *window, *filters, "--format", "{{.TimeNano}}").split()[0]) / 1e9
