"""docker create, cp, commit, diff and export: the container's files, in which there is nothing of vtapd's."""

import tarfile

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.observe import qemus_of
from tests.images.container import GUEST

NAMES = ("tap0", "vtapd-ready", "vtapd-exit")


def test_created_container_has_no_guest_until_it_is_started(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.create(labels={"vtapd.kernel": "/hello.bin"})
    containers.run().await_attached()  # the daemon has seen the creation before this start
    assert guest.name not in [row.name for row in vtapd.ps()]
    assert not qemus_of(guest.id)
    guest.start().await_page()


def test_copied_kernel_is_used_at_the_next_start(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """The guest that runs keeps its own copy."""
    guest = containers.serving_guest()
    fetched = machine.home / "fetched.bin"
    machine.docker("cp", f"{guest.id}:/hello.bin", str(fetched))
    assert fetched.read_bytes() == GUEST.read_bytes()
    qemu = guest.qemu()
    machine.docker("cp", str(GUEST.with_name("hello-unikraft.bin")), f"{guest.id}:/hello.bin")
    assert guest.get().status == 200
    assert guest.qemu() == qemu
    vtapd.request("restart", guest.name)
    guest.await_page()
    assert vtapd.inspect(guest.name).only_guest.kind == "unikraft"


def test_committed_image_starts_a_guest_of_its_own(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """The image has the container's labels and files. Docker pauses the container meanwhile, which is no hang."""
    guest = containers.serving_guest(args="web --port 80", alive="tcp:80,every=200ms,fails=2")
    guest.exec("sh", "-c", "echo changed >/www/index.html")
    qemu = guest.qemu()
    image = machine.docker("commit", guest.id)
    other = containers.run(image=image)
    other.await_page()
    assert other.info()["cmdline"] == "web --port 80"
    assert other.exec("cat", "/www/index.html") == "changed"
    assert guest.get().status == 200
    assert (guest.qemu(), vtapd.metrics().exits(guest.name)) == (qemu, 0)
    other.remove()
    machine.docker("rmi", image)


def test_files_of_the_container_have_nothing_of_vtapds(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """The nodes are in the container's /dev, which is a file system in memory."""
    guest = containers.serving_guest(ready="tcp:80", restart="no", on_exit="keep")
    vtapd.await_state(guest.name, "ready")
    assert set(NAMES[:2]) <= set(guest.exec("ls", "/dev").split())
    assert machine.docker("diff", guest.id) == ""
    guest.exec("touch", "/mine")
    assert machine.docker("diff", guest.id) == "A /mine"
    archive = machine.home / "exported.tar"
    machine.docker("export", "-o", str(archive), guest.id)
    with tarfile.open(archive) as exported:
        names = exported.getnames()
    assert "hello.bin" in names
    assert not [name for name in names if name.rpartition("/")[2] in NAMES]
