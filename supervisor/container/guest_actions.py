"""Carry out the actions of a plan that concern a container's guest."""

from supervisor.container.description import Description
from supervisor.container.link_services import LinkServices
from supervisor.container.observer import ContainerObserver
from supervisor.core.attach.actions import (
    KeepSnapshot,
    PlugNic,
    RefreshGuest,
    ResumeGuest,
    SleepGuest,
    StartGuest,
    StopGuest,
    UnplugNic,
)
from supervisor.errors import ContainerGone, Permanent, Transient
from supervisor.guest.controller import GuestController
from supervisor.guest.launch_request import StartRequest

GuestAction = StartGuest | KeepSnapshot | RefreshGuest | StopGuest | SleepGuest | ResumeGuest | PlugNic | UnplugNic


class GuestActions:
    """The actions on the guest of one run of a container."""

    def __init__(
        self, guest: GuestController, services: LinkServices, observer: ContainerObserver, description: Description
    ) -> None:
        self.start_error: Transient | Permanent | None = None
        """Why the guest could not be started."""
        self._guest = guest
        self._services = services
        self._observer = observer
        self._description = description

    async def carry_out(self, action: GuestAction) -> None:
        """Return once it is done. Raises Transient or Permanent if it failed.

        A guest that cannot be started until an operator acts is recorded as such, and is no error of the plan.
        """
        match action:
            case StartGuest():
                await self._start(action)
            case KeepSnapshot(uplinks):
                await self._guest.keep_snapshot(self._request(StartGuest(uplinks)))
            case RefreshGuest(uplinks):
                await self._guest.refresh(self._request(StartGuest(uplinks)))
            case StopGuest(again, not_before_s):
                await self._guest.stop(again=again, not_before_s=not_before_s)
            case SleepGuest():
                await self._guest.fall_asleep(self._observer.attachment().handles)
            case ResumeGuest():
                await self._guest.resume()
            case PlugNic(uplink):
                await self._guest.plug(self._observer.attachment().handles, uplink)
            case UnplugNic(slot):
                await self._guest.unplug(slot)

    async def _start(self, action: StartGuest) -> None:
        self.start_error = None
        request = self._request(action)
        try:
            await self._guest.start(request)
        except (Transient, Permanent) as error:
            if error.interface or isinstance(error, ContainerGone):
                raise
            error.concern(f"container {request.container.name}")
            self.start_error = error
            if isinstance(error, Transient):
                self._guest.postpone()
                raise
            self._guest.fail(error)

    def _request(self, action: StartGuest) -> StartRequest:
        """Return the request to start QEMU, once the servers on the private link run.

        The guest may ask them as soon as it starts, and the resolver's address is a part of what identifies a start.
        """
        container, attachment = self._description.container, self._observer.attachment()
        assert container is not None, "a container that runs was described"
        self._services.keep_up(attachment)
        return StartRequest(container, attachment.handles, action, self._services.resolver)
