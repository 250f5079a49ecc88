"""Start one guest: gather its files, sockets and descriptors, spawn QEMU in the container, move it into the cgroup."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import anyio

from supervisor import linux
from supervisor.core.attach.actions import StartGuest
from supervisor.core.guest import qemu_argv
from supervisor.core.guest.addressing import network_of, notes_on_others, whereabouts_of
from supervisor.core.guest.pending import Terms, terms_of
from supervisor.core.kinds.dns import Names
from supervisor.core.kinds.kind import Boot
from supervisor.core.kinds.network import GuestNetwork, names_left_out
from supervisor.core.model import Container, ContainerHandles, ProcessRecord
from supervisor.edges import threads, unix_sockets
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroups, netns, process, vhost
from supervisor.edges.kernel.process import Process
from supervisor.edges.qemu import container_log, serial, spawn
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import Step, Transient
from supervisor.guest.boot_files import gather_boot_files, open_disks, own
from supervisor.guest.context import GuestContext
from supervisor.guest.guest_plan import GuestPlan
from supervisor.guest.network_config import observe_network
from supervisor.guest.qemu_process import RunningQemu, SocketPaths

_ENDS_S = 1.0
NAMESPACES = {"net": linux.CLONE_NEWNET, "pid": linux.CLONE_NEWPID}


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of a guest. The container's handles and the cards' taps stay the caller's."""

    container: Container
    handles: ContainerHandles
    plan: GuestPlan
    step: StartGuest
    cards: tuple[qemu_argv.Card, ...]
    paths: SocketPaths


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that QEMU is started with."""

    accel: str
    arguments: list[str]
    descriptors: qemu_argv.Descriptors
    folder: BootFolder
    console: socket.socket
    boot: Boot
    network: GuestNetwork | None
    terms: Terms
    """What of the configuration this start follows."""


async def launch(context: GuestContext, start: Launch) -> RunningQemu:
    """Start QEMU in the container's namespaces and cgroup. The caller owns it.

    If any part fails, no descriptor, socket or process is left.
    """
    accel = await context.accelerator.choose(start.plan.spec.accel)
    with ExitStack() as undo:
        with ExitStack() as opened:  # which QEMU has duplicates of, once it is spawned
            prepared = await _prepare(context, start, accel, opened, undo)
            child, spawned_at_s = await _spawn(context, start, prepared)
        start_ticks = await _take_charge(child, start.handles, accel)
        undo.pop_all()
    record = _record(start, prepared, child, start_ticks, spawned_at_s)
    return RunningQemu(child, record, prepared.console, prepared.folder)


async def _prepare(context: GuestContext, start: Launch, accel: str, opened: ExitStack, undo: ExitStack) -> _Prepared:
    """Gather what QEMU is started with. `undo` closes what outlives the spawn, `opened` the rest."""
    plan, root, paths = start.plan, start.handles.root, start.paths
    on = [(uplink.original, uplink.tap.mac) for uplink in start.step.uplinks]
    network = observe_network(root, start.container, plan.spec.address, plan.kind, on)
    folder = BootFolder()
    undo.callback(folder.close)
    disks = await open_disks(opened, root, plan.spec)
    boot = plan.kind.boot(plan.boot_request(network, disks))
    limit = context.config.limits.kernel
    boot_disk, modules = await gather_boot_files(opened, folder, root, plan.spec, plan.kind, boot, limit)
    log = container_log.open_log(start.container.pid)
    if log is not None:
        own(opened, log)
    descriptors = qemu_argv.Descriptors(
        boot_disk=boot_disk,
        modules=modules,
        disks=disks.files,
        cards=tuple(_with_vhost(opened, card) for card in start.cards) if accel == "kvm" else start.cards,
        qmp=own(opened, unix_sockets.listen(paths.qmp).detach()),
        console=own(opened, unix_sockets.listen(paths.console).detach()),
        log=log,
    )
    binary, machine = context.config.guest.qemu, plan.kind.machine
    arguments = qemu_argv.build_arguments(binary, start.container.id, plan.spec, accel, machine, boot, descriptors)
    console = serial.connect(paths.console)
    if console is None:  # QEMU would wait for a connection, and never boot
        raise Transient(f"cannot connect to {paths.console}, which was just made", step=Step.SPAWN)
    undo.callback(console.close)
    terms = terms_of(plan.spec, context.config.keys_of_starts)
    return _Prepared(accel, arguments, descriptors, folder, console, boot, network, terms)


def _with_vhost(opened: ExitStack, card: qemu_argv.Card) -> qemu_argv.Card:
    """Add vhost-net if the machine has it. Only a guest that runs on KVM gains from it."""
    return replace(card, vhosts=tuple(own(opened, each) for each in vhost.open_vhosts(len(card.queues))))


async def _spawn(context: GuestContext, start: Launch, prepared: _Prepared) -> tuple[Process, float]:
    """Start the process. Return it with the time of its start, in seconds since boot."""
    user = context.uids.next_user()
    limits = context.uids.limits(user, start.plan.spec.cpus)
    descriptors, folder = prepared.descriptors.all(), prepared.folder.descriptor
    environment = await context.confinement.launch_environment()
    begin = partial(spawn.spawn, environment.program, prepared.arguments, descriptors, folder, user, limits)
    spawned_at_s = boottime_s()
    with anyio.CancelScope(shield=True):  # a spawned QEMU must reach its record
        child = process.watch(*await netns.run_inside(start.container.pid, NAMESPACES, begin, environment.start))
    return child, spawned_at_s


async def _take_charge(child: Process, handles: ContainerHandles, accel: str) -> int:
    """Move QEMU into the container's cgroup and return its start time in ticks. If that fails, kill and close it."""
    try:
        directories = handles.cgroup.directories_of_qemu(accel, started=False)
        # In a thread: the kernel lets the first move wait for an RCU grace period, 5 to 17 ms.
        await threads.run_in_thread(partial(cgroups.join_cgroup, directories, child.pid))
        return process.start_ticks(child.pid)
    except BaseException:
        with anyio.move_on_after(_ENDS_S, shield=True):
            child.kill()
            await anyio.wait_readable(child.pidfd)
            child.reap()
        child.close()
        raise


def _record(start: Launch, prepared: _Prepared, child: Process, start_ticks: int, spawned_at_s: float) -> ProcessRecord:
    plan, boot = start.plan, prepared.boot
    return ProcessRecord(
        child.pid,
        start_ticks,
        spawned_at_s,
        plan.kind.name,
        tuple(prepared.arguments),
        tuple(card.slot for card in start.cards),
        whereabouts=whereabouts_of(boot.network or prepared.network, plan.kind.ip_versions or (4, 6)),
        because=plan.because,
        notes=(*_notes(start, prepared), *notes_on_others(start.step.others, plan.needed_versions)),
        terms=prepared.terms,
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
