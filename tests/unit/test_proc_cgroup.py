from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.formats.proc_cgroup import Cgroup, parse_cgroup, parse_mounts, services_of

V1 = "/docker/c0ffee"
HYBRID_MOUNTS = """\
25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw
31 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 25 0:27 / /sys/fs/cgroup/devices rw,nosuid shared:10 master:3 - cgroup cgroup rw,devices
33 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
HYBRID_PROCESS = f"12:devices:{V1}\n5:cpu,cpuacct:{V1}\n3:rdma:{V1}\n1:name=systemd:{V1}\n0::/system.slice/docker\n"


def observed(proc_cgroup: str, mountinfo: str) -> Cgroup:
    return parse_cgroup(proc_cgroup, parse_mounts(mountinfo))


def test_hybrid_has_a_directory_for_each_mounted_hierarchy() -> None:
    cgroup = observed(HYBRID_PROCESS, HYBRID_MOUNTS)
    assert cgroup == Cgroup(
        v1={
            "devices": "/sys/fs/cgroup/devices/docker/c0ffee",
            "cpu": "/sys/fs/cgroup/cpu,cpuacct/docker/c0ffee",
            "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/docker/c0ffee",
            "name=systemd": "/sys/fs/cgroup/systemd/docker/c0ffee",
        },
        v2="/sys/fs/cgroup/unified/system.slice/docker",
    )
    assert cgroup.path == "/sys/fs/cgroup/devices/docker/c0ffee"


def test_service_of_a_process() -> None:
    assert services_of("12:devices:/system.slice\n1:name=systemd:/system.slice/vtapd.service\n") == ("vtapd.service",)
    assert services_of("1:name=systemd:/system.slice/vtapd.service\n0::/system.slice/vtapd.service\n") == (
        "vtapd.service",
    )
    assert services_of("0::/user.slice/user-0.slice/session-1.scope\n") == services_of("") == ()


def test_pure_v2_cgroup() -> None:
    mounts = "31 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    cgroup = observed("0::/system.slice/docker-c0ffee.scope\n", mounts)
    assert cgroup == Cgroup({}, "/sys/fs/cgroup/system.slice/docker-c0ffee.scope")
    assert cgroup.path == "/sys/fs/cgroup/system.slice/docker-c0ffee.scope"
    assert cgroup.scope == "docker-c0ffee.scope"
    assert observed("0::/docker/c0ffee\n", mounts).scope is None


def test_process_in_the_root_cgroup_has_no_cgroup_of_its_own() -> None:
    assert observed(f"7:devices:/\n5:cpu,cpuacct:{V1}\n0::/\n", HYBRID_MOUNTS) == Cgroup(
        v1=dict.fromkeys(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/docker/c0ffee"), v2=None
    )


def test_second_mount_of_another_subtree_hides_nothing() -> None:
    mounts = "31 25 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n99 25 0:26 /other /mnt/other rw - cgroup2 c rw\n"
    assert observed("0::/docker/c0ffee\n", mounts).v2 == "/sys/fs/cgroup/docker/c0ffee"


def test_mount_of_a_subtree() -> None:
    mounts = "31 25 0:26 /docker /cg rw - cgroup2 c rw\n"
    assert observed("0::/docker/c0ffee\n", mounts).v2 == "/cg/c0ffee"
    assert observed("0::/docker\n", mounts).v2 == "/cg"
    assert observed("0::/dockerish/c0ffee\n", mounts).v2 is None


def test_escaped_blanks_in_mount_points() -> None:
    mounts = "31 25 0:26 / /my\\040cgroups rw - cgroup2 c rw\n"
    assert observed("0::/a\n", mounts).v2 == "/my cgroups/a"


def test_without_cgroup_mounts_the_cgroup_is_empty() -> None:
    cgroup = observed("3:devices:/a\n0::/b\n", "25 30 0:23 / /sys rw - sysfs sysfs rw\n")
    assert cgroup == Cgroup({}, None)
    assert cgroup.path == ""


@given(st.lists(st.from_regex(r"[a-z0-9._-]{1,8}", fullmatch=True), min_size=1, max_size=4))
def test_any_path_is_found_below_its_mount(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert observed(f"7:devices:{path}\n", HYBRID_MOUNTS).v1["devices"].removeprefix("/sys/fs/cgroup/devices") == path


def test_qemu_with_tcg_joins_all_cgroups_of_the_container() -> None:
    cgroup = Cgroup({"cpu": "/cpu/c", "cpuacct": "/cpu/c", "devices": "/devices/c"}, "/unified/c")
    for started in (False, True):
        assert cgroup.directories_of_qemu("tcg", started=started) == ("/cpu/c", "/devices/c", "/unified/c")


def test_qemu_with_kvm_stays_out_of_the_devices_cgroup() -> None:
    cgroup = Cgroup({"cpu": "/cpu/c", "devices": "/devices/c"}, "/unified/c")
    for started in (False, True):
        assert cgroup.directories_of_qemu("kvm", started=started) == ("/cpu/c", "/unified/c")


def test_qemu_with_kvm_joins_v2_after_it_has_opened_the_device() -> None:
    cgroup = Cgroup({}, "/unified/c")
    assert cgroup.directories_of_qemu("kvm", started=False) == ()
    assert cgroup.directories_of_qemu("kvm", started=True) == ("/unified/c",)
    assert Cgroup({}, None).directories_of_qemu("kvm", started=True) == ()
