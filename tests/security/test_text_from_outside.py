"""Names, labels and values that imitate a log line, a metric, an escape sequence or an option; and secrets."""

import json

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.current_daemon import CurrentDaemon
from tests.harness.daemon import Daemon
from tests.harness.waiting import eventually

TITLE = "\x1b]0;owned\x07"  # xterm's title, by an escape sequence
FORGED = '\n{"event": "guest_exited", "container": "somebody"}\nvtapd_attachments 7\n'
LINK = "\x1b]0;x\x07"  # an interface's name has up to 15 bytes, control characters included
SECRET = "correct-horse-battery-staple"  # noqa: S105  # only this test uses it


def evil_labels() -> dict[str, str]:
    return {"vtapd.kernel": "/hello.bin", "vtapd.memory": TITLE + FORGED, f"vtapd.{TITLE}": FORGED}


def renamed(containers: Containers) -> Container:
    """Return a container whose interface's name is an escape sequence."""
    container = containers.run().await_attached()
    inside = ("nsenter", f"--net=/proc/{container.pid}/ns/net")
    for words in (("link", "set", "eth0", "down"), ("link", "set", "eth0", "name", LINK), ("link", "set", LINK, "up")):
        container.machine.run(*inside, "ip", *words)
    return container


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_has_no_forged_lines_or_escape_sequences(
    no_vtapd: None, current_daemon: CurrentDaemon, containers: Containers, form: str
) -> None:
    daemon = current_daemon.get({"log": {"level": "debug", "format": form}})
    rejected = containers.run(labels=evil_labels())
    daemon.await_state(rejected.name, "rejected")
    oddly_named = renamed(containers)
    daemon.request("detach", oddly_named.name)
    daemon.request("attach", oddly_named.name)
    text = daemon.log_file.read_text(errors="replace")
    assert "container_rejected" in text or rejected.name in text
    assert "\x1b]" not in text
    assert '\n{"event": "guest_exited"' not in text
    assert form == "console" or all("raw" not in line for line in daemon.log_lines())


def test_tables_have_no_escape_sequences_and_json_is_valid(vtapd: Daemon, containers: Containers) -> None:
    rejected = containers.run("--hostname", "a-b", labels=evil_labels())
    vtapd.await_state(rejected.name, "rejected")
    oddly_named = renamed(containers)
    for name in (rejected.name, oddly_named.name):
        shown = vtapd.command("inspect", name).stdout + vtapd.command("ps").stdout
        assert "\x1b" not in shown
        assert "\nvtapd_attachments" not in shown
        assert json.loads(vtapd.command("inspect", name, "--json").stdout)["name"] == name


def test_metrics_have_no_forged_series_or_escape_sequences(vtapd: Daemon, containers: Containers) -> None:
    rejected = containers.run(labels=evil_labels())
    vtapd.await_state(rejected.name, "rejected")
    renamed(containers)
    text = vtapd.metrics().text
    assert "\x1b" not in text
    assert vtapd.metrics().value("vtapd_attachments") < 7


OPTIONS = ["pc,accel=kvm", "pc -monitor stdio", "pc,kernel=/etc/shadow", "-snapshot", "pc\n-monitor\nstdio", ""]


@pytest.mark.parametrize("machine_type", OPTIONS)
def test_qemu_options_in_a_machine_type_are_rejected(vtapd: Daemon, containers: Containers, machine_type: str) -> None:
    container = containers.guest(machine=machine_type)
    assert "vtapd.machine" in vtapd.await_state(container.name, "rejected").message


def test_qemu_options_in_arguments_reach_only_the_guest(vtapd: Daemon, containers: Containers) -> None:
    """They are one argument of QEMU, whatever they look like."""
    guest = containers.guest(guest="linux", args="-monitor stdio,server=on -drive file=/etc/shadow", on_exit="keep")
    view = vtapd.await_state(guest.name, "booting", "running", "backoff", "exited")
    words = eventually(lambda: vtapd.inspect(guest.name).only_guest.command, f"{guest.name} was started")
    assert "-append" in words
    assert not {"-monitor", "-drive"} & set(words)
    assert view.state != "rejected"


@pytest.mark.vtapd_config(log={"level": "debug"})
def test_secrets_never_reach_the_log(vtapd: Daemon, containers: Containers) -> None:
    """The environment and labels of containers, from a guest's start to its end."""
    secrets = ("--env", f"PASSWORD={SECRET}", "--label", f"token={SECRET}", "--label", "vtapd.env=true")
    guest = containers.serving_guest(*secrets)
    guest.trigger("/crash")
    eventually(lambda: vtapd.metrics().restarts(guest.name) == 1, "it is restarted")
    guest.await_page()
    vtapd.command("inspect", guest.name)
    vtapd.request("detach", guest.name)
    refused = containers.guest("--env", f"PASSWORD={SECRET}", "--label", f"token={SECRET}", memory="lots")
    vtapd.await_state(refused.name, "rejected")
    broken = containers.guest("--env", f'PASSWORD={SECRET}"\\', "--label", "vtapd.env=PASSWORD")
    vtapd.await_state(broken.name, "rejected", "failed")
    assert "PASSWORD" in vtapd.inspect(broken.name).message, "the message does not name the variable"
    assert SECRET not in vtapd.log_file.read_text(errors="replace")
    for name in (guest.name, refused.name, broken.name):
        assert SECRET not in vtapd.command("inspect", name, "--json").stdout
    assert SECRET not in vtapd.metrics().text
