"""Start one guest: gather its files, sockets and descriptors, spawn QEMU in the container, move it into the cgroup."""

import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial

import anyio
import structlog

from supervisor import linux
from supervisor.container_log.files import open_log
from supervisor.core.attach.actions import StartGuest
from supervisor.core.container import Container, ContainerHandles
from supervisor.core.guest import qemu_argv
from supervisor.core.guest.addressing import network_of, notes_on_others, whereabouts_of
from supervisor.core.guest.pending import Terms, terms_of
from supervisor.core.guest.snapshot import MEMORY, identity_of, outdated_because
from supervisor.core.kinds.dns import Names
from supervisor.core.kinds.kind import Boot
from supervisor.core.kinds.network import GuestNetwork, names_left_out
from supervisor.core.kinds.shares import SharedFolder
from supervisor.core.record import Identity, ProcessRecord
from supervisor.core.units import MIB
from supervisor.edges import threads, unix_sockets
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroups, netns, process, vhost
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu import serial
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.edges.qemu.reaper_socket import SpawnOrder
from supervisor.edges.qemu.version import stamp_of
from supervisor.errors import ContainerGone, Permanent, Step, Transient
from supervisor.guest.boot_files import Disks, boot_module_names, gather_boot_files, open_disks, own, stamp_files
from supervisor.guest.context import GuestContext
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.network_config import observe_network
from supervisor.guest.qemu_process import RunningQemu, RunningServer, SocketPaths
from supervisor.guest.reaper import ReaperLost
from supervisor.guest.share_servers import Channel, ServerPlace, connect_servers, start_servers
from supervisor.guest.shares import open_shares

_ENDS_S = 1.0
_ENABLE_EVENTS = b'{"execute": "qmp_capabilities"}\n'
NAMESPACES = {"net": linux.CLONE_NEWNET, "pid": linux.CLONE_NEWPID}

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start of QEMU depends on that the container knows. The container's handles stay the caller's."""

    container: Container
    handles: ContainerHandles
    step: StartGuest
    resolver: str | None
    """The address on which vtapd answers the guest's DNS queries; None if it does not."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a guest. The container's handles and the cards' taps stay the caller's."""

    container: Container
    handles: ContainerHandles
    plan: GuestPlan
    step: StartGuest
    cards: tuple[qemu_argv.Card, ...]
    paths: SocketPaths
    resolver: str | None
    """The address on which vtapd answers its DNS queries; None if it does not."""
    state: qemu_argv.GuestState = qemu_argv.COLD_BOOT
    folder: BootFolder | None = None
    """QEMU's working directory, which stays the caller's. A QEMU with a copy of another one's memory finds there what
    that one booted from. None: it gets one of its own."""
    identity: Identity | None = None
    """The start that this one must be like; None if it may be like any."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that QEMU is started with."""

    accel: str
    arguments: list[str]
    descriptors: qemu_argv.Descriptors
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


class Outdated(Permanent):
    """A start of now would be another one than that which a state belongs to."""


async def launch(context: GuestContext, start: Launch) -> RunningQemu:
    """Start QEMU in the container's namespaces and cgroup. The caller owns it.

    If any part fails, no descriptor, socket or process is left. Raises Outdated if it is another start than asked for.
    """
    accel = await context.accelerator.choose(start.plan.spec.accel)
    with ExitStack() as undo:
        with ExitStack() as opened:  # which QEMU has duplicates of, once it is spawned
            prepared = await _prepare(context, start, accel, opened, undo)
            child, servers, spawned_at_s = await _spawn(context, start, prepared, undo)
        await _take_charge(context, child, start, accel)
        undo.pop_all()
    record = replace(_record(start, prepared, child, spawned_at_s), servers=tuple(server.record for server in servers))
    folder = prepared.folder if start.folder is None else None
    return RunningQemu(child, record, prepared.console, folder, servers)


