"""The table of all operations: their weights, to which containers they apply, and the expected state afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGKILL, SIGSTOP

from . import operations
from .model import CLEAN, FAILING, ExpectedContainer, Model


@dataclass(frozen=True)
class Action:
    """One operation on a container."""

    name: str
    weight: float
    applies: Callable[[ExpectedContainer, str], bool]
    """Whether it can be done to this container, with this argument."""
    expect: Callable[[ExpectedContainer, str], None]
    """Sets the expected state."""
    do: operations.Perform
    arguments: tuple[str, ...] = ("",)
    needs_daemon: bool = False


@dataclass(frozen=True)
class HostAction:
    """One operation that concerns all containers."""

    name: str
    weight: float
    applies: Callable[[Model], bool]
    expect: Callable[[Model], None]
    do: operations.Perform
    alone: bool = False
    """No other operation may run at the same time."""


def _nothing(*_: object) -> None:
    """Expect no change."""


def _set(**states: bool) -> Callable[..., None]:
    def expect(target: ExpectedContainer | Model, *_: str) -> None:
        for name, value in states.items():
            setattr(target, name, value)

    return expect


def _begin_run(expected: ExpectedContainer, _: str) -> None:
    expected.begin_run()


def _end_run(expected: ExpectedContainer, _: str) -> None:
    expected.end_run()


def _finish(expected: ExpectedContainer, _: str) -> None:
    expected.finish()


def _is_active(expected: ExpectedContainer) -> bool:
    return expected.running and not expected.paused


def _rename(expected: ExpectedContainer, letter: str) -> None:
    expected.letter = letter


ACTIONS = (
    Action("start", 3, lambda m, _: not m.running, _begin_run, operations.by_docker("start")),
    Action("stop", 1, lambda m, _: _is_active(m), _end_run, operations.by_docker("stop", "-t", "1")),
    Action("restart", 1, lambda m, _: _is_active(m), _begin_run, operations.by_docker("restart", "-t", "0")),
    Action("kill", 0.5, lambda m, _: _is_active(m), _end_run, operations.by_docker("kill")),
    Action("remove", 0.7, lambda *_: True, _set(removed=True), operations.remove),
    Action("pause", 1, lambda m, _: _is_active(m), _set(paused=True), operations.by_docker("pause")),
    Action("unpause", 3, lambda m, _: m.paused, _set(paused=False), operations.by_docker("unpause")),
    Action("rename", 0.5, lambda m, letter: m.letter != letter, _rename, operations.rename, ("", "a", "b")),
    Action(
        "memory", 0.5, lambda *_: True, _nothing,
        operations.by_docker("update", "--memory", "{0}", "--memory-swap", "{0}"), ("128m", "192m", "256m"),
    ),
    Action("connect", 0.5, lambda m, _: _is_active(m) and not m.connected, _set(connected=True), operations.connect),
    Action("disconnect", 1, lambda m, _: _is_active(m) and m.connected, _set(connected=False), operations.disconnect),
    Action(
        "detach", 0.5, lambda m, _: _is_active(m) and m.attached, _set(detached=True), operations.by_vtapd("detach"),
        needs_daemon=True,
    ),
    Action(
        "attach", 2, lambda m, _: _is_active(m) and m.detached, _set(detached=False, done=False),
        operations.by_vtapd("attach"),
        needs_daemon=True,
    ),
    Action(
        "crash", 1, lambda m, path: _is_active(m) and m.has_guest and m.comes_back(path), _nothing,
        operations.tell_guest,
        FAILING + CLEAN,
    ),
    Action(
        "finish", 1, lambda m, path: _is_active(m) and m.has_guest and not m.comes_back(path), _finish,
        operations.finish, FAILING + CLEAN, needs_daemon=True,
    ),
    Action("kill QEMU", 1, lambda m, _: m.has_guest and m.restart != "no", _nothing, operations.signal_qemu(SIGKILL)),
    Action(
        "freeze QEMU", 0.3, lambda m, _: m.has_guest and m.restart != "no", _nothing, operations.signal_qemu(SIGSTOP),
    ),
    Action("kill init", 0.5, lambda m, _: _is_active(m) and m.docker_restarts, _begin_run, operations.kill_init),
)  # fmt: skip  # one row each

HOST_ACTIONS = (
    HostAction("kill vtapd", 1, lambda w: w.daemon_runs, _set(daemon_runs=False), operations.kill_daemon),
    HostAction("stop vtapd", 1, lambda w: w.daemon_runs, _set(daemon_runs=False), operations.stop_daemon),
    HostAction("start vtapd", 4, lambda w: not w.daemon_runs, _set(daemon_runs=True), operations.start_daemon),
    HostAction("cut the event stream", 1, lambda w: w.daemon_runs, _nothing, operations.cut_streams),
    HostAction("restart dockerd", 0.3, lambda _: True, _nothing, operations.restart_docker, alone=True),
)
