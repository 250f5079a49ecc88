"""The table of all that may happen: how often, to whom, and what should be afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGKILL, SIGSTOP

from . import deeds
from .model import CLEAN, FAILING, Member, Model


@dataclass(frozen=True)
class Action:
    """One thing that may happen to a container."""

    name: str
    weight: float
    applies: Callable[[Member, str], bool]
    """Whether it may happen to this one, with this argument."""
    foresee: Callable[[Member, str], None]
    """What should be afterwards."""
    do: deeds.Deed
    arguments: tuple[str, ...] = ("",)
    needs_daemon: bool = False


@dataclass(frozen=True)
class WorldAction:
    """One thing that may happen to all of them."""

    name: str
    weight: float
    applies: Callable[[Model], bool]
    foresee: Callable[[Model], None]
    do: deeds.Deed
    alone: bool = False
    """Nothing else can be done meanwhile."""


def _nothing(*_: object) -> None:
    """All is to be as it was."""


def _set(**states: bool) -> Callable[..., None]:
    def foresee(thing: Member | Model, *_: str) -> None:
        for name, value in states.items():
            setattr(thing, name, value)

    return foresee


def _begin_run(member: Member, _: str) -> None:
    member.begin_run()


def _end_run(member: Member, _: str) -> None:
    member.end_run()


def _finish(member: Member, _: str) -> None:
    member.finish()


def _awake(member: Member) -> bool:
    return member.running and not member.paused


def _rename(member: Member, letter: str) -> None:
    member.letter = letter


ACTIONS = (
    Action("start", 3, lambda m, _: not m.running, _begin_run, deeds.by_docker("start")),
    Action("stop", 1, lambda m, _: _awake(m), _end_run, deeds.by_docker("stop", "-t", "1")),
    Action("restart", 1, lambda m, _: _awake(m), _begin_run, deeds.by_docker("restart", "-t", "0")),
    Action("kill", 0.5, lambda m, _: _awake(m), _end_run, deeds.by_docker("kill")),
    Action("remove", 0.7, lambda *_: True, _set(removed=True), deeds.remove),
    Action("pause", 1, lambda m, _: _awake(m), _set(paused=True), deeds.by_docker("pause")),
    Action("unpause", 3, lambda m, _: m.paused, _set(paused=False), deeds.by_docker("unpause")),
    Action("rename", 0.5, lambda m, letter: m.letter != letter, _rename, deeds.rename, ("", "a", "b")),
    Action(
        "memory", 0.5, lambda *_: True, _nothing,
        deeds.by_docker("update", "--memory", "{0}", "--memory-swap", "{0}"), ("128m", "192m", "256m"),
    ),
    Action("connect", 0.5, lambda m, _: _awake(m) and not m.connected, _set(connected=True), deeds.connect),
    Action("disconnect", 1, lambda m, _: _awake(m) and m.connected, _set(connected=False), deeds.disconnect),
    Action(
        "detach", 0.5, lambda m, _: _awake(m) and m.attached, _set(detached=True), deeds.by_vtapd("detach"),
        needs_daemon=True,
    ),
    Action(
        "attach", 2, lambda m, _: _awake(m) and m.detached, _set(detached=False, done=False), deeds.by_vtapd("attach"),
        needs_daemon=True,
    ),
    Action(
        "crash", 1, lambda m, path: _awake(m) and m.has_guest and m.comes_back(path), _nothing, deeds.tell_guest,
        FAILING + CLEAN,
    ),
    Action(
        "finish", 1, lambda m, path: _awake(m) and m.has_guest and not m.comes_back(path), _finish,
        deeds.finish, FAILING + CLEAN, needs_daemon=True,
    ),
    Action("kill QEMU", 1, lambda m, _: m.has_guest and m.restart != "no", _nothing, deeds.signal_qemu(SIGKILL)),
    Action("freeze QEMU", 0.3, lambda m, _: m.has_guest and m.restart != "no", _nothing, deeds.signal_qemu(SIGSTOP)),
    Action("kill init", 0.5, lambda m, _: _awake(m) and m.docker_restarts, _begin_run, deeds.kill_init),
)  # fmt: skip  # one row each

WORLD_ACTIONS = (
    WorldAction("kill vtapd", 1, lambda w: w.daemon_runs, _set(daemon_runs=False), deeds.kill_daemon),
    WorldAction("stop vtapd", 1, lambda w: w.daemon_runs, _set(daemon_runs=False), deeds.stop_daemon),
    WorldAction("start vtapd", 4, lambda w: not w.daemon_runs, _set(daemon_runs=True), deeds.start_daemon),
    WorldAction("cut the event stream", 1, lambda w: w.daemon_runs, _nothing, deeds.cut_streams),
    WorldAction("restart dockerd", 0.3, lambda _: True, _nothing, deeds.restart_docker, alone=True),
)
