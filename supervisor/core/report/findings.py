"""Judge what `vtapd check` has found out about the machine: a level, a sentence, and what to do about it.

`FAIL` means that vtapd cannot attach containers at all. What only guests need is a `warn`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "FAIL"]

CAPABILITIES = {
    0: "CHOWN",
    1: "DAC_OVERRIDE",
    3: "FOWNER",
    5: "KILL",
    6: "SETGID",
    7: "SETUID",
    12: "NET_ADMIN",
    13: "NET_RAW",
    18: "SYS_CHROOT",
    19: "SYS_PTRACE",
    21: "SYS_ADMIN",
    27: "MKNOD",
}
"""What the daemon needs, by bit (linux/capability.h). The systemd unit says what each is for."""
_OLDEST_KERNEL, _OLDEST_DOCKER, _OLDEST_QEMU, _NEXT_QEMU = (5, 10), (20, 10), (6, 2), 12
_DESCRIPTORS_EACH = 12
"""Of a container with a guest: root, /dev, sysfs, cgroup, two netlink sockets, tap, pidfd, QMP, console, and two to
spare while it starts or ends."""
_ENOUGH_CONTAINERS = 250
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    what: str
    level: Level
    detail: str
    remedy: str = ""


def can_attach(findings: Iterable[Finding]) -> bool:
    """Return whether vtapd can attach containers on this machine."""
    return all(finding.level != "FAIL" for finding in findings)


def judge_kernel(release: str) -> Finding:
    if _version(release) >= _OLDEST_KERNEL:
        return Finding("kernel", "ok", f"Linux {release}")
    return Finding("kernel", "FAIL", f"Linux {release}", "vtapd needs Linux 5.10 or newer")


def missing_rights(effective: int) -> list[str]:
    """Return the capabilities that are needed but not in this set (CapEff of man 5 proc), as CAP_ names."""
    return [f"CAP_{name}" for bit, name in CAPABILITIES.items() if not effective >> bit & 1]


def judge_rights(effective: int) -> Finding:
    missing = missing_rights(effective)
    if not missing:
        return Finding("rights", "ok", f"all {len(CAPABILITIES)} capabilities that vtapd needs")
    return Finding("rights", "FAIL", f"missing: {', '.join(missing)}", "run it as root: sudo vtapd check")


def judge_docker(version: str, cgroup: str, driver: str) -> Finding:
    detail = f"{version}, cgroup v{cgroup}, {driver} driver"
    if _version(version) >= _OLDEST_DOCKER:
        return Finding("docker", "ok", detail)
    return Finding("docker", "warn", detail, "vtapd is made for Docker 20.10 and newer")


def judge_users(security: Sequence[str], containers: str) -> Finding:
    """`security` is what Docker says of itself, such as `name=userns`; `containers` is [attach] containers."""
    options = {word for option in security for word in option.split(",")}
    if "name=rootless" in options:
        remedy = "run vtapd next to a Docker that runs as root: rootless containers are reached through another network"
        return Finding("users", "warn", "rootless: a container can have a guest at the most, and no /dev/tap0", remedy)
    if "name=userns" in options:
        remedy = 'start those with docker run --userns=host, or set [attach] containers = "labelled"'
        level: Level = "ok" if containers == "labelled" else "warn"
        detail = "--userns-remap: guests work; a container without a guest can open no /dev/tap0, and is rejected"
        return Finding("users", level, detail, "" if level == "ok" else remedy)
    return Finding("users", "ok", "a container's users are the host's")


def judge_qemu(path: str, said: str, machine: str, *, seccomp: bool) -> Finding:
    """`said` is the output of `--version`, `machine` the host's architecture, as uname prints it."""
    first = said.strip().splitlines()[0] if said.strip() else ""
    version = _version(first)
    detail = f"{path}: {first or 'it printed no version'}"
    if not version:
        return Finding("qemu", "warn", detail, "install QEMU (Debian: qemu-system-x86) or correct [guest] qemu")
    if not seccomp:
        remedy = "install a QEMU that is built with seccomp, as distributions do: guests are started with -sandbox"
        return Finding("qemu", "warn", f"{detail}; it has no seccomp filter", remedy)
    if not _OLDEST_QEMU <= version < (_NEXT_QEMU,):
        return Finding("qemu", "warn", detail, "vtapd is made for QEMU 6.2 to 11")
    if not path.endswith(machine):
        remedy = f"guests are emulated; for KVM name qemu-system-{machine} in [guest] qemu"
        return Finding("qemu", "warn", f"{detail}; not for this processor, {machine}", remedy)
    return Finding("qemu", "ok", f"{detail}; seccomp")


def judge_virtiofsd(program: str | None) -> Finding:
    """`program` is the path of the machine's virtiofsd."""
    if program is not None:
        return Finding("shares", "ok", f"guests can share folders, by 9p and by {program}")
    remedy = "install virtiofsd, a package of this name; before Debian 13 and Ubuntu 24.04 it comes with QEMU"
    return Finding("shares", "warn", "guests can share folders by 9p only: there is no virtiofsd", remedy)


def judge_kvm(asked: str, *, there: bool, works: bool) -> Finding:
    """`asked` is [guest] accel."""
    if works:
        return Finding("kvm", "ok", "a kernel was booted with it")
    why = "/dev/kvm exists, but a guest does not run with it" if there else "/dev/kvm does not exist"
    if asked == "tcg":
        return Finding("kvm", "ok", f'{why}; not needed: [guest] accel is "tcg"')
    turn_on = "turn on virtualisation in the firmware, or nested virtualisation if this is a virtual machine"
    if asked == "kvm":
        return Finding("kvm", "warn", f"{why}; guests cannot start", f'{turn_on}; or set [guest] accel = "auto"')
    return Finding("kvm", "warn", f"{why}; guests are emulated (tcg), and slower", turn_on)


