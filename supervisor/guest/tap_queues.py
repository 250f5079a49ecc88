"""Keep the open descriptors of a container's taps, so that a guest that starts again gets the same queues.

A QEMU that waits for another one's state has queues of its own, which are detached: it would read their packets before
it has a guest for them. `swap` lets it have all packets from now on.
"""

import os
from contextlib import ExitStack

import anyio

from supervisor.core.attach.actions import Uplink
from supervisor.core.guest.qemu_command import queues_of
from supervisor.core.guest.qemu_inputs import Card
from supervisor.core.links import Tap
from supervisor.edges.kernel import tap
from supervisor.edges.kernel.process import Process
from supervisor.errors import Step, Transient
from supervisor.linux import process_calls

_DELIVERED_S = 0.5
_LOOK_S = 0.0005

Queues = dict[int, tuple[int, ...]]
"""By the tap's slot, one descriptor for each queue."""


class TapQueues:
    """The descriptors by which guests of one container use its taps. Owns them: `close` it."""

    def __init__(self) -> None:
        self._queues: Queues = {}
        self._waiting: Queues = {}
        """Detached ones, for a QEMU that waits for a state."""

    def card(self, nodes: int, uplink: Uplink, queues: int = 1, *, drained: bool = True) -> Card:
        """Return a card on this tap, whose queues are open and attached. `nodes` is the folder with its node.

        `drained`: they are also empty. The queues of a guest that sleeps have what wakes it in them.
        """
        opened = self._opened(self._queues, nodes, uplink, queues)
        for queue in opened:
            tap.attach_queue(queue)
            if drained:
                tap.drain(queue)  # packets for an earlier guest
        return Card(uplink.slot, opened, uplink.tap.mac, uplink.tap.mtu)

    def waiting_card(self, nodes: int, uplink: Uplink, queues: int) -> Card:
        """Return a card on this tap for a QEMU that waits for a state. Its queues are open and detached.

        A packet that comes between opening and detaching stays in the queue until it is attached. So it is called
        before the first guest starts, if that is possible: then it is lost as any packet before it.
        """
        opened = self._opened(self._waiting, nodes, uplink, queues)
        for queue in opened:
            tap.detach_queue(queue)
        return Card(uplink.slot, opened, uplink.tap.mac, uplink.tap.mtu)

    def _opened(self, among: Queues, nodes: int, uplink: Uplink, count: int) -> tuple[int, ...]:
        slot, its_tap = uplink.slot, uplink.tap
        opened = among.get(slot, ())
        if len(opened) != count or not all(map(tap.is_connected, opened)):
            _close(among, slot)
            opened = tap.open_queues(nodes, f"tap{slot}", its_tap.device, its_tap.name, count)
            among[slot] = opened
        return opened

    def adopt(self, process: Process, command: tuple[str, ...], taps: dict[int, Tap]) -> None:
        """Get duplicates of the queues of a QEMU that an earlier daemon started.

        QEMU is not trusted to still have under these numbers what it was started with. Raises Transient then.
        """
        if self._queues:
            return
        found: Queues = {}
        with ExitStack() as owned:
            for slot, numbers in queues_of(command).items():
                found[slot] = tuple(_duplicate(owned, process, number) for number in numbers)
                its_tap = taps.get(slot)
                if its_tap is None or not all(tap.is_tap(each, its_tap.device, its_tap.name) for each in found[slot]):
                    raise Transient(f"QEMU (pid {process.pid}) has no tap {slot} any more", step=Step.TAP)
            owned.pop_all()
        self._queues = found

    def swap(self) -> None:
        """Let the queues that waited receive the packets, and those that received them wait. None is lost meanwhile."""
        for queue in _all(self._waiting):
            tap.attach_queue(queue)
        for queue in _all(self._queues):
            tap.detach_queue(queue)
        self._queues, self._waiting = self._waiting, self._queues

    @property
    def are_waiting_connected(self) -> bool:
        """Whether there are queues that wait, and their taps still exist."""
        waiting = _all(self._waiting)
        return waiting != [] and all(map(tap.is_connected, waiting))

    def discard_waiting(self) -> None:
        """Discard the packets of the queues that wait: they were for a guest that has ended."""
        for queue in _all(self._waiting):
            tap.drain(queue)

    async def await_delivered(self) -> None:
        """Wait until the guest has all packets of the queues that wait. Raises Transient if it does not take them.

        QEMU may still have one that the guest had no buffer for, and drops that when it is paused (net/net.c).
        """
        with anyio.move_on_after(_DELIVERED_S):
            while True:
                if not tap.has_packets(_all(self._waiting)):
                    return
                await anyio.sleep(_LOOK_S)
        raise Transient("the guest does not take the packets that wait for it", step=Step.TAP)

    def close_slot(self, slot: int) -> None:
        """Close the descriptors of one tap, if any are open."""
        _close(self._queues, slot)
        _close(self._waiting, slot)

    def close(self) -> None:
        """Close all descriptors."""
        for slot in {*self._queues, *self._waiting}:
            self.close_slot(slot)


def _all(queues: Queues) -> list[int]:
    return [each for opened in queues.values() for each in opened]


def _close(queues: Queues, slot: int) -> None:
    for queue in queues.pop(slot, ()):
        os.close(queue)


def _duplicate(owned: ExitStack, process: Process, number: int) -> int:
    try:
        duplicate = process_calls.pidfd_getfd(process.pidfd, number)
    except OSError as error:
        message = f"cannot duplicate a tap of QEMU (pid {process.pid}): {error.strerror}"
        raise Transient(message, step=Step.TAP) from error
    owned.callback(os.close, duplicate)
    return duplicate
