"""Disks of a guest: files of its container or of a volume, which it reads and writes directly."""

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.processes import open_files, run
from tests.harness.waiting import eventually

from .test_linux_network import get

BOOT_S = 40.0

pytestmark = pytest.mark.timeout(200)


def with_disks(machine: Machine, containers: Containers, *options: str, **labels: str) -> Container:
    """Create a container with /data.img and /seed.img, and the volumes in the options."""
    asked = {f"vtapd.{name.replace('_', '.')}": value for name, value in labels.items()}
    container = containers.create(*options, labels=asked, image=machine.linux_image)
    for name, text in (("data.img", "of the container"), ("seed.img", "read and no more")):
        file = machine.home / name
        file.write_bytes(text.encode().ljust(1 << 20, b"."))
        machine.docker("cp", str(file), f"{container.id}:/{name}")
    return container


def test_disks_are_read_and_written(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    guest = with_disks(machine, containers, disk_0="/data.img", disk_1="/seed.img:ro").start()
    guest.await_page(BOOT_S)
    assert "linux-guest: vda of 2048 sectors, read-only: 0" in guest.logs()
    assert "linux-guest: vdb of 2048 sectors, read-only: 1" in guest.logs()
    assert get(machine, guest.address, "/cgi-bin/disk?vda") == b"of the container"
    assert get(machine, guest.address, "/cgi-bin/disk?vdb") == b"read and no more"
    assert b"written" in get(machine, guest.address, "/cgi-bin/disk?vda", body=b"by the guest    ")
    assert b"written" not in get(machine, guest.address, "/cgi-bin/disk?vdb", body=b"by the guest    ")
    assert guest.exec("head", "-c", "16", "/data.img") == "by the guest"
    assert guest.exec("head", "-c", "16", "/seed.img") == "read and no more"
    opened = [path for path in open_files(guest.qemu()).values() if path.endswith(".img")]
    assert sorted(opened)[:1] == ["/data.img"], "QEMU has other files open"
    guest.trigger("/cgi-bin/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted", BOOT_S)
    guest.await_page(BOOT_S)
    assert get(machine, guest.address, "/cgi-bin/disk?vda") == b"by the guest    "


def test_two_guests_cannot_write_one_disk(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """The second QEMU finds the disk locked and prints so; when the first guest is gone, it starts."""
    shared = machine.home / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "disk.img").write_bytes(b"shared".ljust(1 << 20, b"."))
    volume = ("-v", f"{shared}:/volume")
    first = with_disks(machine, containers, *volume, disk_0="/volume/disk.img").start()
    first.await_page(BOOT_S)
    second = with_disks(machine, containers, *volume, disk_0="/volume/disk.img").start()
    eventually(lambda: vtapd.metrics().exits(second.name, "qemu-exit") >= 1, "the second guest fails to start", BOOT_S)
    assert vtapd.metrics().exits(first.name) == 0
    logged = [line for line in vtapd.log_lines() if line.get("container") == second.name]
    ends = [line for line in logged if line.get("event") == "guest_exited"]
    assert all('Failed to get "write" lock' in str(line["detail"]) for line in ends)
    first.remove()
    second.await_page(BOOT_S)
    assert get(machine, second.address, "/cgi-bin/disk?vda").startswith(b"shared.")


def converted(machine: Machine, disk_format: str) -> bytes:
    """Return a disk of one mebibyte with some words at its start, in this format."""
    source, made = machine.home / "source.img", machine.home / "made.img"
    source.write_bytes(b"in a container format".ljust(1 << 20, b"."))
    run(["qemu-img", "convert", "-f", "raw", "-O", disk_format, str(source), str(made)])
    return made.read_bytes()


def on_top_of(machine: Machine, backing: str) -> bytes:
    """Return a qcow2 image whose header names a backing file."""
    made = machine.home / "made.img"
    run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", "raw", str(made), "1M"])
    return made.read_bytes()


def test_qcow2_disk_is_read_and_written(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    container = with_disks(machine, containers, disk_0="/data.qcow2,format=qcow2")
    machine.put(converted(machine, "qcow2"), container.id, "/data.qcow2")
    guest = container.start()
    guest.await_page(BOOT_S)
    assert get(machine, guest.address, "/cgi-bin/disk?vda") == b"in a container f"
    assert b"written" in get(machine, guest.address, "/cgi-bin/disk?vda", body=b"by the guest    ")
    assert get(machine, guest.address, "/cgi-bin/disk?vda") == b"by the guest    "
    assert guest.exec("head", "-c", "3", "/data.qcow2") == "QFI"
    assert vtapd.inspect(guest.name).only_guest.restarts == 0


@pytest.mark.parametrize(
    ("disk_format", "asked", "message"),
    [
        ("qcow2", "", ",format=qcow2 added to it. The file is a qcow2 image"),
        ("qcow2", ":ro,format=raw", "The file is a qcow2 image"),
        ("vmdk", "", "qemu-img convert -O raw. The file is a vmdk image"),
        ("vdi", "", "The file is a vdi image"),
        ("raw", ",format=qcow2", "the file is no qcow2 image"),
        ("backed", ",format=qcow2", "without a backing file"),
    ],
)
def test_disk_of_another_format_is_refused_before_any_change(
    machine: Machine, vtapd: Daemon, containers: Containers, disk_format: str, asked: str, message: str
) -> None:
    container = with_disks(machine, containers, disk_0=f"/data.disk{asked}")
    content = on_top_of(machine, "/etc/passwd") if disk_format == "backed" else converted(machine, disk_format)
    machine.put(content, container.id, "/data.disk")
    view = vtapd.await_state(container.start().name, "rejected")
    assert view.reason is not None
    assert "label vtapd.disk.0=" in view.reason
    assert message in view.reason
    assert container.is_untouched()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/nowhere.img", "No such file"),
        ("/dev/null", "no regular file"),
        ("/etc", "Is a directory"),
        ("/wrong/host-link", "No such file"),
    ],
)
def test_file_that_is_not_a_disk_is_refused(vtapd: Daemon, containers: Containers, value: str, message: str) -> None:
    container = containers.run(labels={"vtapd.kernel": "/hello.bin", "vtapd.disk.0": value})
    view = vtapd.await_state(container.name, "rejected")
    assert view.reason is not None
    assert "vtapd.disk.0" in view.reason
    assert message in view.reason
    assert container.is_untouched()
