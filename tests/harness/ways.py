"""Whatever the daemon does to a container, each from a prepared stage to what is desired."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from .device_numbers import take_lower_numbers
from .doomed import insides
from .observe import qemus_of
from .processes import run
from .stage import GUEST, Bench, Stage
from .waiting import eventually

DOCKERS_PATIENCE_S = 3
"""For a stop of which the next daemon knows nothing."""
ENDS_S = 20.0


class Over(Enum):
    """When the daemon has made its last change on a way."""

    ACTED = auto()
    REACHED = auto()
    GONE = auto()
    """When nothing is left of the container any more."""


@dataclass(frozen=True)
class Way:
    prepare: Callable[[Bench], Stage]
    act: Callable[[Bench, Stage], None]
    """Sets the daemon to it. May wait for its end, or for the daemon's."""
    reached: Callable[[Bench, Stage], None]
    """What was desired is, whatever became of the daemon meanwhile; or it fails."""
    over: Over
    exact: bool = False
    """A detach afterwards must make the container what it was."""


def see(bench: Bench, _stage: Stage) -> None:
    bench.daemon.go_on()


def crash(_bench: Bench, stage: Stage) -> None:
    stage.container.tell("/crash")


def restarted(bench: Bench, stage: Stage) -> None:
    metrics = bench.daemon.metrics
    eventually(lambda: metrics().restarts(stage.container.name) == 1, "it was restarted, once")
    bench.prove_serves(stage)
    assert metrics().exits(stage.container.name) == 1
    assert stage.container.qemu() != stage.qemu


def detach(bench: Bench, stage: Stage) -> None:
    with suppress(OSError):
        bench.daemon.order("detach", stage.container)


def attach(bench: Bench, stage: Stage) -> None:
    with suppress(OSError):
        bench.daemon.order("attach", stage.container)


def detached(bench: Bench) -> Stage:
    stage = bench.attached()
    bench.daemon.order("detach", stage.container)
    return stage


def attached_again(bench: Bench, stage: Stage) -> None:
    """The operator asks once more, unless the first time was noted."""
    if bench.daemon.wants_detached(stage.container):
        bench.daemon.order("attach", stage.container)
    bench.prove_attached(stage)


def stop_guest(bench: Bench, stage: Stage) -> None:
    with suppress(OSError):
        bench.daemon.order("stop", stage.container)


def start_guest(bench: Bench, stage: Stage) -> None:
    with suppress(OSError):
        bench.daemon.order("start", stage.container)


def stopped(bench: Bench) -> Stage:
    stage = bench.serving()
    bench.daemon.order("stop", stage.container)
    return stage


def is_stopped(bench: Bench, stage: Stage) -> None:
    """The operator asks once more, unless the first time was noted; the container has its own back."""
    if not bench.daemon.holds(stage.container):
        bench.daemon.order("stop", stage.container)
    bench.daemon.await_state(stage.container.name, "exited")
    eventually(lambda: insides(stage.container).eth0 == stage.before.eth0, "the container has its address back")
    assert not qemus_of(stage.container.id)


def is_started(bench: Bench, stage: Stage) -> None:
    if bench.daemon.holds(stage.container):
        bench.daemon.order("start", stage.container)
    bench.prove_serves(stage)


def change_mtu(bench: Bench, stage: Stage) -> None:
    """The kernel lowers the tap's with its parent's, and leaves it there; a pause makes the daemon look."""
    for mtu in ("1400", "1500"):
        run(["nsenter", f"--net=/proc/{stage.container.pid}/ns/net", "ip", "link", "set", "eth0", "mtu", mtu])
    for word in ("pause", "unpause"):
        bench.machine.docker(word, stage.container.id)


def mtu_follows(bench: Bench, stage: Stage) -> None:
    eventually(lambda: stage.container.macvtap().mtu == 1500, "the tap has its interface's MTU again")
    bench.prove_attached(stage)


def on_two_networks(bench: Bench) -> Stage:
    stage = bench.caring_for_itself()
    bench.connect(stage)
    bench.prove_cards(stage, 2)
    return stage


def disconnect(bench: Bench, stage: Stage) -> None:
    bench.machine.docker("network", "disconnect", bench.second, stage.container.id)


def give_number_away(bench: Bench, stage: Stage) -> None:
    """The neighbour deletes its tap, and the next one that is made gets its number."""
    assert stage.neighbour is not None
    neighbour = stage.neighbour
    take_lower_numbers(neighbour, neighbour.tap_device())
    run(["nsenter", f"--net=/proc/{neighbour.pid}/ns/net", "ip", "link", "delete", neighbour.tap_name])
    bench.daemon.go_on()


def stop(bench: Bench, stage: Stage) -> None:
    bench.ask_docker(stage, "stop", "-t", str(DOCKERS_PATIENCE_S))


def remove(bench: Bench, stage: Stage) -> None:
    bench.ask_docker(stage, "rm", "-f")


def ended(_bench: Bench, stage: Stage) -> None:
    eventually(lambda: not stage.container.is_running(), "the container has ended")


def removed(_bench: Bench, stage: Stage) -> None:
    assert stage.asked is not None
    stage.asked.join()


def shut_down(bench: Bench, _stage: Stage) -> None:
    assert bench.daemon.process is not None
    bench.daemon.process.terminate()
    bench.daemon.process.wait(ENDS_S)


def adopted(bench: Bench, stage: Stage) -> None:
    if not bench.daemon.is_running():
        bench.daemon.start()
    bench.prove_serves(stage)
    assert stage.container.qemu() == stage.qemu


WAYS = {
    "attach": Way(Bench.started, see, Bench.prove_attached, Over.REACHED, exact=True),
    "takeover": Way(lambda bench: bench.started(**GUEST), see, Bench.prove_serves, Over.REACHED, exact=True),
    "stale number": Way(Bench.beside_a_thief, give_number_away, Bench.prove_alone, Over.REACHED, exact=True),
    "restart": Way(Bench.serving, crash, restarted, Over.REACHED),
    "detach": Way(Bench.serving, detach, Bench.prove_detached, Over.ACTED),
    "attach again": Way(detached, attach, attached_again, Over.ACTED, exact=True),
    "mtu": Way(Bench.attached, change_mtu, mtu_follows, Over.REACHED),
    "stop": Way(Bench.serving, stop, ended, Over.GONE),
    "removal": Way(Bench.serving, remove, removed, Over.GONE),
    "done": Way(lambda bench: bench.serving(restart="no"), crash, ended, Over.GONE),
    "shutdown": Way(Bench.serving, shut_down, adopted, Over.ACTED),
}
CARDS = {
    "connect": Way(Bench.caring_for_itself, Bench.connect, lambda b, s: b.prove_cards(s, 2), Over.REACHED),
    "disconnect": Way(on_two_networks, disconnect, lambda b, s: b.prove_cards(s, 1), Over.REACHED),
}
ORDERS = {
    "stop a guest": Way(Bench.serving, stop_guest, is_stopped, Over.ACTED, exact=True),
    "start a guest": Way(stopped, start_guest, is_started, Over.REACHED, exact=True),
}
"""These and CARDS have nothing to do with cgroups."""
