"""Add network cards to a QEMU that runs, and remove them, over QMP."""

from contextlib import suppress

from supervisor.core.guest.qemu_argv import card_properties
from supervisor.core.guest.qemu_inputs import Card, device_name, netdev_name
from supervisor.core.kinds.kind import Machine
from supervisor.errors import Transient
from supervisor.guest.qmp_monitor import QmpMonitor


class Nics:
    """The network cards of one running QEMU."""

    def __init__(self, monitor: QmpMonitor, machine: Machine) -> None:
        self._monitor = monitor
        self._machine = machine

    async def plug(self, card: Card) -> None:
        """Add a card with one queue. Raises Transient if the machine refuses it, and leaves nothing of it behind."""
        if await self._exists(card):
            return
        await self._delete("netdev_del", card.netdev)  # a daemon that was killed may have left it
        netdev = {"type": "tap", "id": card.netdev, "fd": card.netdev}
        await self._monitor.execute("netdev_add", netdev, {card.netdev: card.queues[0]})
        try:
            await self._monitor.execute("device_add", {"driver": self._machine.nic, **card_properties(card)})
        except Transient:
            await self._delete("netdev_del", card.netdev)
            raise

    async def unplug(self, slot: int) -> None:
        """Detach the tap at once and request the guest to release the card; a guest may ignore the request."""
        await self._delete("netdev_del", netdev_name(slot))
        await self._delete("device_del", device_name(slot))

    async def _exists(self, card: Card) -> bool:
        """Return whether a daemon that was killed plugged the card before it could record that."""
        devices = await self._monitor.execute("qom-list", {"path": "/machine/peripheral"})
        return isinstance(devices, list) and any(each.get("name") == card.device for each in devices)

    async def _delete(self, command: str, name: str) -> None:
        """Delete it if it exists. What QEMU does not release has no effect without its tap."""
        with suppress(Transient):
            await self._monitor.execute(command, {"id": name})
