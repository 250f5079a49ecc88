"""Keep the open descriptors of a container's taps, so that a guest that starts again gets the same queues."""

import os

from supervisor.core.attach.actions import Uplink
from supervisor.core.guest.qemu_argv import Card
from supervisor.edges.kernel import tap


class TapQueues:
    """The descriptors by which guests of one container use its taps. Owns them: `close` it."""

    def __init__(self) -> None:
        self._queues: dict[int, tuple[int, ...]] = {}
        """By the tap's slot, one descriptor for each queue."""

    def card(self, nodes: int, uplink: Uplink, queues: int = 1, *, drained: bool = True) -> Card:
        """Return a card on this tap, whose queues are open and attached. `nodes` is the folder with its node.

        `drained`: they are also empty. The queues of a guest that sleeps have what wakes it in them.
        """
        slot, its_tap = uplink.slot, uplink.tap
        opened = self._queues.get(slot, ())
        if len(opened) != queues or not all(map(tap.is_connected, opened)):
            self.close_slot(slot)
            opened = tap.open_queues(nodes, f"tap{slot}", its_tap.device, its_tap.name, queues)
            self._queues[slot] = opened
        for queue in opened:
            tap.attach_queue(queue)
            if drained:
                tap.drain(queue)  # packets for an earlier guest
        return Card(slot, opened, its_tap.mac, its_tap.mtu)

    def close_slot(self, slot: int) -> None:
        """Close the descriptors of one tap, if any are open."""
        for queue in self._queues.pop(slot, ()):
            os.close(queue)

    def close(self) -> None:
        """Close all descriptors."""
        for slot in tuple(self._queues):
            self.close_slot(slot)
