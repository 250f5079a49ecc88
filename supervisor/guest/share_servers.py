"""Start a virtiofsd for each share that goes by virtiofs. It ends with its QEMU, whose connection it serves.

It runs where QEMU runs: in the container's namespaces and cgroup, in QEMU's file system with this one share in it, as
the guest's user. Only in its user namespace, in which nothing exists but that user, it has rights.
"""

import resource
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import anyio

from supervisor.core.container import ContainerHandles, ContainerId, User
from supervisor.core.guest.virtiofsd_argv import server_arguments, server_name
from supervisor.core.kinds.shares import SharedFolder
from supervisor.core.record import ProcessRecord, ShareServer
from supervisor.edges import unix_sockets
from supervisor.edges.kernel import process
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.edges.qemu.virtiofsd import INSTALL, find_virtiofsd
from supervisor.errors import Rejected, Step
from supervisor.guest.boot_files import own
from supervisor.guest.confinement import LaunchEnvironment
from supervisor.guest.context import GuestContext
from supervisor.guest.qemu_cgroup import join_cgroup
from supervisor.guest.qemu_process import RunningServer, SocketPaths
from supervisor.guest.shares import VIRTIOFS, open_shares

_MOST_FILES = 1 << 20
"""It keeps a descriptor for each file that the guest knows. They count towards the container's memory."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A listening socket for virtiofsd, and the connection in it for QEMU. Descriptors."""

    listener: int
    connection: int


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where the servers of one guest run."""

    container_id: ContainerId
    handles: ContainerHandles
    environment: LaunchEnvironment
    namespaces: Sequence[tuple[int, int]]
    user: User
    folder: int
    """The working directory."""


def connect_servers(opened: ExitStack, paths: SocketPaths, shares: Sequence[SharedFolder]) -> dict[int, Channel]:
    """Return a channel for each share by virtiofs, by its number. `opened` closes them."""
    channels = {}
    for share in (each for each in shares if each.by == VIRTIOFS):
        sockets = unix_sockets.listen_for_one(paths.share(share.number))
        channels[share.number] = Channel(*(own(opened, each.detach()) for each in sockets))
    return channels


async def start_servers(
    context: GuestContext,
    undo: ExitStack,
    place: ServerPlace,
    shares: Sequence[SharedFolder],
    channels: Mapping[int, Channel],
) -> tuple[RunningServer, ...]:
    """Start the servers. The caller owns them; `undo` ends them.

    Raises Rejected, naming the label, if the machine has no virtiofsd.
    """
    started = []
    for share in (each for each in shares if each.number in channels):
        server = await _start(context, undo, place, share, channels[share.number].listener)
        started.append(server)
    return tuple(started)


async def _start(
    context: GuestContext, undo: ExitStack, place: ServerPlace, share: SharedFolder, listener: int
) -> RunningServer:
    program = find_virtiofsd()
    if program is None:
        raise Rejected(f"label {share.label}: there is no virtiofsd", step=Step.SHARE, remedy=INSTALL)
    name = server_name(place.container_id, share.number)
    limits = context.uids.limits(place.user, 1) | {resource.RLIMIT_NOFILE: _MOST_FILES}
    with ExitStack() as opened:
        mounted = await open_shares(opened, context.reaper, place.environment, place.handles, (share,), place.user)
        order = SpawnOrder(
            program.path,
            server_arguments(name, share.number, listener, caches_metadata=program.caches_metadata),
            place.user,
            place.folder,
            (listener,),
            limits,
            place.namespaces,
            mounted.mounts,
            mounted.user_namespace,
            has_rights_there=True,
        )
        with anyio.CancelScope(shield=True):
            child = await context.reaper.spawn(order)
    server = RunningServer(ShareServer(share.number, child.pid, child.start_ticks), child)
    undo.callback(server.close)
    undo.callback(server.kill)
    await join_cgroup(place.handles.cgroup, child.pid, "tcg", started=True)
    return server


def find_servers(container_id: ContainerId, record: ProcessRecord) -> tuple[RunningServer, ...]:
    """Return the servers of a guest that an earlier daemon started."""
    return tuple(
        RunningServer(
            server, process.find_process(server.pid, server.start_ticks, server_name(container_id, server.number))
        )
        for server in record.servers
    )
