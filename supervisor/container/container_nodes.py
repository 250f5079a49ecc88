"""Where one run of a container has the nodes of its taps, and whose they are."""

import os
from collections.abc import Callable

from supervisor.core.container import FileOwner, Pid
from supervisor.core.devices.bpf_rules import Rule
from supervisor.core.links import DeviceNumber
from supervisor.edges.kernel import device_nodes, process
from supervisor.errors import Rejected, Step

_DAEMON = FileOwner(0, 0)


class ContainerNodes:
    """The container's /dev, or a folder of the daemon's own if no device can be opened in that /dev.

    The daemon opens the taps of guests itself, so they need no node in the container. Owns that folder: `close` it.
    """

    def __init__(self, pid: Pid, dev: int, own_rules: Callable[[], tuple[Rule, ...]]) -> None:
        """`own_rules` returns the container's own device rules."""
        self._pid = pid
        self._own_rules = own_rules
        self.unusable_because = device_nodes.why_unusable(pid, dev)
        """Why the container can open no node."""
        self.folder = device_nodes.open_own_folder() if self.unusable_because else os.dup(dev)

    def close(self) -> None:
        os.close(self.folder)

    def require(self) -> None:
        """Raises Rejected if the container can open no node: a tap would be of no use to it."""
        if self.unusable_because is None:
            return
        raise Rejected(
            f"it can have no /dev/tap0: {self.unusable_because}",
            step=Step.NODE,
            remedy="start it with docker run --userns=host, or without a mount of its own on /dev; or give it a guest, "
            "which needs no node (label vtapd.kernel); or leave it alone with label vtapd.enable=false",
        )

    def observe(self, slots: set[int], majors: set[int]) -> tuple[tuple[int, DeviceNumber], ...]:
        """Return which slots have nodes of these major numbers, and their numbers."""
        return device_nodes.observe_nodes(self.folder, slots, majors)

    def observe_ungiven(self, slots: set[int]) -> frozenset[int]:
        """Return the slots whose nodes do not belong to the container's user yet."""
        return device_nodes.observe_ungiven(self.folder, slots, self._owner()) if slots else frozenset()

    def make(self, slot: int, device: DeviceNumber, others: Callable[[], frozenset[DeviceNumber]]) -> None:
        """Create a node, or give it to the container's user.

        The node of a macvtap that the container made for itself stays, and of one that Docker was asked to allow.
        `others` returns the numbers of the former.
        """

        def is_foreign(found: DeviceNumber) -> bool:
            granted = {(rule.major, rule.minor) for rule in self._own_rules() if rule.type != "b"}
            return (found.major, found.minor) in granted or found in others()

        device_nodes.make_node(self.folder, slot, device, self._owner(), is_foreign)

    def remove(self, slot: int, device: DeviceNumber) -> None:
        device_nodes.remove_node(self.folder, slot, device)

    def sweep(self, slots: set[int]) -> None:
        """Complete or undo what a daemon that was killed had begun."""
        device_nodes.sweep(self.folder, slots)

    def _owner(self) -> FileOwner:
        return _DAEMON if self.unusable_because else process.observe_file_owner(self._pid)
