"""Answer a guest's DNS queries and DHCP messages on its private link, as long as there is one.

`keep_up` it in every pass: what is missing is opened, and what has no link any more is closed. If something of it
fails, the guest and its link stay as they are.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio.abc
import structlog

from supervisor.container.attachment import Attachment
from supervisor.container.context import Context
from supervisor.container.description import Description
from supervisor.container.on_demand import OnDemand
from supervisor.container.record import ContainerRecord
from supervisor.core.container import Incarnation
from supervisor.core.formats.dhcp import Lease
from supervisor.core.guest.leases import lease_of
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.links import IfIndex
from supervisor.core.record import TapRecord
from supervisor.edges.kernel import link_sockets, netns, process
from supervisor.edges.kernel.link_sockets import NameSockets
from supervisor.errors import ContainerGone, Step, VtapdError
from supervisor.guest.controller import GuestController
from supervisor.guest.lease_server import LeaseServer
from supervisor.guest.name_resolver import NameResolver
from supervisor.guest.name_server import NameServer
from supervisor.guest.name_sources import NameSources
from supervisor.guest.network_config import observe_network

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


_Key = tuple[str, str, IfIndex]
"""Of a server: what it serves, and on which interface."""
_NAMES: _Key = ("names", "", IfIndex(0))


class LinkServices:
    """The servers of one run of a container."""

    def __init__(
        self,
        context: Context,
        tasks: anyio.abc.TaskGroup,
        record: ContainerRecord,
        description: Description,
        incarnation: Incarnation,
        guest: GuestController,
    ) -> None:
        self.query_counts: Counter[str] = Counter()
        """How many DNS queries had each result, since the daemon follows this run."""
        self._context = context
        self._tasks = tasks
        self._record = record
        self._description = description
        self._incarnation = incarnation
        self._guest = guest
        self._services: dict[_Key, OnDemand] = {}
        self._address: str | None = None
        self._failures: dict[_Key, str] = {}
        """The last error of each, so that it is logged once."""

    @property
    def resolver(self) -> str | None:
        """The address on which DNS queries are answered; None if they are not."""
        service = self._services.get(_NAMES)
        return self._address if service is not None and not service.ended else None

    def keep_up(self, attachment: Attachment) -> None:
        """Open what is missing, and close what has no link any more."""
        linked = self._linked()
        address = linked[0].link.address if linked and linked[0].link else None
        if address != self._address:
            self.close()
            self._address = address
        wanted: dict[_Key, Callable[[], OnDemand | None]] = {}
        if address is not None:
            wanted[_NAMES] = partial(self._open_names, attachment, address)
            for entry in linked:
                original = entry.original
                assert original is not None, "a link needs the addresses that were taken over"
                key = ("leases", original.name, entry.parent or original.index)
                wanted[key] = partial(self._open_leases, attachment, address, original.name, original.mac)
        for key in self._services.keys() - wanted.keys():
            self._services.pop(key).close()
        for key, open_it in wanted.items():
            if key not in self._services or self._services[key].ended:
                self._open(key, open_it)

    def close(self) -> None:
        """End all servers."""
        for service in self._services.values():
            service.close()
        self._services.clear()

    def _open(self, key: _Key, open_it: Callable[[], OnDemand | None]) -> None:
        self._services.pop(key, None)
        try:
            service = open_it()
        except (VtapdError, OSError) as error:
            if self._failures.get(key) != str(error):
                log.warning("link_service_failed", service=key[0], error=str(error))
            self._failures[key] = str(error)
            return
        self._failures.pop(key, None)
        if service is not None:  # otherwise its link could not be opened, which is reported
            self._services[key] = service

    def _open_names(self, attachment: Attachment, address: str) -> OnDemand | None:
        sockets = self._enter(partial(link_sockets.open_names, address))
        if sockets is None:
            return None
        serve = partial(self._serve_names, sockets, attachment.root)
        return OnDemand(self._tasks, (sockets.datagrams, sockets.listener), serve)

    async def _serve_names(self, sockets: NameSockets, root: int) -> None:
        sources = NameSources(root, lambda: self._description.container, partial(self._network, root))
        resolver, places = NameResolver(sources, self._enter), self._context.query_places
        await NameServer(sockets, sources, resolver, places, self._guest_ips, self.query_counts).run()

    def _open_leases(self, attachment: Attachment, address: str, interface: str, mac: str) -> OnDemand:
        packets = self._enter(partial(link_sockets.open_leases, interface))
        server = LeaseServer(packets, interface, mac, partial(self._lease, attachment.root, address, mac))
        return OnDemand(self._tasks, (packets,), server.run)

    def _enter(self, open_socket: Callable[[], T]) -> T:
        """Open a socket in the container's network namespace. Raises ContainerGone if the container has ended."""
        if process.has_ended(self._incarnation):
            raise ContainerGone("the container has ended", step=Step.LINK)
        return netns.call_inside(self._incarnation.pid, open_socket)

    def _linked(self) -> list[TapRecord]:
        """Return the entries of the interfaces that the guest has taken over, and that have a link."""
        record = self._record.of(self._incarnation)
        return [entry for entry in record.taps if entry.link and entry.original] if record else []

    def _guest_ips(self) -> frozenset[str]:
        originals = (entry.original for entry in self._linked())
        return frozenset(address.ip for each in originals if each for address in each.addresses if address.family == 4)

    def _network(self, root: int) -> GuestNetwork | None:
        """Return what the guest is given, or would be given if it were started now."""
        container, plan = self._description.container, self._guest.plan
        if container is None or plan is None:
            return None
        cards = [(entry.original, entry.original.mac) for entry in self._linked() if entry.original]
        return observe_network(root, container, plan.spec.address, plan.kind, cards, self.resolver)

    def _lease(self, root: int, address: str, mac: str) -> Lease | None:
        network = self._network(root)
        return lease_of(network, mac, address) if network else None
