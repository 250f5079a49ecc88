"""A process of a guest's own container that goes for its QEMU: with every right that `docker run` can give it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.containers import Container

SECRET = Path("/tmp/vtapd-test-secret-of-the-host")  # where a container that reaches the host's files finds it
_FIND_QEMU = """
for each in /proc/[0-9]*; do
    tr '\\0' ' ' <$each/cmdline | grep -q ' -name vtapd-' && [ $each != /proc/$$ ] && echo ${each#/proc/}
done 2>/dev/null
true
"""


@contextmanager
def secret_of_the_host() -> Iterator[str]:
    """What is in SECRET as long as the context lasts; the whole world may read it."""
    SECRET.write_text("known to the host alone\n")
    SECRET.chmod(0o644)
    try:
        yield SECRET.read_text().strip()
    finally:
        SECRET.unlink()


def qemu_seen_inside(container: Container, user: str = "0") -> int:
    """QEMU's pid as the container knows it."""
    found = container.machine.docker("exec", "-u", user, container.id, "sh", "-c", _FIND_QEMU).split()
    assert len(found) == 1, f"one QEMU is seen in {container.name}: {found}"
    return int(found[0])


def attack(container: Container, script: str, user: str = "0") -> str:
    """Run a shell script in the container; $QEMU is the pid of its guest's QEMU. All that it printed."""
    setting = f"QEMU={qemu_seen_inside(container, user)}\n"
    return container.machine.docker("exec", "-u", user, container.id, "sh", "-c", setting + script + "\ntrue")
