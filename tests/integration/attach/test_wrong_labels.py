"""Labels that do not parse: the container is rejected with the label's name and left untouched; others are served."""

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.observe import qemus_of

# Label, value, and what the message must contain besides both.
WRONG = [
    ("vtapd.kernal", "/hello.bin", "vtapd.kernel"),
    ("vtapd.kernel", "hello.bin", "absolute"),
    ("vtapd.guest", "windows", "rumprun"),
    ("vtapd.memory", "lots", "allowed"),
    ("vtapd.memory", "0", "allowed"),
    ("vtapd.memory", "-64M", "allowed"),
    ("vtapd.cpus", "0", "allowed"),
    ("vtapd.cpus", "two", "allowed"),
    ("vtapd.restart", "sometimes", "on-failure"),
    ("vtapd.restart", "on-failure:often", "on-failure"),
    ("vtapd.on-exit", "explode", "keep"),
    ("vtapd.accel", "xen", "tcg"),
    ("vtapd.enable", "perhaps", "true"),
    ("vtapd.address", "not-an-address", "takeover"),
    ("vtapd.args", 'a "quoted" word', "allowed"),
    ("vtapd.args", "a\nline", "allowed"),
    ("vtapd.initrd", "../initrd", "absolute"),
]


@pytest.mark.parametrize(("label", "value", "allowed"), WRONG)
def test_wrong_label_rejects_the_container(
    vtapd: Daemon, containers: Containers, label: str, value: str, allowed: str
) -> None:
    container = containers.run(labels={"vtapd.kernel": "/hello.bin", "vtapd.guest": "rumprun"} | {label: value})
    view = vtapd.await_state(container.name, "rejected")
    assert label in view.message
    assert allowed in view.message
    if label != "vtapd.kernal":
        assert value.encode("unicode_escape").decode() in view.message.replace("\\\\", "\\"), view.message
    assert container.is_untouched()
    assert not qemus_of(container.id)
    assert container.is_running()


def test_memory_above_the_containers_limit_is_rejected(vtapd: Daemon, containers: Containers) -> None:
    container = containers.guest("--memory", "32m", memory="64M")
    view = vtapd.await_state(container.name, "rejected")
    for word in ("vtapd.memory", "64M", "32M"):
        assert word in view.message, view.message
    assert container.is_untouched()


def test_memory_that_leaves_no_room_for_qemu_is_rejected(vtapd: Daemon, containers: Containers) -> None:
    """64M fits into 80 MiB, but not with the 48M that QEMU needs: the kernel would kill it later."""
    container = containers.guest("--memory", "80m", memory="64M")
    assert "vtapd.memory" in vtapd.await_state(container.name, "rejected").message
    fits = containers.serving_guest("--memory", "112m", memory="64M")
    assert vtapd.inspect(fits.name).only_guest.memory_mib == 64


def test_labels_are_checked_without_a_kernel_too(vtapd: Daemon, containers: Containers) -> None:
    container = containers.run(labels={"vtapd.memory": "lots"})
    assert "lots" in vtapd.await_state(container.name, "rejected").message


def test_rejected_container_does_not_affect_others(vtapd: Daemon, containers: Containers) -> None:
    containers.run(labels={"vtapd.kernal": "/hello.bin"})
    containers.serving_guest()


def test_rejected_container_is_tried_again_when_it_restarts(vtapd: Daemon, containers: Containers) -> None:
    """A label cannot change, but a memory limit can."""
    container = containers.guest("--memory", "32m", memory="64M")
    vtapd.await_state(container.name, "rejected")
    container.machine.docker("update", "--memory", "128m", "--memory-swap", "128m", container.id)
    container.machine.docker("restart", "-t", "0", container.id)
    container.restarted().await_page()