def judge_vhost(*, there: bool, kvm: bool) -> Finding:
    if there:
        return Finding("vhost-net", "ok", "/dev/vhost-net opens" if kvm else "/dev/vhost-net opens; used with KVM only")
    if not kvm:
        return Finding("vhost-net", "ok", "there is none; used with KVM only")
    return Finding("vhost-net", "warn", "there is none; guests' network is slower", "modprobe vhost_net")


def judge_root_disks(missing: Sequence[str], remedy: str) -> Finding:
    """`missing` are the programs that make a root disk and are not here."""
    if not missing:
        return Finding("root disks", "ok", "vtapd build --rootfs can make them")
    return Finding(
        "root disks", "warn", f"vtapd build --rootfs makes none: there is no {' and no '.join(missing)}", remedy
    )


def judge_user(wanted: str, found: str) -> Finding:
    if found == wanted:
        return Finding("guest user", "ok", found)
    make_it = f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {wanted}"
    remedy = f"make it: {make_it}; or name another in [guest] user"
    return Finding("guest user", "warn", f"{wanted} does not exist: guests run as {found}", remedy)


def judge_uids(uids: range, users: Sequence[tuple[str, int]], subordinate: Sequence[tuple[str, range]]) -> Finding:
    """`users` are the machine's, by name and uid; `subordinate` are the uids of users' namespaces (man 5 subuid)."""
    if not uids:
        remedy = "set [guest] uids to a range that no other program uses"
        return Finding("guest uids", "warn", "all guests run under one uid, and could reach each other", remedy)
    span = f"{uids[0]}-{uids[-1]}"
    inside = [f"{name} ({uid})" for name, uid in users if uid in uids]
    if inside:
        remedy = "choose another range in [guest] uids"
        return Finding("guest uids", "warn", f"{span} has users of this machine: {', '.join(inside[:3])}", remedy)
    shared = [name for name, theirs in subordinate if theirs.start < uids.stop and uids.start < theirs.stop]
    if shared:
        remedy = "choose another range in [guest] uids, outside those of /etc/subuid"
        detail = f"{span} are also uids of user namespaces of {', '.join(shared[:3])}: their root could reach guests"
        return Finding("guest uids", "warn", detail, remedy)
    return Finding("guest uids", "ok", f"{span}: {len(uids)} guests, no user of this machine")


def judge_run_dir(path: str, file_system: str, *, writable: bool) -> Finding:
    if not writable:
        return Finding(
            "run-time folder", "FAIL", f"{path} cannot be written", "correct [attach] run_dir, or run as root"
        )
    if file_system in _IN_MEMORY:
        return Finding("run-time folder", "ok", f"{path}, on {file_system}")
    remedy = "put it on a tmpfs: its content is useless after a reboot"
    return Finding("run-time folder", "warn", f"{path}, on {file_system}", remedy)


def judge_netns_dir(path: str, *, writable: bool) -> Finding:
    if writable:
        return Finding("netns folder", "ok", path)
    return Finding("netns folder", "FAIL", f"{path} cannot be written", f"make {path} writable, or run as root")


def judge_descriptors(most: int, whose: str, *, systemd: bool) -> Finding:
    """`systemd`: it is the init of this machine."""
    containers = most // _DESCRIPTORS_EACH
    detail = f"{most} for {whose}: enough for about {containers} containers with a guest"
    if containers >= _ENOUGH_CONTAINERS:
        return Finding("descriptors", "ok", detail)
    remedy = "raise LimitNOFILE= (systemctl edit vtapd)" if systemd else "raise ulimit -n before vtapd run"
    return Finding("descriptors", "warn", detail, remedy)


def judge_daemon(own: str, theirs: str | None, *, running: bool, systemd: bool) -> Finding:
    """`theirs` is the version that answered, or None. `running`: a daemon runs, whether it answers or not.

    `systemd`: it is the init of this machine.
    """
    if theirs == own:
        return Finding("daemon", "ok", f"vtapd {theirs} runs")
    if theirs is not None:
        remedy = f"restart it; guests keep running{': systemctl restart vtapd' if systemd else ''}"
        return Finding("daemon", "warn", f"vtapd {theirs} runs, and this is {own}", remedy)
    if running:
        remedy = (
            f"run this as root or as a member of group vtapd; or see {'journalctl -u vtapd' if systemd else 'its log'}"
        )
        return Finding("daemon", "warn", "one runs, but does not answer on its control socket", remedy)
    return Finding("daemon", "warn", "none runs", f"start it: {'systemctl start vtapd' if systemd else 'vtapd run'}")


_MOST_NAMED = 5


def judge_old_qemus(names: Sequence[str]) -> Finding:
    """`names`: those of the guests whose QEMU was replaced since their start."""
    if not names:
        return Finding("guests' QEMU", "ok", "every guest runs the QEMU that is installed")
    few = ", ".join(sorted(names)[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    remedy = "move them, with their connections: vtapd refresh --all"
    return Finding("guests' QEMU", "warn", f"replaced since the start of {few}{more}", remedy)


def _version(text: str) -> tuple[int, ...]:
    """Return the first number with a dot in it, as a tuple. It is empty if there is none."""
    match = re.search(r"(\d{1,9})\.(\d{1,9})", text)
    return (int(match[1]), int(match[2])) if match else ()
