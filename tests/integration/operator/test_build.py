"""`vtapd build` makes an image from a kernel, and `vtapd-init` is the first process of its containers."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine
from tests.harness.waiting import CommandFailed, eventually
from tests.images.container import GUEST, make_init

STOP_S = 30
TERMINATED, KILLED = 128 + 15, 128 + 9


@pytest.fixture
def tag(machine: Machine) -> Iterator[str]:
    yield "vtapd-test-built"
    machine.docker("rmi", "-f", "vtapd-test-built", check=False)


def build(vtapd: Daemon, tag: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    machine = vtapd.machine
    assert machine.image, "the test guest has been built"
    return vtapd.command(
        "build", "-c", str(vtapd.config_file), "-t", tag, "--init", str(make_init()), *options, check=check
    )


def test_built_image_serves(vtapd: Daemon, containers: Containers, tag: str, tmp_path: Path) -> None:
    """From a kernel file to a served page in two commands; the health check follows /dev/vtapd-ready."""
    (tmp_path / "note").write_text("hello")
    (tmp_path / "kernel.bin").symlink_to(GUEST)
    disk = tmp_path / "data.img"
    disk.write_bytes(bytes(1 << 20))
    built = build(
        vtapd, tag, "--json", "--memory", "32M", "--ready", "tcp:80", "--expose", "443", "--disk", f"{disk}:ro",
        "--file", f"{tmp_path / 'note'}:/etc/note", "--label", "vtapd.args=--greeting $HOME",
        str(tmp_path / "kernel.bin"),
    )  # fmt: skip
    answer = json.loads(built.stdout)
    shown = json.loads(vtapd.machine.docker("image", "inspect", answer["id"]))[0]["Config"]
    assert shown["Labels"] == {
        "vtapd.kernel": "/kernel.bin", "vtapd.memory": "32M", "vtapd.ready": "tcp:80", "vtapd.disk.0": "/data.img:ro",
        "vtapd.args": "--greeting $HOME",
    }  # fmt: skip
    assert (shown["Entrypoint"], sorted(shown["ExposedPorts"])) == (["/vtapd-init"], ["443/tcp", "80/tcp"])
    container = containers.run(image=tag)
    vtapd.await_state(container.name, "ready")
    container.await_page()
    eventually(lambda: container.docker_state()["Health"]["Status"] == "healthy", "Docker finds it healthy", 20)
    assert vtapd.machine.docker("exec", container.id, "/vtapd-init", "ready") == ""
    container.stop(STOP_S)
    assert container.docker_state()["ExitCode"] != KILLED


def test_init_without_a_guest_ends_as_a_signal_ends_a_process(vtapd: Daemon, containers: Containers, tag: str) -> None:
    build(vtapd, tag, str(GUEST))
    container = containers.run("--label", "vtapd.enable=false", image=tag, command=("ready",))
    assert container.is_running(), "the first process is never the health check"
    vtapd.machine.docker("kill", "-s", "HUP", container.id)
    with pytest.raises(CommandFailed):
        container.exec("/vtapd-init", "ready")
    assert container.is_running()
    container.stop(STOP_S)
    assert container.docker_state()["ExitCode"] == TERMINATED


def test_command_of_the_container_is_the_guests(vtapd: Daemon, containers: Containers, tag: str) -> None:
    """A label has priority, and a note says so. What the kind cannot carry is refused, with a way out."""
    build(vtapd, tag, "--memory", "32M", str(GUEST))
    container = containers.run(image=tag, command=("--port", "9090", "two words"))
    container.await_page()
    assert container.info()["cmdline"] == "guest --port 9090 'two words'"
    labelled = containers.run(image=tag, labels={"vtapd.args": "web -v"}, command=("--port", "9090"))
    labelled.await_page()
    assert labelled.info()["cmdline"] == "web -v"
    assert [note for note in vtapd.inspect(labelled.name).only_guest.notes if "vtapd.args is set" in note]
    refused = containers.run(image=tag, command=('a"b',))
    assert "write the guest's command line in vtapd.args" in str(vtapd.await_state(refused.name, "rejected").reason)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--memory", "99T"), "label vtapd.memory='99T'"),
        (("--kind", "cobol"), "label vtapd.guest='cobol'"),
        (("--label", 'vtapd.args="'), "allowed is text without double quotes"),
        (("--label", "vtapd.address=dhcp"), "the image may not set label vtapd.address"),
        (("--label", "vtapd.kernel=/other"), "label vtapd.kernel is given twice"),
        (("--label", "vtapd.disk.7=/nowhere"), "label vtapd.disk.7"),
        (("--initrd", "/nowhere/initrd"), "label vtapd.initrd"),
        (("--file", "/etc/hostname:/hello.bin"), "would both be '/hello.bin'"),
    ],
)
def test_what_the_daemon_would_refuse_is_not_built(
    vtapd: Daemon, tag: str, options: tuple[str, ...], message: str
) -> None:
    refused = build(vtapd, tag, *options, str(GUEST), check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert message in refused.stderr
    assert vtapd.machine.docker("images", "-q", tag) == ""


def test_text_is_no_kernel(vtapd: Daemon, tag: str, tmp_path: Path) -> None:
    (tmp_path / "app.bin").write_text("no kernel")
    refused = build(vtapd, tag, str(tmp_path / "app.bin"), check=False)
    assert refused.returncode == 1
    assert "cannot be booted" in refused.stderr


def test_base_image_is_kept(vtapd: Daemon, containers: Containers, tag: str) -> None:
    build(vtapd, tag, "--from", vtapd.machine.image, "--label", "vtapd.disk.0=/www/index.html:ro", str(GUEST))
    container = containers.run(image=tag)
    container.await_page()
    assert container.exec("cat", "/www/index.html") == "the container's own page"
