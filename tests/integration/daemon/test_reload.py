"""SIGHUP: what a new configuration changes at once, what it leaves unchanged, and what it refuses."""

import grp
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon, Tables, format_toml, merged
from tests.harness.observe import macvtaps, network
from tests.harness.processes import run
from tests.harness.waiting import eventually

ENDS = ("config_reloaded", "config_refused")
OTHER_METRICS = "127.0.0.1:9821"


class Reloadable:
    """The shared daemon, with a configuration file that a test may change."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def events(self, *names: str) -> list[dict[str, object]]:
        return [line for line in self.daemon.log_lines() if line.get("event") in names]

    def reload(self, changes: Tables) -> dict[str, object]:
        """Reload, and return the log line with the result. The log level must show it."""
        return self.reload_text(format_toml(merged(self.daemon.config, changes)))

    def reload_text(self, text: str) -> dict[str, object]:
        before = len(self.events(*ENDS))
        self.signal(text)
        return eventually(lambda: self.events(*ENDS)[before], "the configuration was reloaded or refused")

    def signal(self, text: str) -> None:
        self.daemon.config_file.write_text(text)
        os.kill(self.daemon.pid, signal.SIGHUP)


@pytest.fixture
def vtapd_file(vtapd: Daemon) -> Iterator[Reloadable]:
    """Restore the configuration after the test."""
    file = Reloadable(vtapd)
    yield file
    file.reload({"log": {"level": "info"}})
    assert file.reload({})["event"] == "config_reloaded"


def test_reload_does_not_touch_guests(vtapd_file: Reloadable, containers: Containers) -> None:
    """The pending changes are shown, and the next start of the guest applies them."""
    guest = containers.serving_guest()
    qemu, daemon = guest.qemu(), vtapd_file.daemon
    assert daemon.inspect(guest.name).only_guest.pending == {}
    line = vtapd_file.reload({"guest": {"memory": "32M", "hang_after": "20s"}})
    assert line["changed"] == ["guest.memory", "guest.hang_after"]
    shown = daemon.inspect(guest.name).only_guest
    assert (guest.qemu(), shown.memory_mib) == (qemu, 64)
    assert shown.pending == {"vtapd.memory": ("64M", "32M"), "guest.hang_after": ("30s", "20s")}
    assert guest.get().status == 200
    guest.trigger("/crash")
    eventually(lambda: restarted(daemon, guest, qemu), "it was started again")
    shown = daemon.inspect(guest.name).only_guest
    assert (shown.memory_mib, shown.pending) == (32, {})


def restarted(daemon: Daemon, guest: Container, qemu: int) -> bool:
    return daemon.inspect(guest.name).only_guest.pid not in (None, qemu) and guest.get().status == 200


def test_docker_update_is_shown_as_pending(vtapd_file: Reloadable, containers: Containers) -> None:
    guest = containers.serving_guest("--memory", "128m")
    memory = vtapd_file.daemon.inspect(guest.name).only_guest.memory_mib
    guest.machine.docker("update", "--memory", "256m", "--memory-swap", "512m", guest.id)
    wanted = {"vtapd.memory": (f"{memory}M", f"{memory + 128}M")}
    eventually(lambda: vtapd_file.daemon.inspect(guest.name).only_guest.pending == wanted, "the new limit is seen")


def test_pending_refusal_is_shown(vtapd_file: Reloadable, containers: Containers) -> None:
    guest = containers.serving_guest(memory="48M")
    vtapd_file.reload({"limits": {"memory": "40M"}, "guest": {"memory": "32M"}})
    pending = vtapd_file.daemon.inspect(guest.name).only_guest.pending
    assert pending is not None
    assert "vtapd.memory" in pending["labels"][1]
    assert guest.get().status == 200


def test_reload_changes_which_containers_are_attached(vtapd_file: Reloadable, containers: Containers) -> None:
    plain, guest = containers.run().await_attached(), containers.serving_guest()
    qemu = guest.qemu()
    vtapd_file.reload({"attach": {"containers": "labelled"}})
    vtapd_file.daemon.await_state(plain.name, "skipped")
    assert plain.is_untouched()
    assert guest.qemu() == qemu
    vtapd_file.reload({})
    plain.await_attached()
    assert vtapd_file.daemon.await_state(plain.name, "attached").reason is None


def test_reload_changes_which_interfaces_are_attached(vtapd_file: Reloadable, containers: Containers) -> None:
    container = containers.run().await_attached()
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "link", "add", "br0", "type", "bridge"])
    run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "address", "add", "10.88.0.1/24", "dev", "br0"])
    before = network(container.pid, "br0")
    vtapd_file.reload({"attach": {"interfaces": "all"}})
    eventually(lambda: attached_interfaces(vtapd_file.daemon, container) == {"eth0", "br0"}, "the bridge has a tap")
    vtapd_file.reload({})
    eventually(lambda: attached_interfaces(vtapd_file.daemon, container) == {"eth0"}, "its tap is removed")
    assert [tap.name for tap in macvtaps(container.pid)] == [container.tap_name]
    assert network(container.pid, "br0") == before


def attached_interfaces(daemon: Daemon, container: Container) -> set[str]:
    return {each.name for each in daemon.inspect(container.name).interfaces if each.tap}


def test_raised_limit_admits_a_rejected_guest(vtapd_file: Reloadable, containers: Containers) -> None:
    vtapd_file.reload({"limits": {"cpus": 1}})
    guest = containers.guest(cpus="2")
    vtapd_file.daemon.await_state(guest.name, "rejected")
    vtapd_file.reload({})
    guest.await_page()


def test_reload_changes_the_restart_curve(vtapd_file: Reloadable, containers: Containers) -> None:
    guest = containers.serving_guest()
    vtapd_file.reload({"restart": {"first": "1500ms", "max": "3s", "jitter": 0.0}})
    guest.trigger("/crash")
    ending = eventually(lambda: vtapd_file.daemon.inspect(guest.name).only_guest.last_exit, "the crash is seen")
    assert ending is not None
    assert ending.delay_s == pytest.approx(1.5)


WRONG = [
    ({"guest": {"memroy": "64M"}}, "memroy"),
    ({"restart": {"first": "soon"}}, "restart.first"),
    ({"guest": {"user": "root"}}, "root"),
    ({"metrics": {"listen": "192.0.2.1:9817"}}, "192.0.2.1:9817"),
    ({"guest": {"sandbox": "required", "qemu": "/bin/false"}}, "QEMU does not run"),
]


@pytest.mark.parametrize(("changes", "word"), WRONG, ids=[word for _, word in WRONG])
def test_wrong_file_changes_nothing(vtapd_file: Reloadable, containers: Containers, changes: Tables, word: str) -> None:
    line = vtapd_file.reload({**merged(changes, {"attach": {"containers": "labelled"}})})
    assert (line["event"], line["level"]) == ("config_refused", "error")
    assert word in str(line["error"])
    containers.run().await_attached()
    containers.serving_guest()
    assert vtapd_file.daemon.metrics()


def test_file_that_is_not_toml_is_refused(vtapd_file: Reloadable) -> None:
    line = vtapd_file.reload_text("[guest\nmemory = ")
    assert line["event"] == "config_refused"
    assert str(vtapd_file.daemon.config_file) in str(line["error"])


def test_reload_moves_the_metrics_address(vtapd_file: Reloadable) -> None:
    machine = vtapd_file.daemon.machine
    old, new = f"http://{vtapd_file.daemon.config['metrics']['listen']}/metrics", f"http://{OTHER_METRICS}/metrics"
    vtapd_file.reload({"metrics": {"listen": OTHER_METRICS}})
    assert machine.http(new).status == 200
    with pytest.raises(OSError):  # noqa: PT011  # refused or reset, depending on the kernel
        machine.http(old)
    vtapd_file.reload({"metrics": {"listen": ""}})
    with pytest.raises(OSError):  # noqa: PT011  # the same
        machine.http(new)
    vtapd_file.reload({})
    assert machine.http(old).status == 200


def test_reload_changes_the_log_level(vtapd_file: Reloadable, containers: Containers) -> None:
    vtapd_file.signal(format_toml(merged(vtapd_file.daemon.config, {"log": {"level": "error"}})))
    containers.run().await_attached()
    quiet = containers.run(labels={"vtapd.memory": "lots"})
    eventually(lambda: quiet.name in str(vtapd_file.events("container_rejected")), "errors are logged")
    levels = [line.get("level") for line in vtapd_file.daemon.log_lines()]
    assert levels[-1] == "error"
    vtapd_file.reload({"log": {"level": "debug"}})
    steps = len(vtapd_file.events("step_done"))
    containers.run().await_attached()
    eventually(lambda: len(vtapd_file.events("step_done")) > steps, "debug lines are there again")


def test_reload_changes_the_group_of_the_control_socket(vtapd_file: Reloadable) -> None:
    group = grp.getgrnam("daemon")
    vtapd_file.reload({"control": {"group": group.gr_name}})
    assert vtapd_file.daemon.control_socket.stat().st_gid == group.gr_gid
    vtapd_file.reload({})
    assert vtapd_file.daemon.control_socket.stat().st_gid != group.gr_gid


def test_keys_that_need_a_restart_are_kept(vtapd_file: Reloadable, containers: Containers) -> None:
    """They are kept with a log line, and all other keys of the file apply."""
    run_dir = vtapd_file.daemon.run_dir
    changes: Tables = {"attach": {"run_dir": "/run/elsewhere", "resync": "25s"}, "docker": {"host": "unix:///none"}}
    line = vtapd_file.reload(changes)
    assert line["changed"] == ["attach.resync"]
    kept = {each["key"]: each for each in vtapd_file.events("config_key_needs_restart")}
    assert set(kept) == {"docker.host", "attach.run_dir"}
    assert (kept["attach.run_dir"]["kept"], kept["attach.run_dir"]["asked"]) == (str(run_dir), "/run/elsewhere")
    containers.run().await_attached()
    assert vtapd_file.daemon.control_socket.is_socket()


def test_systemd_is_notified_of_the_reload(vtapd_file: Reloadable) -> None:
    at = vtapd_file.daemon.machine.home / "notify"
    at.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(at))
        listener.settimeout(10)
        vtapd_file.reload({})
        begun, done = listener.recv(4096).decode().splitlines(), listener.recv(4096).decode().splitlines()
    assert begun[0] == "RELOADING=1"
    assert begun[1].partition("=")[0] == "MONOTONIC_USEC"
    assert int(begun[1].partition("=")[2]) > 0
    assert done[0] == "READY=1"


@pytest.mark.vtapd_config(attach={"resync": "1h"})
def test_shorter_resync_interval_applies_at_once(vtapd_file: Reloadable, containers: Containers) -> None:
    """With an hour between resyncs no test would see the next one; with a short interval, a tap is made again."""
    container = containers.run().await_attached()
    vtapd_file.reload({"attach": {"resync": "200ms"}})
    container.machine.run("nsenter", "-t", str(container.pid), "-n", "ip", "link", "del", container.tap_name)
    eventually(container.macvtap, "its tap is back")
