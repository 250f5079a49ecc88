"""/dev/kvm is opened by QEMU, and by no other process in the container.

Whether KVM works depends on the machine, so the QEMU of this test opens the device, late, and then emulates.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.machine import PREFIX
from tests.harness.observe import cgroup_lines
from tests.harness.processes import run
from tests.harness.waiting import eventually

KVM = ("c", "10", "232")  # Documentation/admin-guide/devices.txt
# A device rule gives EPERM; a machine without KVM gives another error.
QEMU = """#!/bin/sh
sleep 0.5
if (: <>"${0%/*}/kvm") 2>&1 | grep 'Operation not permitted' >&2; then exit 1; fi
for word; do
    shift
    case $word in kvm) word=tcg ;; host) word=max ;; esac
    set -- "$@" "$word"
done
exec qemu-system-x86_64 "$@"
"""


@pytest.fixture(scope="module")
def qemu() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}kvm-") as folder:
        program = Path(folder) / "late-qemu"
        program.write_text(QEMU)
        run(["mknod", "-m", "666", f"{folder}/kvm", *KVM])
        for path in (Path(folder), program):
            path.chmod(0o755)
        yield program


@pytest.mark.both_cgroups
def test_qemu_may_open_kvm_and_the_container_may_not(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, qemu: Path
) -> None:
    daemon = current_daemon.get({"guest": {"qemu": str(qemu)}})
    guest = containers.serving_guest(accel="kvm")
    assert daemon.metrics().exits(guest.name) == 0

    def is_inside() -> bool:
        inside, others = (
            {line for line in cgroup_lines(pid) if ":devices:" not in line} for pid in (guest.qemu(), guest.pid)
        )
        return inside == others

    eventually(is_inside, "QEMU is in the container's cgroup, except for v1's devices")
    guest.exec("mknod", "/tmp/kvm", *KVM)
    assert not guest.opens("/tmp/kvm")
