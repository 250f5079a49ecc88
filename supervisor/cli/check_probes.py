"""The probes of `vtapd check`. Each does what the daemon would do, on objects of its own, and removes them again.

`core.report.findings` decides what a result means.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio

from supervisor.cli import client
from supervisor.config import Config
from supervisor.core.attach.actions import OpenPrivateLink
from supervisor.core.attach.private_link import expected_hooks
from supervisor.core.container import FileOwner, Pid, User
from supervisor.core.formats.docker_api import Engine
from supervisor.core.guest.qemu_argv import SANDBOX
from supervisor.core.guest.spec import SHARE
from supervisor.core.links import Address, DeviceNumber, Hooks, Tap
from supervisor.core.report import findings
from supervisor.core.report.findings import Finding
from supervisor.edges import ext4_disk, threads
from supervisor.edges.clock import boottime_s
from supervisor.edges.docker import Docker
from supervisor.edges.kernel import cgroups, host, netns, netns_symlinks, tap, veth, vhost
from supervisor.edges.kernel.device_rules_v1 import CgroupV1Rules
from supervisor.edges.kernel.device_rules_v2 import CgroupV2Rules
from supervisor.edges.kernel.idmapped_mount import open_idmapped
from supervisor.edges.kernel.links import Links
from supervisor.edges.qemu.kvm_probe import kvm_works
from supervisor.edges.qemu.spawn import find_user
from supervisor.edges.qemu.version import ask_version
from supervisor.edges.qemu.virtiofsd import find_virtiofsd
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.confinement import Confinement
from supervisor.guest.reaper import Reaper
from supervisor.version import program_version

_ANSWER_S = 5.0
_KVM = anyio.Path("/dev/kvm")
_SYSTEMD_RUNS = anyio.Path("/run/systemd/system")
_SOME_DEVICE = DeviceNumber(4095, 4095)
"""No driver uses this number, so allowing and denying it affects no device."""


@dataclass
class Machine:
    """The machine under test, and what earlier probes found out for later ones."""

    config: Config
    rights: int = field(default_factory=host.observe_capabilities)
    engine: Engine | None = None
    """Docker, if it has answered."""
    user: User | None = None
    """The user that guests run as, if there is one."""
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


async def probe_users(machine: Machine) -> Finding:
    if machine.engine is None:
        raise Transient("not tried: Docker does not answer", remedy="see above: docker")
    return findings.judge_users(machine.engine.security, machine.config.attach.containers)


async def probe_macvtap(_: Machine) -> Finding:
    """Create a macvtap on a veth, in a network namespace that is removed afterwards."""
    handles = await netns.open_scratch()
    try:
        with closing(Links(handles.netlink)) as links:
            await veth.create_pair(handles.netlink, "veth0", "veth1")
            parent = links.observe(False, boottime_s()).interfaces[0]
            links.create_macvtap("vtapcheck", parent, "02:00:00:00:00:01")
            device = tap.observe_device(handles.sysfs, tap.observe_index(handles.sysfs, "vtapcheck"))
    finally:
        os.close(handles.sysfs)
    return Finding("macvtap", "ok", f"one was created and removed, as device {device}")


async def probe_private_link(machine: Machine) -> Finding:
    """Connect a macvtap and its interface, in a network namespace that is removed afterwards."""
    address = machine.config.guest.link_address
    if not address:
        return Finding("private link", "ok", "off: [guest] link_address is empty")
    handles = await netns.open_scratch()
    try:
        with closing(Links(handles.netlink)) as links:
            await veth.create_pair(handles.netlink, "veth0", "veth1")
            _open_link(links, handles.sysfs, address)
    finally:
        os.close(handles.sysfs)
    return Finding("private link", "ok", "a guest and its container can reach each other")


def _open_link(links: Links, sysfs: int, address: str) -> None:
    network = links.observe(False, boottime_s())
    for link in network.links:
        links.raise_link(link.index, link.mtu)
    interface, mac = network.interfaces[0], "02:00:00:00:00:01"
    links.create_macvtap("vtapcheck", interface, mac)
    index = tap.observe_index(sysfs, "vtapcheck")
    its_tap = Tap("vtapcheck", index, mac, interface.mtu, False, tap.observe_device(sysfs, index))
    guest = replace(interface, mac=mac, addresses=(Address(4, "192.0.2.2", 24),))
    links.open_private_link(OpenPrivateLink(guest, interface, its_tap, Hooks(), address))
    if links.observe_hooks(interface.index, index) != expected_hooks(interface, its_tap, address):
        raise Transient("the kernel does not show the program that was put on its hooks", step=Step.LINK)


async def probe_device_rule(machine: Machine) -> Finding:
    """Allow and deny a device in a new cgroup, of the version that Docker uses."""
    if machine.engine is not None:
        version = machine.engine.cgroup_version
    else:
        version = "1" if cgroups.find_mount("devices") else "2"
    await threads.run_in_thread(partial(_try_rule, "devices" if version == "1" else ""))
    how = "through devices.allow" if version == "1" else "by a BPF program"
    return Finding("device rule", "ok", f"cgroup v{version}: one device was allowed {how}, and denied again")


def _try_rule(controller: str) -> None:
    with cgroups.scratch_cgroup(controller) as directory:
        rules: CgroupV1Rules | CgroupV2Rules = (
            CgroupV1Rules(directory) if controller else CgroupV2Rules(directory, lambda: ())
        )
        with closing(rules):
            asked = frozenset((_SOME_DEVICE,))
            rules.deny_all()
            seen = [rules.observe(asked)]
            for change in (rules.allow, rules.deny):
                change(_SOME_DEVICE)
                seen.append(rules.observe(asked))
    if seen != [frozenset(), asked, frozenset()]:
        said = "the kernel ignores a device rule that was set on a cgroup"
        raise Permanent(said, step=Step.DEVICE_RULE, remedy="report it, with the output of: uname -a; docker info")


async def probe_run_dir(machine: Machine) -> Finding:
    folder = machine.config.run_dir
    return findings.judge_run_dir(str(folder), host.observe_file_system(folder), writable=host.is_writable(folder))


async def probe_netns_dir(_: Machine) -> Finding:
    return findings.judge_netns_dir(str(netns_symlinks.NETNS_DIR), writable=host.is_writable(netns_symlinks.NETNS_DIR))


async def probe_user(machine: Machine) -> Finding:
    machine.user = find_user(machine.config.guest.user)
    return findings.judge_user(machine.config.guest.user, machine.user.name)


def _guest_user(machine: Machine) -> User:
    if machine.user is None:
        raise Permanent("not tried: there is no user for guests", remedy="see above: guest user")
    return machine.user


async def probe_uids(machine: Machine) -> Finding:
    users = await threads.run_in_thread(host.observe_users)
    return findings.judge_uids(machine.config.uids, users, host.observe_subordinate_uids())


async def probe_qemu(machine: Machine) -> Finding:
    path = shutil.which(machine.config.guest.qemu) or machine.config.guest.qemu
    user = machine.user if machine.is_root_enough else None
    seccomp, said = await ask_version(path, user, SANDBOX)
    if not seccomp:
        _, said = await ask_version(path, user)
    return findings.judge_qemu(path, said, os.uname().machine, seccomp=seccomp)


async def probe_old_qemus(machine: Machine) -> Finding:
    """Ask the daemon for guests whose QEMU was replaced since their start."""
    path = str(machine.config.control_socket)
    rows = await threads.run_in_thread(partial(client.get, path, "/containers", _ANSWER_S))
    return findings.judge_old_qemus([row["name"] for row in rows or () if row.get("qemu_replaced")])


async def probe_sandbox(machine: Machine) -> Finding:
    """Build the sandbox around an empty folder, and run QEMU in it for its version."""
    config = machine.config
    if config.guest.sandbox == "off":
        remedy = 'set [guest] sandbox = "auto"'
        return Finding("sandbox", "warn", "off: QEMU sees the host's files", remedy)
    user = _guest_user(machine)
    with tempfile.TemporaryDirectory(prefix="vtapd-check-") as folder, ExitStack() as owned:
        reaper = Reaper(Path(folder))
        owned.callback(reaper.close)
        confinement = Confinement(config.guest.qemu, "required", Path(folder), user, reaper)
        await confinement.launch_environment(owned)
    return Finding("sandbox", "ok", "QEMU runs in its own file system")


async def probe_shares(machine: Machine) -> Finding:
    """Make a folder in memory the mount of another user, as the folders that guests share."""
    user = _guest_user(machine)
    program = find_virtiofsd()
    with tempfile.TemporaryDirectory(prefix="vtapd-check-") as folder, ExitStack() as owned:
        reaper = Reaper(Path(folder))
        owned.callback(reaper.close)
        namespace = await reaper.user_namespace(FileOwner(0, 0), FileOwner(user.uid, user.gid))
        owned.callback(os.close, namespace)
        await threads.run_in_thread(partial(_try_share, folder, namespace))
    return findings.judge_virtiofsd(program.path if program else None)


def _try_share(path: str, namespace: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_idmapped(Pid(os.getpid()), folder, f"{SHARE}N", namespace, read_only=True))
    finally:
        os.close(folder)


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


async def probe_root_disks(_: Machine) -> Finding:
    missing = [name for name in ext4_disk.PROGRAMS if ext4_disk.find_program(name) is None]
    return findings.judge_root_disks(missing, ext4_disk.INSTALL)


async def probe_systemd(_: Machine) -> Finding:
    if not await _SYSTEMD_RUNS.is_dir():
        return Finding("systemd", "ok", "not the init of this machine")
    from supervisor.edges.systemd.dbus import Systemd  # slow to load; only this needs it

    (await Systemd.connect()).close()
    return Finding("systemd", "ok", "answers on the system bus")


async def probe_daemon(machine: Machine) -> Finding:
    answer = await _ask_version(machine)
    theirs = str(answer["version"]) if "version" in answer else None
    try:
        running = host.is_locked(machine.config.run_dir / "lock")
    except PermissionError:
        running = await anyio.Path(machine.config.control_socket).exists()
    systemd = await _SYSTEMD_RUNS.is_dir()
    return findings.judge_daemon(program_version(), theirs, running=running, systemd=systemd)


async def probe_descriptors(machine: Machine) -> Finding:
    """Check the limit of the running daemon, or else of a daemon that is started from here."""
    pid, systemd = (await _ask_version(machine)).get("pid"), await _SYSTEMD_RUNS.is_dir()
    if isinstance(pid, int):
        try:
            limit = host.observe_descriptor_limit_of(Pid(pid))
            return findings.judge_descriptors(limit, "the daemon", systemd=systemd)
        except OSError as error:
            raise Transient(f"the daemon's limits cannot be read: {error.strerror}", remedy="run as root") from error
    return findings.judge_descriptors(host.observe_descriptor_limit(), "a daemon started from here", systemd=systemd)


async def _ask_version(machine: Machine) -> dict[str, object]:
    """Return the version and pid of the daemon, or nothing if none answers."""
    path = str(machine.config.control_socket)
    answer = await threads.run_in_thread(partial(client.get, path, "/version", _ANSWER_S))
    return answer if isinstance(answer, dict) else {}
