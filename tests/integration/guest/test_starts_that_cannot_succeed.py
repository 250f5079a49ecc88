"""Starts that cannot succeed: refused by name before anything is touched, or given up with the network given back."""

import tempfile
from pathlib import Path

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.machine import PREFIX, Machine
from tests.harness.observe import network, qemus_of
from tests.harness.processes import run
from tests.harness.waiting import eventually, holds_for

TRIES = 3
KERNEL = {"vtapd.kernel": "/hello.bin"}


REFUSED_IN_ADVANCE = {
    "a machine type that does not exist": ({"vtapd.machine": "q53"}, (), "vtapd.machine='q53'", "unsupported machine"),
    "a machine without PCI": ({"vtapd.machine": "isapc"}, (), "vtapd.machine='isapc'", "No 'PCI' bus"),
    "a machine without anything": ({"vtapd.machine": "none"}, (), "vtapd.machine='none'", "PCI"),
    "a limit below QEMU's threads": ({}, ("--pids-limit", "4"), "4 processes", "--pids-limit 5"),
    "a limit below those of a disk's": (
        {"vtapd.disk.0": "/hello.bin:ro"}, ("--pids-limit", "5"), "5 processes", "--pids-limit 70"
    ),
    "memory below the kernel's end": ({"vtapd.memory": "1M"}, (), "vtapd.memory='1M'", "2M or more"),
}  # fmt: skip


def test_start_that_cannot_succeed_is_refused_before_any_change(vtapd: Daemon, containers: Containers) -> None:
    """A change that Docker reports has it looked at again."""
    made = {
        name: containers.run(*options, labels={**KERNEL, **labels})
        for name, (labels, options, _, _) in REFUSED_IN_ADVANCE.items()
    }
    for name, (_, _, *words) in REFUSED_IN_ADVANCE.items():
        message = vtapd.await_state(made[name].name, "rejected").message
        assert all(word in message for word in words), (name, message)
        assert made[name].is_untouched(), name
        assert has_its_address(made[name]), name
    limited = made["a limit below QEMU's threads"]
    limited.machine.docker("update", "--pids-limit", "5", limited.id)
    limited.await_page()
    assert vtapd.inspect(limited.name).only_guest.restarts == 0, "QEMU needs more threads than are asked for"


def qcow2(machine: Machine, *, feature: bool) -> bytes:
    """Return a disk, which with `feature` has an incompatible feature that no QEMU knows (docs/interop/qcow2.txt)."""
    made = machine.home / "made.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(made), "1M"])
    content = made.read_bytes()
    return content[:72] + b"\x80" + content[73:] if feature else content


def has_its_address(container: Container) -> bool:
    return any(address.startswith(container.address) for address in network(container.pid).addresses)


def test_disk_that_qemu_refuses(machine: Machine, vtapd: Daemon, containers: Containers) -> None:
    """The container runs on with its own network. An operator's order has it tried as often again."""
    container = containers.create(labels={**KERNEL, "vtapd.disk.0": "/disk,format=qcow2", "vtapd.restart": "always"})
    machine.put(qcow2(machine, feature=True), container.id, "/disk")
    container.start()
    message = vtapd.await_state(container.name, "failed").message
    assert "Unsupported qcow2 feature" in message
    assert "vtapd start" in message
    assert vtapd.metrics().exits(container.name, "qemu-exit") == TRIES
    eventually(lambda: has_its_address(container), "the container has its network back")
    holds_for(lambda: container.is_running() and not qemus_of(container.id), "no further start", 1.0)

    vtapd.kill()
    vtapd.start()
    assert "Unsupported qcow2 feature" in vtapd.await_state(container.name, "failed").message, "the reason was lost"
    refused = vtapd.command("start", container.name, check=False)
    assert (refused.returncode, "Unsupported qcow2 feature" in refused.stderr) == (1, True)
    vtapd.await_state(container.name, "failed")
    eventually(lambda: has_its_address(container), "the container has its network back")
    lines = [line for line in vtapd.log_lines() if line.get("container") == container.name]
    assert [line["event"] for line in lines].count("guest_failed") == 1, "one order, one line"

    machine.put(qcow2(machine, feature=False), container.id, "/disk")
    vtapd.request("start", container.name)
    container.await_page()


def test_program_that_cannot_be_executed_for_a_time(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers
) -> None:
    """A file that is open for writing is not executed (ETXTBSY), as while a package replaces it. The guest waits."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}busy-") as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "qemu"
        program.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
        program.chmod(0o755)
        with program.open("r+b"):
            daemon = current_daemon.get({"guest": {"qemu": str(program)}, "restart": {"max": "2s"}})
            guest = containers.guest()
            eventually(lambda: "Text file busy" in daemon.inspect(guest.name).message, "it says why", 20)
            eventually(lambda: has_its_address(guest), "the container has its network meanwhile", 20)
            assert daemon.inspect(guest.name).only_guest.history == [], "no QEMU was started"
        guest.await_page()
        lines = [line for line in daemon.log_lines() if line.get("container") == guest.name]
        assert [line["event"] for line in lines].count("attach_retry") == 1, "one error, one line"
        guest.remove()
