"""What `vtapd check` tries: each probe does what the daemon would do, on things of its own, and undoes it.

What comes of it `core.findings` judges.
"""

import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from supervisor.cli import client
from supervisor.config import Config
from supervisor.container.device_access import DeviceRules
from supervisor.core.guest.qemu_argv import SANDBOX
from supervisor.core.model import DeviceNumber, Pid, User
from supervisor.core.report import findings
from supervisor.core.report.findings import Finding
from supervisor.edges import threads
from supervisor.edges.clock import boottime_s
from supervisor.edges.docker import Docker, Engine
from supervisor.edges.kernel import cgroups, host, netns, tap, vhost
from supervisor.edges.kernel.device_rules_v1 import CgroupV1Rules
from supervisor.edges.kernel.device_rules_v2 import CgroupV2Rules
from supervisor.edges.kernel.links import Links
from supervisor.edges.qemu.kvm_probe import kvm_works
from supervisor.edges.qemu.spawn import find_user
from supervisor.edges.qemu.version import ask_version
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.confinement import Confinement
from supervisor.version import program_version

_ANSWER_S = 5.0
_KVM = anyio.Path("/dev/kvm")
_SYSTEMD_RUNS = anyio.Path("/run/systemd/system")
_SOME_DEVICE = DeviceNumber(4095, 4095)
"""No driver has it: what is opened and closed again for the proof is nobody's."""


@dataclass
class Machine:
    """What is asked about, and what one probe tells the next."""

    config: Config
    rights: int = field(default_factory=host.observe_capabilities)
    engine: Engine | None = None
    """Docker, once it has answered."""
    user: User | None = None
    """Whom guests run as, once that was found out."""
    kvm: bool = False

    @property
    def is_root_enough(self) -> bool:
        return not findings.missing_rights(self.rights)


async def probe_kernel(_: Machine) -> Finding:
    return findings.judge_kernel(os.uname().release)


async def probe_rights(machine: Machine) -> Finding:
    return findings.judge_rights(machine.rights)


async def probe_docker(machine: Machine) -> Finding:
    docker = Docker(machine.config.docker.host, machine.config.docker.timeout)
    try:
        machine.engine = await docker.engine()
    finally:
        await docker.close()
    engine = machine.engine
    return findings.judge_docker(engine.version, engine.cgroup_version, engine.cgroup_driver)


async def probe_macvtap(_: Machine) -> Finding:
    """One on a veth, both in a network namespace that is gone afterwards."""
    handles = await netns.open_scratch()
    try:
        with closing(Links(handles.netlink, handles.spare)) as links:
            await links.create_pair("veth0", "veth1")
            interfaces, _taps = links.observe(False, {}, boottime_s())
            links.create_macvtap("vtapcheck", interfaces[0], "02:00:00:00:00:01")
            device = tap.observe_device(handles.sysfs, tap.observe_index(handles.sysfs, "vtapcheck"))
    finally:
        handles.close_sysfs()
    return Finding("macvtap", "ok", f"one was made and removed, as device {device}")


async def probe_device_rule(machine: Machine) -> Finding:
    """Opened and closed again in a cgroup of our own, of the version that Docker uses."""
    if machine.engine is not None:
        version = machine.engine.cgroup_version
    else:
        version = "1" if cgroups.find_mount("devices") else "2"
    await threads.run_in_thread(partial(_try_rule, "devices" if version == "1" else ""))
    how = "by devices.allow" if version == "1" else "by a BPF program"
    return Finding("device rule", "ok", f"cgroup v{version}: one device was opened {how}, and closed again")


def _try_rule(controller: str) -> None:
    with cgroups.scratch_cgroup(controller) as directory:
        rules: DeviceRules = CgroupV1Rules(directory) if controller else CgroupV2Rules(directory, lambda: ())
        with closing(rules):
            asked = frozenset((_SOME_DEVICE,))
            rules.deny_all()
            seen = [rules.observe(asked)]
            for change in (rules.allow, rules.deny):
                change(_SOME_DEVICE)
                seen.append(rules.observe(asked))
    if seen != [frozenset(), asked, frozenset()]:
        said = "a rule was given to a cgroup, and the kernel does not go by it"
        raise Permanent(said, step=Step.DEVICE_RULE, remedy="report it, with the output of: uname -a; docker info")


