"""A guest's exit is its container's: the exit status, /dev/vtapd-exit, and Docker's own restart policy."""

import subprocess
import threading
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import eventually

PATIENCE_S = 20.0
ONCE = {"vtapd.restart": "no"}
KERNEL = {"vtapd.kernel": "/hello.bin", "vtapd.memory": "16M"}
KILLED, TERMINATED = 137, 143


def await_status(container: Container) -> int:
    eventually(lambda: not container.is_running(), f"{container.name} ends", PATIENCE_S)
    return int(container.docker_state()["ExitCode"])


@pytest.mark.parametrize(
    ("page", "status"),
    [("/exit?code=0", 0), ("/exit?code=7", 7), ("/crash", 139), ("/panic", 134), ("/poweroff", 0)],
)
def test_exit_status_is_the_guests(vtapd: Daemon, containers: Containers, page: str, status: int) -> None:
    guest = containers.guest_behind_init(restart="no")
    guest.await_page()
    guest.trigger(page)
    assert await_status(guest) == status


def test_docker_run_and_wait_report_it(vtapd: Daemon, containers: Containers, machine: Machine) -> None:
    """As in `docker run --rm …; echo $?`. The container is gone then."""
    words = [word for key, value in (KERNEL | ONCE).items() for word in ("--label", f"{key}={value}")]
    codes: dict[str, int] = {}

    def run_in_the_foreground() -> None:
        argv = ["docker", "run", "--rm", "--name", "kek-foreground", *words, machine.init_image]
        done = subprocess.run(
            argv, env=machine.dockerd.client_env(), capture_output=True, timeout=4 * PATIENCE_S, check=False
        )
        codes["run"] = done.returncode

    thread = threading.Thread(target=run_in_the_foreground)
    thread.start()
    try:
        found = eventually(
            lambda: machine.docker("ps", "-q", "--no-trunc", "--filter", "name=kek-foreground"), "it runs", PATIENCE_S
        )
        guest = Container(machine, found, "kek-foreground")
        machine.container_ids.add(found)
        guest.await_page()
        threading.Timer(0.5, guest.trigger, ["/exit?code=42"]).start()
        assert machine.docker("wait", found) == "42"
    finally:
        thread.join(4 * PATIENCE_S)
    assert codes == {"run": 42}
    assert machine.docker("ps", "-aq", "--filter", "name=kek-foreground") == ""


def test_dockers_restart_policy_applies(vtapd: Daemon, containers: Containers) -> None:
    """The container ends by itself, and is not counted as stopped by an operator. The next run waits for nothing."""
    guest = containers.guest_behind_init("--restart", "on-failure:1", "--stop-timeout", "600", restart="no")
    guest.await_page()
    guest.trigger("/exit?code=3")
    again = await_restart(guest)
    again.await_page()
    again.trigger("/exit?code=3")
    assert await_status(again) == 3
    assert restarts_of(guest) == 1


def test_clean_exit_is_a_success_for_dockers_restart_policy(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest_behind_init("--restart", "on-failure:5")
    always = containers.guest_behind_init("--restart", "always")
    for each in (guest, always):
        each.await_page()
        each.trigger("/exit?code=0")
    assert await_status(guest) == 0
    assert restarts_of(guest) == 0
    eventually(lambda: restarts_of(always) == 1, "`always` starts it after a success, too", PATIENCE_S)


def await_restart(container: Container) -> Container:
    """Return it once Docker has started it again, and given it its network."""

    def again() -> Container | None:
        found = container.restarted()
        return found if restarts_of(found) == 1 and found.is_running() and found.address else None

    found = eventually(again, "Docker starts it again", PATIENCE_S)
    assert found is not None
    return found


def restarts_of(container: Container) -> int:
    return int(container.machine.docker("inspect", "-f", "{{.RestartCount}}", container.id))


def test_stop_ends_init_with_its_guest(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.guest_behind_init()
    guest.await_page()
    guest.stop(60)
    assert guest.docker_state()["ExitCode"] == TERMINATED


def test_init_that_cannot_handle_the_signal_is_killed(vtapd: Daemon, containers: Containers) -> None:
    """`sleep` has no exit status of the guest's to give, but Docker's restart policy applies to it as well."""
    guest = containers.serving_guest("--restart", "on-failure:1", restart="no")
    guest.trigger("/exit?code=7")
    again = await_restart(guest)
    again.await_page()
    again.trigger("/exit?code=7")
    assert await_status(again) == KILLED


def test_exit_mark_of_a_kept_container(vtapd: Daemon, containers: Containers) -> None:
    """The file is there while the guest is done, and not before or after; the next daemon keeps it."""
    guest = containers.serving_guest(on_exit="keep", restart="no")
    mark = Path(f"/proc/{guest.pid}/root/dev/vtapd-exit")
    assert not mark.exists()
    guest.trigger("/exit?code=7")
    eventually(lambda: mark.exists() and mark.read_text() == "7", "the status is in the file", PATIENCE_S)
    assert guest.exec("cat", "/dev/vtapd-exit") == "7"
    written = mark.stat().st_mtime_ns
    vtapd.kill()
    vtapd.start()
    vtapd.await_state(guest.name, "failed")
    assert mark.stat().st_mtime_ns == written, "it is not written again"
    vtapd.request("start", guest.name)
    assert not mark.exists()
    vtapd.request("stop", guest.name)
    assert not mark.exists(), "a guest that an operator stopped is not done for good"
    guest.exec("touch", "/dev/vtapd-exit")
    vtapd.request("detach", guest.name)


def test_taken_name_of_the_exit_mark_does_not_keep_the_container(vtapd: Daemon, containers: Containers) -> None:
    guest = containers.run(labels=KERNEL | ONCE, command=("sh", "-c", "mkdir /dev/vtapd-exit; exec sleep 999"))
    guest.await_page()
    guest.trigger("/exit?code=9")
    assert await_status(guest) == KILLED


def test_shell_can_exit_with_the_guests_status(vtapd: Daemon, containers: Containers) -> None:
    script = "trap 'exit $(cat /dev/vtapd-exit)' TERM; while :; do sleep 0.1; done"
    guest = containers.run(labels=KERNEL | ONCE, command=("sh", "-c", script))
    guest.await_page()
    guest.trigger("/exit?code=9")
    assert await_status(guest) == 9
