"""The findings of `vtapd check` about a machine."""

import re

import pytest

from supervisor.core.formats.proc_cgroup import file_system_of, file_system_with, mount_of, parse_mounts
from supervisor.core.report import findings
from supervisor.core.report.findings import Finding, can_attach

ALL_RIGHTS = sum(1 << bit for bit in findings.CAPABILITIES)
QEMU = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright"
MOUNTS = """\
24 1 8:1 / / rw - ext4 /dev/sda rw
25 24 0:20 / /run rw - tmpfs tmpfs rw
26 24 0:21 / /run/with\\040blank rw - xfs xfs rw
27 25 0:22 / /run rw - ramfs second rw
30 24 0:30 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
31 24 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_only_a_fail_prevents_attaching() -> None:
    assert can_attach([Finding("a", "ok", ""), Finding("b", "warn", "")])
    assert not can_attach([Finding("a", "ok", ""), Finding("b", "FAIL", "")])


@pytest.mark.parametrize(("release", "level"), [("5.10.0-28-amd64", "ok"), ("6.1.0", "ok"), ("5.4.0-1", "FAIL")])
def test_kernel_release_is_judged(release: str, level: str) -> None:
    assert findings.judge_kernel(release).level == level


def test_missing_capabilities_are_named() -> None:
    assert findings.judge_rights(ALL_RIGHTS | 1 << 40).level == "ok"
    lacking = findings.judge_rights(ALL_RIGHTS & ~(1 << 21 | 1 << 27))
    assert (lacking.level, lacking.detail) == ("FAIL", "missing: CAP_SYS_ADMIN, CAP_MKNOD")
    assert findings.missing_rights(0) == [f"CAP_{name}" for name in findings.CAPABILITIES.values()]


@pytest.mark.parametrize(("version", "level"), [("20.10.24+dfsg1", "ok"), ("28.2.2", "ok"), ("19.03.8", "warn")])
def test_docker_version_is_judged(version: str, level: str) -> None:
    found = findings.judge_docker(version, "2", "systemd")
    assert (found.level, found.detail) == (level, f"{version}, cgroup v2, systemd driver")


def test_user_namespaces_of_docker_are_judged() -> None:
    assert findings.judge_users(["name=seccomp,profile=default"], "all").level == "ok"
    remapped = findings.judge_users(["name=userns"], "all")
    assert (remapped.level, "--userns=host" in remapped.remedy) == ("warn", True)
    assert findings.judge_users(["name=userns"], "labelled").level == "ok"
    assert findings.judge_users(["name=seccomp", "name=rootless"], "labelled").level == "warn"


def test_guests_must_not_share_uids_with_user_namespaces() -> None:
    assert findings.judge_uids(range(100, 200), [], [("low", range(50, 100)), ("high", range(200, 300))]).level == "ok"
    shared = findings.judge_uids(range(100, 200), [], [("kek", range(199, 300))])
    assert (shared.level, "kek" in shared.detail) == ("warn", True)


@pytest.mark.parametrize(
    ("message", "path", "seccomp", "level", "word"),
    [
        (QEMU, "/usr/bin/qemu-system-x86_64", True, "ok", "7.2.22"),
        (QEMU, "/usr/bin/qemu-system-x86_64", False, "warn", "no seccomp"),
        (QEMU, "/usr/bin/qemu-system-aarch64", True, "warn", "not for this processor"),
        ("QEMU emulator version 4.2.1", "/usr/bin/qemu-system-x86_64", True, "warn", "4.2.1"),
        ("QEMU emulator version 12.0.0", "/usr/bin/qemu-system-x86_64", True, "warn", "12.0.0"),
        ("", "/bin/true", True, "warn", "it printed no version"),
        ("hello", "/bin/echo", True, "warn", "hello"),
    ],
)
def test_qemu_version_is_judged(message: str, path: str, seccomp: bool, level: str, word: str) -> None:
    found = findings.judge_qemu(path, message, "x86_64", seccomp=seccomp)
    assert found.level == level
    assert word in found.detail
    assert (level == "ok") == (not found.remedy)


@pytest.mark.parametrize(
    ("asked", "there", "works", "level", "words"),
    [
        ("auto", True, True, "ok", "was booted"),
        ("auto", True, False, "warn", "a guest does not run with it"),
        ("auto", False, False, "warn", "emulated"),
        ("tcg", False, False, "ok", "not needed"),
        ("kvm", False, False, "warn", "cannot start"),
    ],
)
def test_kvm_is_judged_by_what_works(asked: str, there: bool, works: bool, level: str, words: str) -> None:
    found = findings.judge_kvm(asked, there=there, works=works)
    assert found.level == level
    assert words in found.detail


def test_root_disks_need_two_programs() -> None:
    assert findings.judge_root_disks((), "install e2fsprogs").level == "ok"
    found = findings.judge_root_disks(("mke2fs", "debugfs"), "install e2fsprogs")
    assert (found.level, found.remedy) == ("warn", "install e2fsprogs")
    assert "there is no mke2fs and no debugfs" in found.detail


def test_vhost_matters_only_with_kvm() -> None:
    assert findings.judge_vhost(there=True, kvm=True).level == "ok"
    assert "used with KVM only" in findings.judge_vhost(there=True, kvm=False).detail
    assert findings.judge_vhost(there=False, kvm=False).level == "ok"
    assert findings.judge_vhost(there=False, kvm=True).remedy == "modprobe vhost_net"


def test_missing_guest_user_is_reported() -> None:
    assert findings.judge_user("vtapd-guest", "vtapd-guest").level == "ok"
    assert "run as nobody" in findings.judge_user("vtapd-guest", "nobody").detail


def test_uids_of_existing_users_are_reported() -> None:
    users = [("root", 0), ("ada", 1005)]
    assert findings.judge_uids(range(2000, 3000), users, []).level == "ok"
    taken = findings.judge_uids(range(1000, 3000), users, [])
    assert (taken.level, "ada (1005)" in taken.detail) == ("warn", True)
    assert findings.judge_uids(range(0), users, []).level == "warn"


def test_run_time_folders_are_judged() -> None:
    assert findings.judge_run_dir("/run/vtapd", "tmpfs", writable=True).level == "ok"
    assert findings.judge_run_dir("/srv/vtapd", "ext4", writable=True).level == "warn"
    assert findings.judge_run_dir("/run/vtapd", "tmpfs", writable=False).level == "FAIL"
    assert findings.judge_netns_dir("/var/run/netns", writable=True).level == "ok"
    assert findings.judge_netns_dir("/var/run/netns", writable=False).level == "FAIL"


def test_descriptor_limit_is_judged() -> None:
    assert findings.judge_descriptors(65536, "the daemon", systemd=True).level == "ok"
    few = findings.judge_descriptors(1024, "the daemon", systemd=True)
    assert few.level == "warn"
    assert "about 85 containers" in few.detail


def test_remedies_speak_of_systemd_only_if_it_is_the_init() -> None:
    texts = [
        findings.judge_descriptors(1024, "a daemon started from here", systemd=False).remedy,
        findings.judge_user("vtapd-guest", "nobody").remedy,
        findings.judge_daemon("1.0", None, running=False, systemd=False).remedy,
        findings.judge_daemon("1.0", None, running=True, systemd=False).remedy,
        findings.judge_daemon("1.0", "0.9", running=True, systemd=False).remedy,
    ]
    assert [text for text in texts if re.search("systemctl|systemd|journalctl|unit", text)] == []


@pytest.mark.parametrize(
    ("theirs", "running", "level", "words"),
    [
        ("1.2.0", True, "ok", "vtapd 1.2.0 runs"),
        ("1.1.0", True, "warn", "and this is 1.2.0"),
        (None, True, "warn", "does not answer"),
        (None, False, "warn", "none runs"),
    ],
)
def test_running_daemon_is_judged(theirs: str | None, running: bool, level: str, words: str) -> None:
    found = findings.judge_daemon("1.2.0", theirs, running=running, systemd=True)
    assert found.level == level
    assert words in found.detail
    without = findings.judge_daemon("1.2.0", theirs, running=running, systemd=False)
    assert without.detail == found.detail
    assert "ctl" not in without.remedy


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/srv/vtapd", "ext4"), ("/runner", "ext4"), ("/run/vtapd", "ramfs"), ("/run/with blank/x", "xfs")],
)
def test_file_system_of_a_path_is_found_in_the_mounts(path: str, kind: str) -> None:
    assert file_system_of(MOUNTS, path) == kind


def test_file_system_of_a_mount_is_found_by_its_number() -> None:
    assert file_system_with(MOUNTS, "26") == "xfs"
    assert file_system_with(MOUNTS, "2") is None


def test_cgroup_mounts_are_found() -> None:
    assert mount_of(parse_mounts(MOUNTS), "devices") == "/sys/fs/cgroup/devices"
    assert mount_of(parse_mounts(MOUNTS), "") == "/sys/fs/cgroup/unified"
    assert mount_of(parse_mounts(MOUNTS), "memory") is None


def test_virtiofsd_is_needed_for_shares_by_virtiofs_only() -> None:
    assert "/usr/libexec/virtiofsd" in findings.judge_virtiofsd("/usr/libexec/virtiofsd").detail
    without = findings.judge_virtiofsd(None)
    assert (without.level, "install virtiofsd" in without.remedy) == ("warn", True)


def test_guests_with_an_old_qemu_are_named() -> None:
    assert findings.judge_old_qemus([]).level == "ok"
    found = findings.judge_old_qemus([f"id{number}" for number in range(7)])
    assert (found.level, found.detail) == ("warn", "replaced since the start of id0, id1, id2, id3, id4 and 2 more")
    assert findings.judge_old_qemus(["b", "a"]).detail == "replaced since the start of a, b"
