"""A container image as a Linux guest: its initial RAM disk, and what vtapd-init does there as the first process."""

import re
from collections.abc import Iterable, Mapping, Sequence

from supervisor.core.formats import newc
from supervisor.core.formats.docker_image import ImageProgram
from supervisor.errors import Rejected, Step

MEMORY = "256M"
"""A guest's memory, if nothing else is said: Debian's kernel, its modules, and as much again for the program."""
RESTART = "no"
"""A command that ends ends its container, as it does without a guest. Docker's own policy starts it again."""
KERNEL_ARGS = "quiet"
_ROOT_ARGS = "root=/dev/vda rw net.ifnames=0"
"""For an initial RAM disk of a distribution, which mounts the disk and starts its /sbin/init. Its udev would rename the
cards that `ip=` names."""
_MOST_CONFIG_BYTES = 65535
_MOST_WORDS = 1000
"""init/guest.h: CONFIG_BYTES, MOST_WORDS."""
_KERNEL = re.compile(r"/boot/vmlinuz-([^/]+)|(?:/usr)?/lib/modules/([^/]+)/vmlinuz")
_USER = re.compile(r"([^:]+)(?::([^:]+))?")


def kernel_args(given: str | None, *, own_initrd: bool) -> str:
    """Return `vtapd.kernel-args`. Behind ` -- ` the kernel's command line has the words of vtapd-init."""
    if not own_initrd:
        return f"{_ROOT_ARGS} {given}" if given else _ROOT_ARGS
    words = KERNEL_ARGS if given is None else given
    return words if "--" in words.split() else f"{words} --".strip()


def newest_kernel(paths: Iterable[str]) -> str | None:
    """Return the kernel of the highest version in an image, or None if there is none.

    It is in /boot, or next to its modules, as in the packages of Fedora, Arch and Debian since 14.
    """
    found = {path: match[1] or match[2] for path in paths if (match := _KERNEL.fullmatch(path))}
    return max(found, key=lambda path: _version_key(found[path]), default=None)


def _version_key(version: str) -> list[tuple[int, str]]:
    return [(int(number or 0), text) for number, text in re.findall(r"(\d+)|(\D+)", version)]


def initrd(init: bytes, modules: Mapping[str, bytes], config: bytes) -> bytes:
    """Return the initial RAM disk: vtapd-init as /init, its configuration, and the modules that it loads."""
    nodes = [newc.folder(name) for name in ("dev", "modules", "proc", "root", "sys")]
    nodes.append(newc.character_device("dev/console", 5, 1))
    nodes += [newc.file("init", init), newc.file("vtapd-config", config, 0o600)]
    nodes += [newc.file(f"modules/{name}.ko", content, 0o600) for name, content in modules.items()]
    return newc.archive(nodes)


def init_config(program: ImageProgram, passwd: str, group: str, modules: Iterable[str]) -> bytes:
    """Return /vtapd-config of the initial RAM disk (init/guest.c). `passwd` and `group` are the image's files.

    Raises Rejected for a user that the image does not have.
    """
    uid, gid, others, home = _user(program.user, _lines(passwd), _lines(group))
    variables = [*program.variables]
    if not any(variable.startswith("HOME=") for variable in variables):
        variables.append(f"HOME={home}")
    fields = [
        *(f"module={name}.ko" for name in modules),
        f"user={uid}",
        f"group={gid}",
        *(f"other={other}" for other in others),
        f"folder={program.folder}",
        f"stop={program.stop_signal}",
        *(f"variable={variable}" for variable in variables),
        *(f"entry={word}" for word in program.entrypoint),
        *(f"word={word}" for word in program.command),
    ]
    config = b"".join(field.encode("utf-8", "surrogateescape") + b"\0" for field in fields)
    if len(config) > _MOST_CONFIG_BYTES or len(fields) > _MOST_WORDS:
        raise Rejected(
            "the image's command and environment are too long for a guest",
            step=Step.ROOTFS,
            remedy="put the command into a script, and the environment into a file that it reads",
        )
    return config


def _user(
    asked: str, users: Sequence[Sequence[str]], groups: Sequence[Sequence[str]]
) -> tuple[int, int, list[int], str]:
    """Return uid, gid, further groups and home of USER, as Docker finds them. Nothing asked for is root."""
    match = _USER.fullmatch(asked or "0")
    name, group = (match[1], match[2]) if match else (asked, None)
    known = next((line for line in users if len(line) > 5 and name in (line[0], line[2])), None)
    uid = _number(known[2] if known else name, f"user {name!a}")
    gid = _number(known[3], f"group of user {name!a}") if known else 0
    home = (known[5] if known else "") or "/"
    if group is not None:
        found = next((line[2] for line in groups if len(line) > 2 and group in (line[0], line[2])), group)
        return uid, _number(found, f"group {group!a}"), [], home
    member = known[0] if known else ""
    others = [_number(line[2], line[0]) for line in groups if len(line) > 3 and member in line[3].split(",") and member]
    return uid, gid, [other for other in others if other != gid], home


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise Rejected(f"the image has no {what}", step=Step.ROOTFS, remedy="correct its USER, or its /etc/passwd")
    return int(text)


def _lines(text: str) -> list[list[str]]:
    return [line.split(":") for line in text.splitlines()]
