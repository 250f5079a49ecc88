"""A process of a guest's own container that attacks its QEMU, with every right that `docker run` can give it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.containers import Container

SECRET = Path("/tmp/vtapd-test-secret-of-the-host")  # a container that reaches the host's files finds it there
_FIND_QEMU = """
for each in /proc/[0-9]*; do
    tr '\\0' ' ' <$each/cmdline | grep -q ' -name vtapd-' && [ $each != /proc/$$ ] && echo ${each#/proc/}
done 2>/dev/null
true
"""


@contextmanager
def secret_of_the_host() -> Iterator[str]:
    """Create SECRET, readable by everyone, as long as the context lasts; yield its content."""
    SECRET.write_text("known to the host alone\n")
    SECRET.chmod(0o644)
    try:
        yield SECRET.read_text().strip()
    finally:
        SECRET.unlink()


def qemu_seen_inside(container: Container, user: str = "0") -> int:
    """Return QEMU's pid as the container sees it."""
    found = container.machine.docker("exec", "-u", user, container.id, "sh", "-c", _FIND_QEMU).split()
    assert len(found) == 1, f"one QEMU is seen in {container.name}: {found}"
    return int(found[0])


def attack(container: Container, script: str, user: str = "0") -> str:
    """Run a shell script in the container, with the pid of its guest's QEMU in $QEMU; return what it printed."""
    setting = f"QEMU={qemu_seen_inside(container, user)}\n"
    return container.machine.docker("exec", "-u", user, container.id, "sh", "-c", setting + script + "\ntrue")
