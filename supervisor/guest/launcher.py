"""Start QEMU in the container's namespaces and cgroup."""

from contextlib import ExitStack, suppress
from dataclasses import replace

import anyio
import structlog

from supervisor.core.guest.qemu_command import guest_name
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import netns, process
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.errors import ContainerGone
from supervisor.guest.context import GuestContext
from supervisor.guest.launch_request import Launch
from supervisor.guest.preparation import Prepared, prepare
from supervisor.guest.qemu_cgroup import join_cgroup
from supervisor.guest.qemu_process import RunningQemu, RunningServer
from supervisor.guest.reaper import ReaperLost
from supervisor.guest.share_servers import ServerPlace, start_servers
from supervisor.guest.shares import open_shares
from supervisor.guest.start_record import record_of_start
from supervisor.linux import namespace_calls

_ENDS_S = 1.0
NAMESPACES = {"net": namespace_calls.CLONE_NEWNET, "pid": namespace_calls.CLONE_NEWPID}

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def launch(context: GuestContext, start: Launch) -> RunningQemu:
    """Start QEMU in the container's namespaces and cgroup. The caller owns it.

    If any part fails, no descriptor, socket or process is left. Raises Outdated if it is another start than asked for.
    """
    accel = await context.accelerator.choose(start.plan.spec.accel)
    with ExitStack() as undo:
        with ExitStack() as opened:  # which QEMU has duplicates of, once it is spawned
            prepared = await prepare(context, start, accel, opened, undo)
            child, servers, spawned_at_s = await _spawn(context, start, prepared, undo)
        await _take_charge(context, child, start, accel)
        undo.pop_all()
    record = replace(
        record_of_start(start, prepared, child, spawned_at_s), servers=tuple(server.record for server in servers)
    )
    folder = prepared.folder if start.folder is None else None
    return RunningQemu(child, record, prepared.console, folder, servers)


async def _spawn(
    context: GuestContext, start: Launch, prepared: Prepared, undo: ExitStack
) -> tuple[Process, tuple[RunningServer, ...], float]:
    """Start QEMU, after the servers of its shares. Return both, and the time of its start, in seconds since boot."""
    user = context.uids.next_user()
    with ExitStack() as opened:
        environment = await context.confinement.launch_environment(opened)
        namespaces = (*netns.open_namespaces(opened, start.container.pid, NAMESPACES), *environment.namespaces)
        own_shares = [share for share in start.plan.shares if share.number not in prepared.channels]
        shares = await open_shares(opened, context.reaper, environment, start.handles, own_shares, user)
        place = ServerPlace(
            start.container.id, start.handles, environment, namespaces, user, prepared.folder.descriptor
        )
        servers = await start_servers(context, undo, place, start.plan.shares, prepared.channels)
        order = SpawnOrder(
            environment.program,
            prepared.arguments,
            user,
            prepared.folder.descriptor,
            prepared.descriptors.all(),
            context.uids.limits(user, start.plan.spec.cpus),
            namespaces,
            shares.mounts,
            shares.user_namespace,
            events=prepared.events.fileno(),
            report=start.paths.exit,
        )
        spawned_at_s = boottime_s()
        with anyio.CancelScope(shield=True):  # a spawned QEMU must reach its record
            try:
                child = await context.reaper.spawn(order)
            except ReaperLost:
                _end_strays(start, spawned_at_s)
                raise
    return child, servers, spawned_at_s


def _end_strays(start: Launch, since_s: float) -> None:
    """Kill what a reaper had started when it ended itself. Other QEMUs of this name are older, such as the guest's."""
    name = guest_name(start.container.id)
    for pid in process.find_named(name).get(name, ()):
        with suppress(ContainerGone):
            is_new = process.started_at_s(process.start_ticks(pid) + 1) >= since_s  # its ticks are rounded down
            if is_new and process.shares_pid_namespace(pid, start.container.pid):
                log.warning("stray_guest_killed", pid=pid)
                process.kill(pid)


async def _take_charge(context: GuestContext, child: Process, start: Launch, accel: str) -> None:
    """Move QEMU into the container's cgroup. If that fails, kill and close it."""
    try:
        await join_cgroup(start.handles.cgroup, child.pid, accel, started=False)
    except BaseException as error:
        if isinstance(error, ContainerGone) and child.has_ended():
            return  # the one who follows it finds out how
        with anyio.move_on_after(_ENDS_S, shield=True):
            child.kill()
            await anyio.wait_readable(child.pidfd)
            await context.reaper.report_of(child)
        start.paths.exit.unlink(missing_ok=True)
        child.close()
        raise
