"""What each operation does to the real thing. Nothing here decides anything, and nothing waits for its consequences,
except where only they tell that it was done.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.harness.observe import qemus_of
from tests.harness.waiting import eventually

from .model import Member
from .stage import Stage

DONE_S = 60.0

Deed = Callable[[Stage, Member, str], None]


def by_docker(*words: str) -> Deed:
    """A docker command on the container; `{}` stands for the operation's argument."""

    def deed(stage: Stage, member: Member, argument: str) -> None:
        verb = [word.format(argument) for word in words]
        stage.machine.docker(*verb, stage.containers[member.number].id)

    return deed


def create(stage: Stage, member: Member, _argument: str) -> None:
    stage.create(member)


def remove(stage: Stage, member: Member, _argument: str) -> None:
    stage.machine.docker("rm", "-f", "-v", stage.containers[member.number].id)


def rename(stage: Stage, member: Member, letter: str) -> None:
    stage.machine.docker("rename", stage.containers[member.number].id, f"soak{member.number}{letter}")


def connect(stage: Stage, member: Member, _argument: str) -> None:
    stage.machine.docker("network", "connect", stage.network, stage.containers[member.number].id)


def disconnect(stage: Stage, member: Member, _argument: str) -> None:
    stage.machine.docker("network", "disconnect", stage.network, stage.containers[member.number].id)


def by_vtapd(verb: str) -> Deed:
    """A command of the daemon, given again until it has heard of the container."""

    def deed(stage: Stage, member: Member, _argument: str) -> None:
        container = stage.containers[member.number]
        eventually(
            lambda: stage.daemon.command(verb, container.id).returncode == 0, f"vtapd {verb} #{member.number}", DONE_S
        )

    return deed


def tell_guest(stage: Stage, member: Member, path: str) -> None:
    """Whoever is not there just now does not hear it."""
    with suppress(OSError):
        stage.machine.http(f"http://{stage.address(member)}{path}", 1.0)


def finish(stage: Stage, member: Member, path: str) -> None:
    """An end that counts must happen, and be seen: only QMP tells of a power-off, and only who listens by then."""
    container = stage.containers[member.number].restarted()
    container.await_page(DONE_S)
    stage.daemon.await_state(container.id, "running", deadline_s=DONE_S)
    container.tell(path)

    def over() -> bool:
        return not container.is_running() or stage.daemon.inspect(container.id).state in ("exited", "failed")

    eventually(over, f"the guest of #{member.number} is done after {path}", DONE_S)


def signal_qemu(number: signal.Signals) -> Deed:
    def deed(stage: Stage, member: Member, _argument: str) -> None:
        for pid in qemus_of(stage.containers[member.number].id):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    return deed


def kill_init(stage: Stage, member: Member, _argument: str) -> None:
    container = stage.containers[member.number]
    before = container.restarted().pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: container.restarted().pid not in (0, before), f"Docker starts #{member.number} again", DONE_S)


def kill_daemon(stage: Stage, _member: Member, _argument: str) -> None:
    stage.kill_daemon()


def stop_daemon(stage: Stage, _member: Member, _argument: str) -> None:
    stage.stop_daemon()


def start_daemon(stage: Stage, _member: Member, _argument: str) -> None:
    stage.start_daemon()


def cut_streams(stage: Stage, _member: Member, _argument: str) -> None:
    stage.proxy.cut_streams()


def restart_docker(stage: Stage, _member: Member, _argument: str) -> None:
    stage.machine.restart_docker()
