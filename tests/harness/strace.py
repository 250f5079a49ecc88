"""What a process changes on the machine, as the kernel sees it: strace, and which of its lines show a change."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .processes import end
from .waiting import eventually

ATTACHES_S, STOP_S = 10.0, 10.0

ALWAYS = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "symlink", "symlinkat", "link", "linkat"),
    *("mknod", "mknodat", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat"),
    *("truncate", "creat", "mount", "umount2", "move_mount", "setxattr", "lsetxattr", "removexattr", "utimensat"),
    *("kill", "tkill", "tgkill", "pidfd_send_signal", "rt_sigqueueinfo", "ptrace"),
)
SOMETIMES = {
    "open": r"O_CREAT|O_TRUNC|O_RDWR",
    "openat": r"O_CREAT|O_TRUNC|O_RDWR",
    "openat2": r"O_CREAT|O_TRUNC|O_RDWR",
    # Into a file but the log, with -y by its path; what only descriptors lead to, as to a pipe, goes with the process.
    **dict.fromkeys(("write", "writev", "pwrite64", "sendfile", "copy_file_range"), r"^(?![012]<)\d+</(?!memfd:)"),
    # rtnetlink's requests but those to show, whose numbers are 2 more than a multiple of 4 (linux/rtnetlink.h); orders
    # to Docker; commands to QEMU; and to the reaper, to start one.
    **dict.fromkeys(
        ("sendto", "sendmsg", "sendmmsg"),
        r"nlmsg_type=(RTM_(NEW|DEL|SET)|0x[0-9a-f]+(?<![26ae]) )"
        r"|\"(POST|PUT|DELETE) |execute\\\":\\\"(?!qmp_capabilities|query-)"
        r"|do\\\": \\\"spawn",
    ),
    "bind": r"sun_path=\"",
    "bpf": r"BPF_PROG_(LOAD|ATTACH|DETACH)|BPF_LINK|BPF_MAP_UPDATE|BPF_OBJ_PIN",
    "ioctl": r"SIOCS|TUNSET|TUNATTACH",
    # Processes; a thread is none.
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), r"^(?!.*CLONE_THREAD)"),
}
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_MARK = re.compile(r"\d+<(?P<file>[^>]*)>, \"(?P<text>[^\"]*)\\n\"")


def is_change(call: str, arguments: str) -> bool:
    """Whether something is left of it once the process is no more. What failed changed nothing."""
    if re.search(r"\) += -1 E", arguments) or '"/dev/null"' in arguments:
        return False
    return call in ALWAYS or re.search(SOMETIMES[call], arguments) is not None


@contextmanager
def straced(pid: int, log: Path, names: Sequence[str] = (*ALWAYS, *SOMETIMES)) -> Iterator[None]:
    """strace writes these calls of this process and its threads into the file; of its children only their birth."""
    calls = ",".join(f"?{name}" for name in names)
    said = log.with_suffix(".stderr")
    argv = ["strace", "-f", "-b", "execve", "-y", "-s", "200", "-e", f"trace={calls}", "-e", "signal=none"]
    with said.open("wb") as stderr:
        strace = subprocess.Popen([*argv, "-o", str(log), "-p", str(pid)], stderr=stderr)
    try:
        eventually(lambda: "attached" in said.read_text(), "strace is attached", ATTACHES_S)
        yield
    finally:
        end(strace, STOP_S)


def windows(log: Path, marks: Path, begin: str, ends: tuple[str, ...]) -> tuple[dict[str, list[str]], list[str]]:
    """By the marks that the process wrote into a file: the changes between each begin and its end, and those outside.

    A change that more than one window was open for counts for each of them.
    """
    inside: dict[str, list[str]] = {}
    outside: list[str] = []
    open_now: list[str] = []
    for line in log.read_text(errors="replace").splitlines():
        if not (match := _LINE.match(line)):
            continue
        _, call, arguments = match.groups()
        mark = _MARK.match(arguments) if call == "write" else None
        if mark and mark["file"] == str(marks):
            if mark["text"].startswith(begin):
                open_now.append(mark["text"].removeprefix(begin))
                inside.setdefault(open_now[-1], [])
            elif mark["text"].startswith(ends):
                open_now.remove(mark["text"].partition(" ")[2])
        elif is_change(call, arguments):
            for name in open_now:
                inside[name].append(line)
            if not open_now:
                outside.append(line)
    return inside, outside
