"""The node of a tap: what it replaces, to which user it belongs, and what stays."""

import os
import signal
import stat
from functools import partial
from pathlib import Path

import pytest

from tests.harness.chain import assert_attached
from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import device_of_macvtap, node
from tests.harness.processes import run, status_of
from tests.harness.waiting import eventually

USER, GROUP, NOBODY = 1234, 2345, 65534

pytestmark = pytest.mark.vtapd_config(attach={"resync": "300ms"})


def dev(container: Container) -> Path:
    return Path(f"/proc/{container.pid}/root/dev")


def names(container: Container) -> list[str]:
    return sorted(path.name for path in dev(container).iterdir())


def shell(containers: Containers, script: str, *options: str) -> Container:
    """Start a container whose shell runs this, and sleeps then."""
    return containers.run(*options, command=("/bin/sh", "-c", f"{script}\nexec sleep 600"))


def opens_as(container: Container, user: str) -> bool:
    script = "exec 3<>/dev/tap0 && echo opened || true"
    return "opened" in container.machine.docker("exec", "-u", user, container.id, "sh", "-c", script, check=False)


def test_empty_file_of_a_shell_is_replaced(vtapd: Daemon, containers: Containers) -> None:
    """A shell creates the file if the node is not there yet: `qemu … -net tap,fd=3 3<>/dev/tap0`."""
    os.kill(vtapd.pid, signal.SIGSTOP)
    early = shell(containers, "exec sleep 600 3<>/dev/tap0")
    waiting = shell(containers, "until [ -c /dev/tap0 ]; do sleep 0.1; done; exec sleep 600 3<>/dev/tap0")
    eventually((dev(early) / "tap0").is_file, "the shell has made the file")
    os.kill(vtapd.pid, signal.SIGCONT)
    for container in (early, waiting):
        assert_attached(container.await_attached())
        assert container.opens("/dev/tap0")
    opened = Path(f"/proc/{waiting.pid}/fd/3")
    eventually(lambda: opened.exists() and stat.S_ISCHR(opened.stat().st_mode), "the command has its tap open")
    for container in (early, waiting):
        vtapd.request("detach", container.name)
        assert container.is_untouched()
        assert not [name for name in names(container) if "tap" in name]


def test_file_of_the_container_stays(vtapd: Daemon, containers: Containers) -> None:
    """Not replaced: what is not empty, not regular, has two names, is mounted, or is the node of another macvtap."""
    mounted = containers.machine.home / "empty"
    mounted.touch()
    os.kill(vtapd.pid, signal.SIGSTOP)
    scripts = {
        "not empty": "echo mine >/dev/tap0",
        "two names": ">/dev/tap0; ln /dev/tap0 /dev/mine",
        "symlink": ">/dev/mine; ln -s mine /dev/tap0",
        "folder": "mkdir /dev/tap0",
        "fifo": "mkfifo /dev/tap0",
        "device": "mknod /dev/tap0 c 1 3",
    }
    made = {kind: shell(containers, script) for kind, script in scripts.items()}
    made["mounted"] = shell(containers, "", f"--volume={mounted}:/dev/tap0")
    made["own macvtap"] = own = shell(containers, "")
    run(["nsenter", f"--net=/proc/{own.pid}/ns/net", "ip", "link", "add", "link", "eth0", "mine", "type", "macvtap"])
    device = os.makedev(*device_of_macvtap(own.pid, own.macvtap("mine")))
    os.mknod(dev(own) / "tap0", 0o600 | stat.S_IFCHR, device)
    before = {}
    for kind, container in made.items():
        eventually(partial(os.path.lexists, dev(container) / "tap0"), f"{kind} is there")
        before[kind] = ((dev(container) / "tap0").lstat(), names(container))
    os.kill(vtapd.pid, signal.SIGCONT)
    for kind, container in made.items():
        message = vtapd.await_state(container.name, "failed").message
        assert "/dev/tap0 of its own" in message, kind
        assert ((dev(container) / "tap0").lstat(), names(container)) == before[kind], kind


def test_node_belongs_to_the_user_of_the_init(vtapd: Daemon, containers: Containers) -> None:
    """Also if its init drops its rights later. What the container gives to another user stays theirs."""
    user = f"{USER}:{GROUP}"
    fixed = containers.run("--user", user).await_attached()
    found = (dev(fixed) / "tap0").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (USER, GROUP, 0o600)
    assert opens_as(fixed, user)
    assert not opens_as(fixed, str(USER + 1))
    dropping = shell(containers, "until [ -c /dev/tap0 ]; do sleep 0.1; done; exec su -s /bin/sleep nobody 600")
    eventually(lambda: (dev(dropping) / "tap0").stat().st_uid == NOBODY, "the node follows the user")
    assert opens_as(dropping, str(NOBODY))
    giving = shell(containers, f"until [ -c /dev/tap0 ]; do sleep 0.1; done; chown {user} /dev/tap0")
    eventually(lambda: opens_as(giving, user), "the container's own chown counts")
    guest = containers.guest("--user", user, ready="ping")
    mark = dev(guest) / "vtapd-ready"
    eventually(lambda: mark.exists() and mark.stat().st_uid == USER, "the ready mark is the user's")
    assert opens_as(giving, user)
    for container in (fixed, dropping, giving, guest):
        vtapd.request("detach", container.name)
        assert container.is_untouched()
        assert node(container.pid) is None


@pytest.mark.remapped
def test_user_namespace_has_guests_alone(vtapd: Daemon, containers: Containers) -> None:
    """Linux opens no device on a file system of a user namespace, so a plain container can have no use of a tap."""
    plain = containers.run()
    message = vtapd.await_state(plain.name, "rejected").message
    assert "user namespace" in message
    assert "--userns=host" in message
    assert plain.is_untouched()
    spared = containers.run("--userns=host").await_attached()
    assert spared.opens("/dev/tap0")
    guest = containers.serving_guest(ready="ping")
    other = containers.serving_guest("--user", f"{USER}:{GROUP}", ready="ping")
    for container, root in ((guest, 0), (other, USER)):
        vtapd.await_state(container.name, "ready")
        mark = (dev(container) / "vtapd-ready").stat()
        assert mark.st_uid == (dev(container)).stat().st_uid + root
        view = vtapd.inspect(container.name)
        assert [each.tap and each.tap.node for each in view.interfaces] == [None]
        qemu = container.qemu()
        inside = status_of(qemu)["NSpid"].split()[-1]
        assert f"{inside}\n" in container.exec("sh", "-c", "cd /proc; ls -d [0-9]*") + "\n"
        assert not container.exec("sh", "-c", f"kill -9 -1; head -c 1 /proc/{inside}/environ", check=False).strip()
        assert container.qemu() == qemu
        container.await_page()
