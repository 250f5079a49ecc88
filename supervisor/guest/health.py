"""Probe one guest over its network: until it is ready, and from then on whether it still answers.

A probe is made from the host. If the host has no way into the network (macvlan, some overlays), it is made from a
temporary link next to the guest's, in the container's namespace. Time in which the guest is not let run does not count:
its container is frozen (`docker pause`) or throttled, or the host is suspended.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import anyio
import structlog

from supervisor.core.attach.ownership import own_mac
from supervisor.core.backoff import Backoff
from supervisor.core.container import ContainerHandles, Pid
from supervisor.core.formats.frames import Target
from supervisor.core.guest.console_scanner import ConsoleSearch
from supervisor.core.guest.health_spec import Aliveness, Probe, Readiness
from supervisor.core.guest.regex import compile_pattern
from supervisor.core.guest.stillness import share_let_run, was_held
from supervisor.core.links import Link
from supervisor.core.record import Whereabouts
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import netns
from supervisor.edges.kernel.cgroup_activity import is_frozen, observe_activity
from supervisor.edges.kernel.links import SIBLING, Links
from supervisor.edges.probes import direct, macvlan
from supervisor.errors import Permanent, Step, Transient
from supervisor.guest.activity import Activity

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_READY_POLL = Backoff(first_s=0.02, last_s=1.0, growth=1.5)
_LONGEST_ANSWER_S = 5.0
_LOOK_S = 0.1
"""How often it is looked for a pause while a probe waits for its answer."""

Way = Callable[[Whereabouts, Probe, float, Callable[[int], None]], Awaitable[bool | None]]
"""Return whether the guest gives the right answer; None if it gives none in this way. The last argument: `announce`."""


class Health:
    """The health check of one guest. `run` it once QEMU runs."""

    def __init__(
        self,
        handles: ContainerHandles,
        where: Whereabouts | None,
        ready: Readiness | None,
        alive: Aliveness | None,
        patience_s: float,
        *,
        adopted: bool,
        activity: Activity,
        falls_asleep: Callable[[], bool],
    ) -> None:
        """`patience_s`: how long a guest without `ready` may take for its first answer.

        `adopted`: an earlier daemon has watched it, and it is taken to answer until it does not. `activity`: the
        guest's, in which the packets of a probe do not count. `falls_asleep`: whether the guest is to fall asleep. A
        probe would wake it again.
        """
        self.answers: bool | None = True if alive is None or adopted else None
        """Whether it answers `vtapd.alive`; None before it has answered for the first time, or is ready."""
        self._activity = activity
        self._falls_asleep = falls_asleep
        self._init = handles.pid
        self._cgroup = handles.cgroup
        self._where = where
        self._way: Way | None = None
        """The way in which a probe was answered. Until then each probe is made in all ways."""
        self._failure = ""
        """Why the last probe could not be made, so that each reason is logged once."""
        self._ready = ready
        self._alive = alive
        self._patience_s = patience_s
        self._search = ConsoleSearch(compile_pattern(ready.pattern)) if ready and ready.pattern else None
        self._pattern_found = anyio.Event()

    def feed(self, output: bytes) -> None:
        """Take the guest's console output, for `vtapd.ready=console:`."""
        if self._search is not None and not self._pattern_found.is_set() and self._search.feed(output):
            self._pattern_found.set()

    async def run(self, on_ready: Callable[[], None], on_change: Callable[[], None], *, is_ready: bool) -> str | None:
        """Call `on_ready` once the guest is ready. Return what it left unanswered once it hangs.

        `on_change` is called when `answers` has changed. Return None if nothing is to be watched. `is_ready`: an
        earlier daemon found it ready.
        """
        if self._ready is not None and not is_ready:
            await self._await_ready(self._ready)
            self.answers = True
            on_ready()
        if self._alive is None:
            return None
        first_patience_s = 0.0 if self._ready or is_ready else self._patience_s
        await self._watch(self._alive, on_change, first_patience_s=first_patience_s)
        return str(self._alive)

    async def _await_ready(self, ready: Readiness) -> None:
        if ready.probe is None:
            await self._pattern_found.wait()
            return
        for delay_s in _READY_POLL.delays_s():
            if await self._answers(ready.probe, _LONGEST_ANSWER_S):
                return
            await anyio.sleep(delay_s)

    async def _watch(self, alive: Aliveness, on_change: Callable[[], None], first_patience_s: float) -> None:
        """Return once it hangs. Before its first answer it may be silent for `first_patience_s`."""
        fails, silent_s, has_answered, early = 0.0, 0.0, False, _READY_POLL.delays_s()
        while fails < alive.fails or (not has_answered and silent_s < first_patience_s):
            before, answered = observe_activity(self._cgroup), self.answers
            await anyio.sleep(alive.every_s if answered is not None else min(next(early), alive.every_s))
            if self._falls_asleep():
                continue
            with self._activity.probing():
                answers, held = await self._answers_if_let_run(alive.probe, min(alive.every_s, _LONGEST_ANSWER_S))
            if answers:
                fails, has_answered, self.answers = 0.0, True, True
            elif answers is None and not held:
                self.answers = self.answers is not False  # it cannot be asked, which is no fault of the guest
            elif answers is False and not held:
                after = observe_activity(self._cgroup)
                share = share_let_run(before, after)
                fails, silent_s = fails + share, silent_s + share * (after.at_s - before.at_s)
                if fails >= 1.0 and answered is not None:
                    self.answers = False
            if self.answers != answered:
                on_change()

    async def _answers_if_let_run(self, probe: Probe, timeout_s: float) -> tuple[bool | None, bool]:
        """Return as `_answers`, and whether it did not run for a part of that time, so that no answer says nothing."""
        before = observe_activity(self._cgroup)
        if before.frozen:
            return None, True
        was_frozen, answers = False, None
        error: Permanent | None = None

        async def look_for_a_short_pause() -> None:
            nonlocal was_frozen
            while True:
                await anyio.sleep(_LOOK_S)
                was_frozen = was_frozen or is_frozen(self._cgroup)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look_for_a_short_pause)
            try:
                answers = await self._answers(probe, timeout_s)
            except Permanent as caught:  # the group would put it into an ExceptionGroup
                error = caught
            tasks.cancel_scope.cancel()
        if error is not None:
            raise error
        return answers, was_frozen or was_held(before, observe_activity(self._cgroup))

    async def _answers(self, probe: Probe, timeout_s: float) -> bool | None:
        """Return whether the guest answers; None if the probe could not be made."""
        if self._where is None:
            remedy = "connect it to a network: docker network"
            raise Permanent("the guest's address is unknown", step=Step.HEALTH, remedy=remedy)
        try:
            for way in (self._way,) if self._way else (_probe_from_host, self._probe_from_namespace):
                answer = await way(self._where, probe, timeout_s, self._activity.leave_out)
                if answer is not None:
                    self._way = way
                    return answer
        except (Transient, OSError) as error:
            if str(error) != self._failure:
                log.warning("health_probe_failed", error=str(error))
            self._failure = str(error)
            return None
        return False

    async def _probe_from_namespace(
        self, where: Whereabouts, probe: Probe, timeout_s: float, announce: Callable[[int], None]
    ) -> bool | None:
        return await _probe_from_sibling(self._init, where, probe, timeout_s, announce) or None


