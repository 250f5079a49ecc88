"""Whether it came as it should: the model against Docker, the kernel, the guests, and what the daemon says."""

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
from tests.harness.processes import all_pids, command_line, status_of
from tests.harness.waiting import NOT_YET

from .model import Member, Model
from .stage import Stage

SERVES = ("running", "ready")


@dataclass(frozen=True)
class Shown:
    """What Docker says of a container."""

    name: str
    running: bool
    paused: bool
    pid: int
    addresses: dict[str, str]
    """By network."""


def problems(stage: Stage, model: Model) -> list[str]:
    """Everything that is not as the model says; while things are under way, that may be much."""
    try:
        return [*_of_members(stage, model), *_of_machine(stage, model)]
    except NOT_YET as error:
        return [f"{type(error).__name__}: {error}"]


def _shown(stage: Stage, member: Member) -> Shown:
    data = json.loads(stage.machine.docker("inspect", stage.containers[member.number].id))[0]
    state, networks = data["State"], data["NetworkSettings"]["Networks"]
    addresses = {name: net["IPAddress"] for name, net in networks.items()}
    return Shown(data["Name"].removeprefix("/"), state["Running"], state["Paused"], state["Pid"], addresses)


def _of_members(stage: Stage, model: Model) -> Iterator[str]:
    told = {row.id: row for row in stage.daemon.ps()}
    by_container: dict[str, list[int]] = {}
    for pid, owner in qemus().items():
        by_container.setdefault(owner[:12], []).append(pid)
    for member in model.members:
        container, shown = stage.containers[member.number], _shown(stage, member)
        found = [*_of_docker(member, shown), *_of_guest(stage, member, shown, by_container.get(container.id12, []))]
        if member.running and shown.running:
            found += _of_kernel(member, shown, netns_links().get(container.id12))
        row = told.get(container.id)
        if member.running and (row is None or (row.name, row.state) not in [(member.name, s) for s in _states(member)]):
            found.append(f"vtapd ps says {row}, not {_states(member)}")
        if not member.running and row is not None:
            found.append(f"vtapd ps still has it: {row}")
        yield from (f"{member}: {problem}" for problem in found)


def _of_docker(member: Member, shown: Shown) -> Iterator[str]:
    if (shown.running, shown.paused, shown.name) != (member.running, member.paused, member.name):
        yield f"Docker says {shown}"


def _states(member: Member) -> tuple[str, ...]:
    if member.detached:
        return ("detached",)
    if not member.guest:
        return ("attached",)
    if member.done:
        return ("exited", "failed")
    return (*SERVES, "backoff", "booting") if member.paused else SERVES


def _of_guest(stage: Stage, member: Member, shown: Shown, pids: list[int]) -> Iterator[str]:
    if member.has_guest and member.paused:
        if len(pids) > 1:
            yield f"more than one QEMU: {pids}"
    elif member.has_guest:
        if len(pids) != 1:
            yield f"not exactly one QEMU: {pids}"
        try:
            status = stage.machine.http(f"http://{shown.addresses['bridge']}/", 1.0).status
        except OSError as error:
            yield f"does not serve: {error}"
        else:
            if status != 200:
                yield f"answers with {status}"
    elif pids:
        yield f"QEMU without a right to be: {pids}"


def _of_kernel(member: Member, shown: Shown, symlink: str | None) -> Iterator[str]:
    if symlink != (f"/proc/{shown.pid}/ns/net" if member.attached else None):
        yield f"symlink leads to {symlink}"
    links = macvtaps(shown.pid)
    if len(links) != member.taps:
        yield f"macvtaps {[link.name for link in links]}"
    devices = {device_of_macvtap(shown.pid, link) for link in links}
    nodes = {found.device for number in range(3) if (found := node(shown.pid, f"tap{number}"))}
    if nodes != devices:
        yield f"nodes {nodes} for devices {devices}"
    rules = device_rules(shown.pid)
    if rules is not None:  # cgroup v1, which can tell
        ours = {rule for rule in rules if rule.startswith(f"c {_macvtap_major()}:")}
        if ours != {f"c {major}:{minor} rwm" for major, minor in devices}:
            yield f"device rules {ours} for devices {devices}"
    keeps = not member.has_guest
    if keeps != any(each.startswith(shown.addresses["bridge"] + "/") for each in network(shown.pid).addresses):
        yield f"eth0 {'lacks' if keeps else 'still has'} its address"


def _macvtap_major() -> int:
    with open("/proc/devices") as file:
        return next(int(line.split()[0]) for line in file if line.strip().endswith(" macvtap"))


def _of_machine(stage: Stage, model: Model) -> Iterator[str]:
    """What belongs to nobody who should have it."""
    machine = stage.machine
    attached = {stage.containers[member.number].id12 for member in model.members if member.attached}
    running = {stage.containers[member.number].id12 for member in model.members if member.running}
    ours = {container_id[:12] for container_id in machine.container_ids}
    if stray := {name for name in netns_links() if name.lstrip(".")[:12] in ours} - attached:
        yield f"symlinks of nobody: {stray}"
    if stray := {owner[:12] for owner in qemus().values() if owner[:12] in ours} - attached:
        yield f"QEMUs of nobody: {stray}"
    files = {path.name for path in stage.daemon.run_dir.iterdir()} - OWN_FILES
    if stray := {name for name in files if name[:12] not in running or name.endswith(".new")}:
        yield f"files of nobody: {stray}"
    if macvtaps(machine.dockerd.pid):
        yield f"macvtaps on the machine itself: {macvtaps(machine.dockerd.pid)}"
    if children := [pid for pid in children_of(stage.daemon.pid) if pid not in qemus()]:
        yield f"children of the daemon that are no QEMU: {[(pid, command_line(pid)) for pid in children]}"


def children_of(parent: int) -> list[int]:
    """Zombies too."""
    found = []
    for pid in all_pids():
        try:
            if status_of(pid)["PPid"] == str(parent):
                found.append(pid)
        except OSError:
            continue
    return found
