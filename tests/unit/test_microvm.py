"""What the first process of a guest from a container image is given."""

import re

import pytest

from supervisor.core.formats.docker_image import ImageProgram
from supervisor.core.guest import microvm
from supervisor.errors import Rejected

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:7:8:Web:/srv:/bin/sh\nbroken\n"  # noqa: S105  # a file of users
GROUP = "root:x:0:\nwww:x:8:web\ntape:x:26:other,web\nbroken\n"


def fields(program: ImageProgram, modules: tuple[str, ...] = ()) -> list[str]:
    return microvm.init_config(program, PASSWD, GROUP, modules).decode().split("\0")[:-1]


def user_of(asked: str) -> list[str]:
    return [field for field in fields(ImageProgram(user=asked)) if re.match("user|group|other|variable", field)]


def test_configuration_of_init() -> None:
    program = ImageProgram(("/bin/sh", "-c"), ("echo hi",), ("PATH=/bin", "HOME=/else"), "/work", "", 3)
    assert fields(program, ("virtio", "ext4")) == [
        "module=virtio.ko", "module=ext4.ko", "user=0", "group=0", "folder=/work", "stop=3", "variable=PATH=/bin",
        "variable=HOME=/else", "entry=/bin/sh", "entry=-c", "word=echo hi",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", ["user=0", "group=0", "variable=HOME=/root"]),
        ("web", ["user=7", "group=8", "other=26", "variable=HOME=/srv"]),
        ("7", ["user=7", "group=8", "other=26", "variable=HOME=/srv"]),
        ("web:tape", ["user=7", "group=26", "variable=HOME=/srv"]),
        ("web:9", ["user=7", "group=9", "variable=HOME=/srv"]),
        ("1000", ["user=1000", "group=0", "variable=HOME=/"]),
        ("1000:1000", ["user=1000", "group=1000", "variable=HOME=/"]),
    ],
)
def test_user_is_found_as_docker_finds_it(asked: str, expected: list[str]) -> None:
    assert user_of(asked) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [("stranger", "no user 'stranger'"), ("web:none", "no group 'none'"), (":", "no user ':'"), ("-1", "no user '-1'")],
)
def test_unknown_user_is_refused(asked: str, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        user_of(asked)


@pytest.mark.parametrize("variables", [("A=" + "a" * 65536,), ("A=a",) * 1000])
def test_configuration_that_init_cannot_hold_is_refused(variables: tuple[str, ...]) -> None:
    with pytest.raises(Rejected, match="too long for a guest"):
        fields(ImageProgram(variables=variables))


@pytest.mark.parametrize(
    ("given", "own", "expected"),
    [
        (None, True, "quiet --"),
        ("debug", True, "debug --"),
        ("debug -- first", True, "debug -- first"),
        ("", True, "--"),
        (None, False, "root=/dev/vda rw net.ifnames=0"),
        ("quiet", False, "root=/dev/vda rw net.ifnames=0 quiet"),
    ],
)
def test_words_of_the_kernel(given: str | None, own: bool, expected: str) -> None:
    assert microvm.kernel_args(given, own_initrd=own) == expected


def test_newest_kernel_is_chosen_by_its_number() -> None:
    paths = ["/boot/vmlinuz-6.1.0-9-amd64", "/boot/vmlinuz-6.1.0-10-amd64", "/boot/vmlinuz", "/boot/x/vmlinuz-7"]
    assert microvm.newest_kernel(paths) == "/boot/vmlinuz-6.1.0-10-amd64"
    assert microvm.newest_kernel([]) is None


def test_kernel_may_be_next_to_its_modules() -> None:
    paths = ["/usr/lib/modules/7.2.10-200.fc45.x86_64/vmlinuz", "/boot/vmlinuz-7.2.9-200.fc45.x86_64"]
    assert microvm.newest_kernel([*paths, "/usr/lib/modules/vmlinuz", "/srv/lib/modules/9/vmlinuz"]) == paths[0]
    assert microvm.newest_kernel(["/lib/modules/6.18.1-arch1-1/vmlinuz"]) == "/lib/modules/6.18.1-arch1-1/vmlinuz"


def test_initial_ram_disk_has_init_its_configuration_and_modules() -> None:
    archive = microvm.initrd(b"the init", {"ext4": b"a module"}, b"config")
    names = re.findall(rb"070701(?:[0-9A-F]{8}){13}([^\0]+)\0", archive, re.IGNORECASE)
    assert names == [
        b"dev", b"modules", b"proc", b"root", b"sys", b"dev/console", b"init", b"vtapd-config", b"modules/ext4.ko",
        b"TRAILER!!!",
    ]  # fmt: skip
    assert b"the init" in archive
    assert b"a module" in archive