async def identify(context: GuestContext, start: Launch) -> Identity:
    """Return what a start of now would consist of."""
    accel = await context.accelerator.choose(start.plan.spec.accel)
    with ExitStack() as opened:
        inputs = await _observe_inputs(start, accel, opened)
        modules = boot_module_names(start.plan.spec, inputs.boot)
        return _identity(context, start, inputs, _descriptors_of_machine(inputs, modules))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a start depends on, in addition to its plan."""

    accel: str
    network: GuestNetwork | None
    disks: Disks
    boot: Boot
    cards: tuple[qemu_argv.Card, ...]


async def _observe_inputs(start: Launch, accel: str, opened: ExitStack) -> _Inputs:
    plan, root = start.plan, start.handles.root
    on = [(uplink.original, uplink.tap.mac) for uplink in start.step.uplinks]
    network = observe_network(root, start.container, plan.spec.address, plan.kind, on, start.resolver)
    disks = await open_disks(opened, root, plan.spec)
    boot = plan.kind.boot(plan.boot_request(network, disks))
    cards = tuple(_with_vhost(opened, card) for card in start.cards) if accel == "kvm" else start.cards
    return _Inputs(accel, network, disks, boot, cards)


def _descriptors_of_machine(inputs: _Inputs, modules: tuple[str, ...]) -> qemu_argv.Descriptors:
    fds = qemu_argv.Descriptors(None, modules, inputs.disks.files, inputs.cards, qmp=0, console=0, events=0, log=None)
    return qemu_argv.without_numbers(fds)


def _identity(context: GuestContext, start: Launch, inputs: _Inputs, fds: qemu_argv.Descriptors) -> Identity:
    plan = start.plan
    program = context.config.guest.qemu
    arguments = qemu_argv.build_arguments(
        program, start.container.id, plan.spec, inputs.accel, plan.kind.machine, inputs.boot, fds
    )
    files = stamp_files(start.handles.root, plan.spec, inputs.disks, context.config.limits.kernel)
    return identity_of(arguments, inputs.boot.modules, {**files, "QEMU": stamp_of(program)})


async def _prepare(context: GuestContext, start: Launch, accel: str, opened: ExitStack, undo: ExitStack) -> _Prepared:
    """Gather what QEMU is started with. `undo` closes what outlives the spawn, `opened` the rest."""
    plan, paths = start.plan, start.paths
    inputs = await _observe_inputs(start, accel, opened)
    network, boot = inputs.network, inputs.boot
    folder = start.folder
    if folder is None:
        folder = BootFolder()
        undo.callback(folder.close)
    channels = connect_servers(opened, paths, plan.shares)
    if channels and start.state.memory_file is None:  # virtiofsd reads and writes the guest's memory
        start = replace(start, state=replace(start.state, memory_file=MEMORY))
    boot_disk, modules = await _gather_files(context, start, boot, folder, opened)
    identity: Identity = ()
    if plan.spec.snapshot:
        identity = _identity(context, start, inputs, _descriptors_of_machine(inputs, modules))
        if start.identity is not None and (why := outdated_because(start.identity, identity)):
            raise Outdated(why, step=Step.START)
    log = open_log(start.container.pid)
    if log is not None:
        own(opened, log)
    events, qemu_events = map(opened.enter_context, socket.socketpair())
    events.sendall(_ENABLE_EVENTS)
    descriptors = qemu_argv.Descriptors(
        boot_disk=boot_disk,
        modules=modules,
        disks=inputs.disks.files,
        cards=inputs.cards,
        qmp=own(opened, unix_sockets.listen(paths.qmp).detach()),
        console=own(opened, unix_sockets.listen(paths.console).detach()),
        events=qemu_events.fileno(),
        log=log,
        shares=tuple(_share_device(share, channels.get(share.number)) for share in plan.shares),
    )
    binary, machine = context.config.guest.qemu, plan.kind.machine
    arguments = qemu_argv.build_arguments(
        binary, start.container.id, plan.spec, accel, machine, boot, descriptors, start.state
    )
    console = serial.connect(paths.console)
    if console is None:  # QEMU would wait for a connection, and never boot
        raise Transient(f"cannot connect to {paths.console}, which was just made", step=Step.SPAWN)
    undo.callback(console.close)
    terms = terms_of(plan.spec, context.config.keys_of_starts)
    oom_kills = cgroups.observe_oom_kills(start.handles.cgroup)
    return _Prepared(
        accel,
        arguments,
        descriptors,
        folder,
        console,
        events,
        boot,
        network,
        terms,
        identity,
        stamp_of(binary),
        channels,
        oom_kills,
    )


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


def _with_vhost(opened: ExitStack, card: qemu_argv.Card) -> qemu_argv.Card:
    """Add vhost-net if the machine has it. Only a guest that runs on KVM gains from it."""
    return replace(card, vhosts=tuple(own(opened, each) for each in vhost.open_vhosts(len(card.queues))))


def _share_device(share: SharedFolder, channel: Channel | None) -> qemu_argv.ShareDevice:
    return qemu_argv.ShareDevice(share.number, share.tag, share.read_only, channel.connection if channel else None)


async def _spawn(
    context: GuestContext, start: Launch, prepared: _Prepared, undo: ExitStack
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
    name = qemu_argv.guest_name(start.container.id)
    for pid in process.find_named(name).get(name, ()):
        with suppress(ContainerGone):
            is_new = process.started_at_s(process.start_ticks(pid) + 1) >= since_s  # its ticks are rounded down
            if is_new and process.shares_pid_namespace(pid, start.container.pid):
                log.warning("stray_guest_killed", pid=pid)
                process.kill(pid)


async def _take_charge(context: GuestContext, child: Process, start: Launch, accel: str) -> None:
    """Move QEMU into the container's cgroup. If that fails, kill and close it."""
    try:
        directories = start.handles.cgroup.directories_of_qemu(accel, started=False)
        # In a thread: the kernel lets the first move wait for an RCU grace period, 5 to 17 ms.
        await threads.run_in_thread(partial(cgroups.join_cgroup, directories, child.pid))
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


def _record(start: Launch, prepared: _Prepared, child: Process, spawned_at_s: float) -> ProcessRecord:
    plan, boot = start.plan, prepared.boot
    return ProcessRecord(
        child.pid,
        child.start_ticks,
        spawned_at_s,
        plan.kind.name,
        tuple(prepared.arguments),
        tuple(card.slot for card in start.cards),
        whereabouts=whereabouts_of(boot.network or prepared.network, plan.kind.ip_versions or (4, 6)),
        because=plan.because,
        notes=(*_notes(start, prepared), *notes_on_others(start.step.others, plan.needed_versions)),
        terms=prepared.terms,
        oom_kills=prepared.oom_kills,
        identity=prepared.identity,
        folder=prepared.folder.identity if start.folder is not None else "",
        path=prepared.folder.path if start.folder is not None else "",
        program=prepared.program,
        sockets=start.paths.variant,
    )


def _notes(start: Launch, prepared: _Prepared) -> list[str]:
    """Return what an operator should know of this start, a sentence each."""
    plan = start.plan
    notes = [*start.plan.notes, *prepared.boot.notes]
    if prepared.network is None:
        notes += names_left_out(network_of((), start.container, Names()))
    if prepared.descriptors.log is None:
        notes.append("The guest's console is in no log: the container's init has no pipe or terminal as its output.")
    if plan.spec.screen and plan.kind.uses_screen:
        notes.append(
            f"With vtapd.screen=true the console of a {plan.kind.name} guest is on its screen: "
            "docker logs stays empty, and only vtapd.alive notices that the guest has ended."
        )
    return notes
