"""What the kernel shows of one container's network. It is asked again once it has reported a change.

A resync looks at containers in which nothing has changed. Most of what that costs would be to ask the kernel for all
links, addresses, routes, neighbours and filters.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from supervisor.core.container import Incarnation
from supervisor.core.links import DeviceNumber, Hooks, IfIndex
from supervisor.edges.kernel import netns, process, tap
from supervisor.edges.kernel.links import Links, Network
from supervisor.edges.kernel.network_changes import NetworkChanges
from supervisor.errors import ContainerGone, Step

T = TypeVar("T")


class NetworkView:
    """`begin` each look; `close` it when the container has ended."""

    def __init__(self, incarnation: Incarnation, links: Links, sysfs: int) -> None:
        """The links and the sysfs stay the caller's."""
        self.is_fresh = True
        """Whether everything was asked for since the look began."""
        self._incarnation = incarnation
        self._links = links
        self._sysfs = sysfs
        self._changes: NetworkChanges | None = None
        self._answers: dict[Hashable, object] = {}
        """What the kernel has answered since its last report. Changes during an answer are reported after it."""

    def close(self) -> None:
        if self._changes is not None:
            self._changes.close()

    def begin(self, *, fresh: bool) -> None:
        """Forget what may have changed. With `fresh`, forget everything."""
        if self._changes is None or self._changes.happened() or fresh:
            self._answers.clear()
        if self._changes is None and not fresh:
            self._changes = self._open()  # from now on, changes are reported
        self.is_fresh = not self._answers

    def network(self, with_routes: bool, now_s: float) -> Network:
        """Return the interfaces and the links."""
        return self._once(("network", with_routes), lambda: self._links.observe(with_routes, now_s))

    def hooks(self, interface: IfIndex, its_tap: IfIndex | None) -> Hooks:
        """Return what is on the hooks of an interface and its tap."""
        return self._once(("hooks", interface, its_tap), lambda: self._links.observe_hooks(interface, its_tap))

    def wake_filter(self, its_tap: IfIndex) -> str:
        """Return the name of vtapd's filter on a tap's ingress hook; empty without one."""
        return self._once(("wake filter", its_tap), lambda: self._links.observe_wake_filter(its_tap))

    def device(self, link: IfIndex) -> DeviceNumber | None:
        """Return the number of the device of a macvtap; None if the link has none."""
        return self._once(("device", link), lambda: tap.find_device(self._sysfs, link))

    def _once(self, key: Hashable, ask: Callable[[], T]) -> T:
        if key not in self._answers:
            self._answers[key] = ask()
        return cast("T", self._answers[key])

    def _open(self) -> NetworkChanges:
        """Raises ContainerGone if the container has ended: its namespace may be another process's."""
        changes = NetworkChanges(netns.open_netlink(self._incarnation.pid))
        if process.has_ended(self._incarnation):
            changes.close()
            raise ContainerGone("the container has ended", step=Step.OBSERVE)
        return changes
