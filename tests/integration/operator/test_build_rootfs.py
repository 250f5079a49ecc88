"""`vtapd build --rootfs` makes a Linux guest of a container image: its files are the root disk, its command is run."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.containers import Container, Containers
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine, built
from tests.harness.waiting import eventually
from tests.images.container import make_init

BOOT_S = 60.0
STOP_S = 60
APP, TAG = "vtapd-test-app", "vtapd-test-microvm"
SHOW = """
stat -c '%n %u %g %a %h' *; cat link*
id; uname -s; pwd; echo $GREETING $OTHER; hostname; nslookup elsewhere; echo "got $0 $1"; exit 7
"""
SMALL = re.compile(
    r"(virtio|failover|button|evdev|overlay|crc32c|ext4|jbd2|mbcache|crc16)[^/]*\.ko[^/]*$|modules\.builtin$"
)
"""The modules that a test copies into an image: not all of a kernel's."""
SERVE = r"""#!/bin/sh
trap 'echo stopped >>/log; exit 3' TERM
echo "start on a disk that is $(grep -c ' / overlay' /proc/mounts) times an overlay" >>/log
cp /log /www/log
httpd -f -p 80 -h /www &
wait
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def kernel() -> Path:
    return built("linux-installed")[0]


@pytest.fixture
def image(machine: Machine, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Return a function that makes a container image with these lines of a Dockerfile; files are in `tmp_path`."""

    def make(*lines: str) -> None:
        (tmp_path / "Dockerfile").write_text("\n".join((f"FROM {machine.image}", *lines, "")))
        machine.docker("build", "-q", "-t", APP, str(tmp_path))

    yield make
    machine.docker("rmi", "-f", TAG, APP, check=False)


def build(vtapd: Daemon, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return vtapd.command(
        "build", "-c", str(vtapd.config_file), "-t", TAG, "--init", str(make_init()), *options, check=check
    )


def await_end(container: Container) -> int:
    eventually(lambda: not container.is_running(), "the container ends with its guest", BOOT_S)
    return int(container.docker_state()["ExitCode"])


def test_command_of_the_image_runs_in_the_guest(
    vtapd: Daemon, containers: Containers, image: Callable[..., None], kernel: Path
) -> None:
    """With its files, owners, environment, working directory and user; its exit code is the container's."""
    image(
        "RUN mkdir /work && echo 'it is \"here\"' > '/work/a \"file' && chown 65534:7 '/work/a \"file'",
        "RUN cd /work && chmod 4755 'a \"file' && ln 'a \"file' linked && mkfifo pipe && ln -s /nowhere link",
        "ENV GREETING='hello you' OTHER=1",
        "WORKDIR /work",
        "USER nobody",
        f"ENTRYPOINT {json.dumps(['/bin/sh', '-c', SHOW])}",
        'CMD ["one", "two"]',
    )
    build(vtapd, "--rootfs", APP, str(kernel))
    given = ("--hostname", "web", "--add-host", "elsewhere:192.0.2.7", "-e", "OTHER=2", "--label", "vtapd.env=OTHER")
    container = containers.run(*given, image=TAG, command=("a word", "more"))
    assert await_end(container) == 7
    printed = container.logs().replace("\r", "")
    for line in (
        'a "file 65534 7 4755 2', 'linked 65534 7 4755 2', "pipe 0 0 644 1", "link 0 0 777 1", 'it is "here"',
        "uid=65534(nobody) gid=65534", "Linux", "/work", "hello you 2", "web", "192.0.2.7", 'got a word more',
    ):  # fmt: skip
        assert line in printed, printed


def test_image_with_its_own_kernel_serves_stops_and_keeps_its_disk(
    vtapd: Daemon, containers: Containers, image: Callable[..., None], kernel: Path, tmp_path: Path
) -> None:
    """A stop is the image's own signal; with a read-only disk, what the guest writes is gone at its next start."""
    version = kernel.name.removeprefix("vmlinuz-")
    modules = kernel.parents[1] / "lib" / "modules" / version
    for path in filter(SMALL.search, map(str, modules.rglob("*"))):
        (tmp_path / "modules" / Path(path).relative_to(modules)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "modules" / Path(path).relative_to(modules))
    shutil.copy(kernel, tmp_path)
    (tmp_path / "serve").write_text(SERVE)
    (tmp_path / "serve").chmod(0o755)
    image(
        f"COPY modules /lib/modules/{version}", f"COPY {kernel.name} /boot/", "COPY serve /serve", "EXPOSE 80",
        "STOPSIGNAL SIGTERM", 'CMD ["/serve"]',
    )  # fmt: skip
    build(vtapd, "--rootfs", APP, "--ready", "tcp:80")
    container = containers.run(image=TAG)
    vtapd.await_state(container.name, "ready", deadline_s=BOOT_S)
    assert container.get("/log").body == "start on a disk that is 0 times an overlay\n"
    container.stop(STOP_S)
    vtapd.machine.docker("start", container.id)
    again = container.restarted()
    vtapd.await_state(container.name, "ready", deadline_s=BOOT_S)
    assert again.get("/log").body.splitlines()[1:] == ["stopped", "start on a disk that is 0 times an overlay"]
    vtapd.machine.docker("kill", container.id)

    read_only = containers.run(image=TAG, labels={"vtapd.disk.0": "/root.img:ro"})
    for _ in range(2):
        vtapd.await_state(read_only.name, "ready", deadline_s=BOOT_S)
        assert read_only.restarted().get("/log").body == "start on a disk that is 1 times an overlay\n"
        vtapd.machine.docker("restart", read_only.id, timeout_s=STOP_S)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rootfs", "vtapd-no-such"), "get it first: docker pull vtapd-no-such"),
        (("--rootfs", APP, "--size", "1M"), "the image's files do not fit on a disk of 1 MiB; name a --size of"),
        (("--rootfs", APP, "--size", "big"), "--size 'big': allowed is a size such as 64M or 1G"),
        (("--rootfs", APP), "the image has no user 'stranger'"),
    ],
)
def test_refusals_say_what_to_do(
    vtapd: Daemon, image: Callable[..., None], kernel: Path, options: tuple[str, ...], message: str
) -> None:
    image("USER stranger")
    refused = build(vtapd, *options, str(kernel), check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert message in refused.stderr
    assert vtapd.machine.docker("images", "-q", TAG) == ""
    assert vtapd.machine.docker("ps", "-aq") == "", "the container that the files were exported from is removed"


def test_modules_of_the_kernel_are_required(
    vtapd: Daemon, image: Callable[..., None], kernel: Path, tmp_path: Path
) -> None:
    image()
    (tmp_path / "boot").mkdir()
    alone = tmp_path / "boot" / kernel.name
    shutil.copy(kernel, alone)
    refused = build(vtapd, "--rootfs", APP, str(alone), check=False)
    assert refused.returncode == 1
    assert "are not found, neither next to it nor in the image; install its package" in refused.stderr


@pytest.mark.parametrize("options", [(), ("--size", "1G", "kernel"), ("--read-only", "kernel")])
def test_root_disk_needs_an_image(vtapd: Daemon, options: tuple[str, ...]) -> None:
    refused = build(vtapd, *options, check=False)
    assert refused.returncode == 2
    assert "--rootfs" in refused.stderr
