"""Whatever the daemon does to a container, each from a prepared stage to what is desired."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

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


def change_mtu(bench: Bench, stage: Stage) -> None:
    """The kernel lowers the tap's with its parent's, and leaves it there; a pause makes the daemon look."""
    for mtu in ("1400", "1500"):
        run(["nsenter", f"--net=/proc/{stage.container.pid}/ns/net", "ip", "link", "set", "eth0", "mtu", mtu])
    for word in ("pause", "unpause"):
        bench.machine.docker(word, stage.container.id)


def mtu_follows(bench: Bench, stage: Stage) -> None:
    eventually(lambda: stage.container.macvtap().mtu == 1500, "the tap has its interface's MTU again")
    bench.prove_attached(stage)


def plug(bench: Bench, stage: Stage) -> None:
    bench.machine.docker("network", "connect", bench.later_network, stage.container.id)


def plugged(bench: Bench, stage: Stage) -> None:
    bench.prove_cards(stage, 2)


def with_a_second_card(bench: Bench) -> Stage:
    stage = bench.caring()
    plug(bench, stage)
    plugged(bench, stage)
    return stage


def unplug(bench: Bench, stage: Stage) -> None:
    bench.machine.docker("network", "disconnect", bench.later_network, stage.container.id)


def unplugged(bench: Bench, stage: Stage) -> None:
    bench.prove_cards(stage, 1)


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
    "restart": Way(Bench.serving, crash, restarted, Over.REACHED),
    "detach": Way(Bench.serving, detach, Bench.prove_detached, Over.ACTED),
    "attach again": Way(detached, attach, attached_again, Over.ACTED, exact=True),
    "mtu": Way(Bench.attached, change_mtu, mtu_follows, Over.REACHED),
    "plug": Way(Bench.caring, plug, plugged, Over.REACHED),
    "unplug": Way(with_a_second_card, unplug, unplugged, Over.REACHED),
    "stop": Way(Bench.serving, stop, ended, Over.GONE),
    "removal": Way(Bench.serving, remove, removed, Over.GONE),
    "done": Way(lambda bench: bench.serving(restart="no"), crash, ended, Over.GONE),
    "shutdown": Way(Bench.serving, shut_down, adopted, Over.ACTED),
}