async def _probe_from_host(
    where: Whereabouts, probe: Probe, timeout_s: float, announce: Callable[[int], None]
) -> bool | None:
    if probe.port is None:
        return await direct.answers_ping(where.ip, timeout_s, announce) or None
    if probe.path is not None:
        return await direct.answers_http(where.ip, probe.port, probe.path, timeout_s, announce)
    return await direct.accepts_tcp(where.ip, probe.port, timeout_s, announce) or None


async def _probe_from_sibling(
    init: Pid, where: Whereabouts, probe: Probe, timeout_s: float, announce: Callable[[int], None]
) -> bool:
    """Probe from a macvlan on the guest's interface. A guest without IPv4 never answers.

    A connection is requested in the gateway's name. A guest without a gateway gets an ARP probe instead. HTTP cannot be
    asked in this way, because the gateway would reset the connection. Raises Transient if the probe cannot be made.
    """
    if ":" in where.ip:
        return False
    target = Target(where.mac, where.ip)
    handles = netns.open_netns(init)
    with ExitStack() as owned:
        owned.callback(os.close, handles.sysfs)
        links = Links(handles.netlink)
        owned.callback(links.close)
        packets = netns.call_inside(init, macvlan.open_packets)
        owned.enter_context(packets)
        mac = own_mac(str(init), SIBLING)
        owned.callback(links.delete_sibling, mac)
        link = _create_sibling(links, where.interface, mac)
        if probe.port is None or where.gateway is None:
            return await macvlan.has_address(packets, SIBLING, link.mac, target, timeout_s)
        return await macvlan.accepts_tcp(
            packets, SIBLING, link.mac, target, probe.port, where.gateway, timeout_s, announce
        )


def _create_sibling(links: Links, interface: str, mac: str) -> Link:
    interfaces = links.observe(with_routes=False, now_s=boottime_s()).interfaces
    parent = next((each for each in interfaces if each.name == interface), None)
    if parent is None:
        raise Transient(f"interface {interface} is gone", step=Step.HEALTH)
    return links.create_sibling(parent, mac)
