"""Prepare one start of QEMU: its arguments, and the files, sockets and descriptors that it is given."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace

from supervisor.container_log.files import open_log
from supervisor.core.guest.pending import Terms, terms_of
from supervisor.core.guest.qemu_argv import build_arguments
from supervisor.core.guest.qemu_inputs import Descriptors, ShareDevice
from supervisor.core.guest.snapshot import MEMORY, outdated_because
from supervisor.core.kinds.kind import Boot
from supervisor.core.kinds.network import GuestNetwork
from supervisor.core.kinds.shares import SharedFolder
from supervisor.core.record import Identity
from supervisor.core.units import MIB
from supervisor.edges import unix_sockets
from supervisor.edges.kernel import cgroups
from supervisor.edges.qemu import serial
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.edges.qemu.version import stamp_of
from supervisor.errors import Step, Transient
from supervisor.guest.boot_files import boot_module_names, gather_boot_files, own
from supervisor.guest.context import GuestContext
from supervisor.guest.launch_request import Launch
from supervisor.guest.share_servers import Channel, connect_servers
from supervisor.guest.start_inputs import Outdated, StartInputs, identity_of_start, observe_inputs

_ENABLE_EVENTS = b'{"execute": "qmp_capabilities"}\n'


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that QEMU is started with."""

    arguments: list[str]
    descriptors: Descriptors
    folder: BootFolder
    console: socket.socket
    events: socket.socket
    """The reaper's end of QEMU's QMP connection for events."""
    boot: Boot
    network: GuestNetwork | None
    terms: Terms
    """What of the configuration this start follows."""
    identity: Identity
    program: str
    """The stamp of QEMU's file."""
    channels: dict[int, Channel]
    """To the servers of its shares by virtiofs, by number."""
    oom_kills: int
    """How many processes of the container the kernel has killed for lack of memory before."""


async def prepare(context: GuestContext, start: Launch, accel: str, opened: ExitStack, undo: ExitStack) -> Prepared:
    """Gather what QEMU is started with. `undo` closes what outlives the spawn, `opened` the rest.

    Raises Outdated if it is another start than asked for.
    """
    plan, paths, binary = start.plan, start.paths, context.config.guest.qemu
    inputs = await observe_inputs(start, accel, opened)
    folder = start.folder
    if folder is None:
        folder = BootFolder()
        undo.callback(folder.close)
    channels = connect_servers(opened, paths, plan.shares)
    if channels and start.state.memory_file is None:  # virtiofsd reads and writes the guest's memory
        start = replace(start, state=replace(start.state, memory_file=MEMORY))
    boot_disk, modules = await _gather_files(context, start, inputs.boot, folder, opened)
    identity = _identity(context, start, inputs)
    events, qemu_events = _connect_events(opened)
    descriptors = Descriptors(
        boot_disk=boot_disk,
        modules=modules,
        disks=inputs.disks.files,
        cards=inputs.cards,
        qmp=own(opened, unix_sockets.listen(paths.qmp).detach()),
        console=own(opened, unix_sockets.listen(paths.console).detach()),
        events=qemu_events,
        log=_open_log(opened, start),
        shares=tuple(_share_device(share, channels.get(share.number)) for share in plan.shares),
    )
    arguments = build_arguments(
        binary, start.container.id, plan.spec, accel, plan.kind.machine, inputs.boot, descriptors, start.state
    )
    return Prepared(
        arguments=arguments,
        descriptors=descriptors,
        folder=folder,
        console=_connect_console(undo, start),
        events=events,
        boot=inputs.boot,
        network=inputs.network,
        terms=terms_of(plan.spec, context.config.keys_of_starts),
        identity=identity,
        program=stamp_of(binary),
        channels=channels,
        oom_kills=cgroups.observe_oom_kills(start.handles.cgroup),
    )


def _identity(context: GuestContext, start: Launch, inputs: StartInputs) -> Identity:
    """Return the identity of the start of a guest that may be saved. Raises Outdated if it is not the one asked for."""
    if not start.plan.spec.snapshot:
        return ()
    identity = identity_of_start(context, start, inputs)
    if start.identity is not None and (why := outdated_because(start.identity, identity)):
        raise Outdated(why, step=Step.START)
    return identity


def _connect_events(opened: ExitStack) -> tuple[socket.socket, int]:
    """Return both ends of QEMU's QMP connection for events, which are enabled: the reaper's, and QEMU's."""
    events, qemu_events = map(opened.enter_context, socket.socketpair())
    events.sendall(_ENABLE_EVENTS)
    return events, qemu_events.fileno()


def _open_log(opened: ExitStack, start: Launch) -> int | None:
    log = open_log(start.container.pid)
    return None if log is None else own(opened, log)


def _connect_console(undo: ExitStack, start: Launch) -> socket.socket:
    """Connect to the socket on which QEMU will listen. Without a connection it would wait for one, and never boot."""
    console = serial.connect(start.paths.console)
    if console is None:
        raise Transient(f"cannot connect to {start.paths.console}, which was just made", step=Step.SPAWN)
    undo.callback(console.close)
    return console


async def _gather_files(
    context: GuestContext, start: Launch, boot: Boot, folder: BootFolder, opened: ExitStack
) -> tuple[int | None, tuple[str, ...]]:
    """Return the boot disk and the modules' names, once the folder has all that QEMU boots from, and its memory."""
    plan, state, limit = start.plan, start.state, context.config.limits.kernel
    if not state.shared:
        return None, boot_module_names(plan.spec, boot)
    gathered = await gather_boot_files(opened, folder, start.handles.root, plan.spec, plan.kind, boot, limit)
    if state.memory_file is not None:
        folder.reserve(state.memory_file, plan.spec.memory_mib * MIB)
    return gathered


def _share_device(share: SharedFolder, channel: Channel | None) -> ShareDevice:
    return ShareDevice(share.number, share.tag, share.read_only, channel.connection if channel else None)