async def probe_run_dir(machine: Machine) -> Finding:
    folder = machine.config.run_dir
    return findings.judge_run_dir(str(folder), host.observe_file_system(folder), writable=host.is_writable(folder))


async def probe_netns_dir(_: Machine) -> Finding:
    return findings.judge_netns_dir(str(netns.NETNS_DIR), writable=host.is_writable(netns.NETNS_DIR))


async def probe_user(machine: Machine) -> Finding:
    machine.user = find_user(machine.config.guest.user)
    return findings.judge_user(machine.config.guest.user, machine.user.name)


def _guest_user(machine: Machine) -> User:
    if machine.user is None:
        raise Permanent("not tried: guests have nobody to run as", remedy="see above: guest user")
    return machine.user


async def probe_uids(machine: Machine) -> Finding:
    return findings.judge_uids(machine.config.uids, await threads.run_in_thread(host.observe_users))


async def probe_qemu(machine: Machine) -> Finding:
    path = shutil.which(machine.config.guest.qemu) or machine.config.guest.qemu
    user = machine.user if machine.is_root_enough else None
    seccomp, said = await ask_version(path, user, SANDBOX)
    if not seccomp:
        _, said = await ask_version(path, user)
    return findings.judge_qemu(path, said, os.uname().machine, seccomp=seccomp)


async def probe_sandbox(machine: Machine) -> Finding:
    """Built in front of an empty folder, and QEMU asked in it for its version."""
    config = machine.config
    if config.guest.sandbox == "off":
        remedy = 'set [guest] sandbox = "auto"'
        return Finding("sandbox", "warn", "turned off: QEMU sees the host's files", remedy)
    user = _guest_user(machine)
    with tempfile.TemporaryDirectory(prefix="vtapd-check-") as folder:
        confinement = Confinement(config.guest.qemu, "required", Path(folder), user, config.uids)
        await confinement.place()
    return Finding("sandbox", "ok", "QEMU runs in a file system of its own")


async def probe_kvm(machine: Machine) -> Finding:
    user = _guest_user(machine)
    there = await _KVM.exists()
    machine.kvm = there and await kvm_works(machine.config.guest.qemu, user)
    return findings.judge_kvm(machine.config.guest.accel, there=there, works=machine.kvm)


async def probe_vhost(machine: Machine) -> Finding:
    opened = vhost.open_vhosts(1)
    for descriptor in opened:
        os.close(descriptor)
    return findings.judge_vhost(there=bool(opened), kvm=machine.kvm)


async def probe_systemd(_: Machine) -> Finding:
    if not await _SYSTEMD_RUNS.is_dir():
        return Finding("systemd", "ok", "not this machine's init")
    from supervisor.edges.systemd.dbus import Systemd  # slow to load, needed nowhere else

    (await Systemd.connect()).close()
    return Finding("systemd", "ok", "answers on the system bus")


async def probe_daemon(machine: Machine) -> Finding:
    socket = machine.config.control_socket
    said = await threads.run_in_thread(partial(client.get, socket, "/version", _ANSWER_S))
    theirs = str(said.get("version")) if isinstance(said, dict) else None
    try:
        running = host.is_locked(machine.config.run_dir / "lock")
    except PermissionError:
        running = await anyio.Path(socket).exists()
    return findings.judge_daemon(program_version(), theirs, running=running)


async def probe_descriptors(machine: Machine) -> Finding:
    """The daemon's, where it runs; else what one that is started from here would have."""
    said = await threads.run_in_thread(partial(client.get, machine.config.control_socket, "/version", _ANSWER_S))
    if isinstance(said, dict) and isinstance(said.get("pid"), int):
        try:
            return findings.judge_descriptors(host.observe_descriptor_limit_of(Pid(said["pid"])), "the daemon")
        except OSError as error:
            raise Transient(f"the daemon's limits cannot be read: {error.strerror}", remedy="be root") from error
    return findings.judge_descriptors(host.observe_descriptor_limit(), "a daemon started from here")
