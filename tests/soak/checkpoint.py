"""Compares the expected state with Docker, the kernel, the guests, and what the daemon shows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.harness.footprint import OWN_FILES
from tests.harness.observe import (
    device_of_macvtap,
    device_rules,
    macvtaps,
    netns_links,
    network,
    node,
    qemus,
)
from tests.harness.processes import children_of, command_line
from tests.harness.waiting import NOT_YET

from .model import ExpectedContainer, Model
from .testbed import Testbed

SERVES = ("running", "ready")


@dataclass(frozen=True)
class DockerState:
    """The state of a container in Docker."""

    name: str
    running: bool
    paused: bool
    pid: int
    addresses: dict[str, str]
    """By network."""


def problems(testbed: Testbed, model: Model) -> list[str]:
    """Return everything that differs from the model; while operations are under way, that may be much."""
    try:
        return [*_of_containers(testbed, model), *_of_machine(testbed, model)]
    except NOT_YET as error:
        return [f"{type(error).__name__}: {error}"]


def _shown(testbed: Testbed, expected: ExpectedContainer) -> DockerState:
    data = json.loads(testbed.machine.docker("inspect", testbed.containers[expected.number].id))[0]
    state, networks = data["State"], data["NetworkSettings"]["Networks"]
    addresses = {name: net["IPAddress"] for name, net in networks.items()}
    return DockerState(data["Name"].removeprefix("/"), state["Running"], state["Paused"], state["Pid"], addresses)


def _of_containers(testbed: Testbed, model: Model) -> Iterator[str]:
    listed = {row.id: row for row in testbed.daemon.ps()}
    by_container: dict[str, list[int]] = {}
    for pid, owner in qemus().items():
        by_container.setdefault(owner[:12], []).append(pid)
    for expected in model.containers:
        container, shown = testbed.containers[expected.number], _shown(testbed, expected)
        found = [
            *_of_docker(expected, shown),
            *_of_guest(testbed, expected, shown, by_container.get(container.id12, [])),
        ]
        if expected.running and shown.running:
            found += _of_kernel(expected, shown, netns_links().get(container.id12))
        row = listed.get(container.id)
        if expected.running and (
            row is None or (row.name, row.state) not in [(expected.name, s) for s in _states(expected)]
        ):
            found.append(f"vtapd ps shows {row}, not {_states(expected)}")
        if not expected.running and row is not None:
            found.append(f"vtapd ps still lists it: {row}")
        yield from (f"{expected}: {problem}" for problem in found)


def _of_docker(expected: ExpectedContainer, shown: DockerState) -> Iterator[str]:
    if (shown.running, shown.paused, shown.name) != (expected.running, expected.paused, expected.name):
        yield f"Docker shows {shown}"


def _states(expected: ExpectedContainer) -> tuple[str, ...]:
    if expected.detached:
        return ("detached",)
    if not expected.guest:
        return ("paused",) if expected.paused else ("attached",)
    if expected.done:
        return ("exited", "failed")
    return ("paused",) if expected.paused else SERVES


def _of_guest(testbed: Testbed, expected: ExpectedContainer, shown: DockerState, pids: list[int]) -> Iterator[str]:
    if expected.has_guest and expected.paused:
        if len(pids) > 1:
            yield f"more than one QEMU: {pids}"
    elif expected.has_guest:
        if len(pids) != 1:
            yield f"not exactly one QEMU: {pids}"
        try:
            status = testbed.machine.http(f"http://{shown.addresses['bridge']}/", 1.0).status
        except OSError as error:
            yield f"does not serve: {error}"
        else:
            if status != 200:
                yield f"answers with {status}"
    elif pids:
        yield f"unexpected QEMU: {pids}"


def _of_kernel(expected: ExpectedContainer, shown: DockerState, symlink: str | None) -> Iterator[str]:
    if symlink != (f"/proc/{shown.pid}/ns/net" if expected.attached else None):
        yield f"symlink leads to {symlink}"
    links = macvtaps(shown.pid)
    if len(links) != expected.taps:
        yield f"macvtaps {[link.name for link in links]}"
    devices = {device_of_macvtap(shown.pid, link) for link in links}
    nodes = {found.device for number in range(3) if (found := node(shown.pid, f"tap{number}"))}
    if nodes != devices:
        yield f"nodes {nodes} for devices {devices}"
    rules = device_rules(shown.pid)
    if rules is not None:  # cgroup v1, which lists its rules
        ours = {rule for rule in rules if rule.startswith(f"c {_macvtap_major()}:")}
        if ours != {f"c {major}:{minor} rwm" for major, minor in devices}:
            yield f"device rules {ours} for devices {devices}"
    keeps = not expected.has_guest
    if keeps != any(each.startswith(shown.addresses["bridge"] + "/") for each in network(shown.pid).addresses):
        yield f"eth0 {'lacks' if keeps else 'still has'} its address"


def _macvtap_major() -> int:
    with open("/proc/devices") as file:
        return next(int(line.split()[0]) for line in file if line.strip().endswith(" macvtap"))


def _of_machine(testbed: Testbed, model: Model) -> Iterator[str]:
    """Yield everything on the machine that belongs to no container that should have it."""
    machine = testbed.machine
    attached = {testbed.containers[expected.number].id12 for expected in model.containers if expected.attached}
    running = {testbed.containers[expected.number].id12 for expected in model.containers if expected.running}
    ours = {container_id[:12] for container_id in machine.container_ids}
    if stray := {name for name in netns_links() if name.lstrip(".")[:12] in ours} - attached:
        yield f"stray symlinks: {stray}"
    if stray := {owner[:12] for owner in qemus().values() if owner[:12] in ours} - attached:
        yield f"stray QEMUs: {stray}"
    files = {path.name for path in testbed.daemon.run_dir.iterdir()} - OWN_FILES
    ended = {testbed.containers[expected.number].id12 for expected in model.containers} - running
    kept = {name for name in files if name.endswith(".ended") and name[:12] in ended}
    if stray := {name for name in files - kept if name[:12] not in running or name.endswith((".new", ".ended"))}:
        yield f"stray files: {stray}"
    if macvtaps(machine.dockerd.pid):
        yield f"macvtaps on the machine itself: {macvtaps(machine.dockerd.pid)}"
    if children := [pid for pid in children_of(testbed.daemon.pid) if pid != testbed.daemon.reaper_pid()]:
        yield f"children of the daemon that are not its reaper: {[(pid, command_line(pid)) for pid in children]}"

    if children := [pid for pid in children_of(testbed.daemon.reaper_pid()) if pid not in qemus()]:
        yield f"children of the reaper that are no QEMU: {[(pid, command_line(pid)) for pid in children]}"
