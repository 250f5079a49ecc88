"""Find the containers that have a device number on record.

The kernel gives the number of a macvtap that was deleted to the next one. As long as a container has such a number on
record it may have a rule or a node for it, and could open the tap of another container. So each new tap's number is
looked up here, in constant time.
"""

from supervisor.core.container import ContainerId
from supervisor.core.links import DeviceNumber
from supervisor.core.record import Record


class DeviceIndex:
    """The device numbers of all records. The writer of records calls `note` for each change."""

    def __init__(self) -> None:
        self._holders: dict[DeviceNumber, set[ContainerId]] = {}
        self._held: dict[ContainerId, frozenset[DeviceNumber]] = {}

    def note(self, container_id: ContainerId, record: Record | None) -> None:
        """Take over the device numbers of the container's record; None if it has no record now."""
        held = frozenset(entry.device for entry in record.taps if entry.device) if record else frozenset()
        before = self._held.pop(container_id, frozenset())
        for device in before - held:
            self._holders[device].discard(container_id)
            if not self._holders[device]:
                del self._holders[device]
        for device in held - before:
            self._holders.setdefault(device, set()).add(container_id)
        if held:
            self._held[container_id] = held

    def others(self, device: DeviceNumber, container_id: ContainerId) -> tuple[ContainerId, ...]:
        """Return the other containers that have this number on record."""
        return tuple(sorted(self._holders.get(device, set()) - {container_id}))

    def majors(self) -> frozenset[int]:
        """Return the major numbers of the devices on record."""
        return frozenset(device.major for device in self._holders)

    def contested(self) -> dict[DeviceNumber, tuple[ContainerId, ...]]:
        """Return the numbers that more than one container has on record, with these containers."""
        return {device: tuple(sorted(ids)) for device, ids in self._holders.items() if len(ids) > 1}
