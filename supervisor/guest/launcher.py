"""Starts one guest: gathers its files, sockets and descriptors, spawns QEMU in the container, closes them again."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import anyio

from supervisor import linux
from supervisor.core.attach.actions import StartGuest
from supervisor.core.guest import qemu_argv
from supervisor.core.guest.addressing import network_of, notes_on_others, whereabouts_of
from supervisor.core.guest.pending import terms_of
from supervisor.core.guest.spec import GuestSpec
from supervisor.core.kinds import MARKERS, choose_kind, require_bootable
from supervisor.core.kinds.dns import Names
from supervisor.core.kinds.kind import Boot, BootRequest, GuestKind
from supervisor.core.kinds.network import GuestNetwork, names_left_out
from supervisor.core.kinds.refusal import refused
from supervisor.core.model import Container, ContainerHandles, Interface, ProcessRecord
from supervisor.edges import threads, unix_sockets
from supervisor.edges.clock import boottime_s
from supervisor.edges.kernel import cgroups, netns, process, rootfs, vhost
from supervisor.edges.qemu import serial, spawn
from supervisor.edges.qemu.boot_folder import BootFolder
from supervisor.errors import Step, Transient
from supervisor.guest.boot_files import Disks, gather_boot_files, open_disks, open_initrd, open_kernel, own
from supervisor.guest.context import GuestContext
from supervisor.guest.network_config import expect_network, observe_network
from supervisor.guest.qemu_process import RunningQemu, SocketPaths

_ENDS_S = 1.0
NAMESPACES = {"net": linux.CLONE_NEWNET, "pid": linux.CLONE_NEWPID}


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """A guest that can be: its labels were understood and its image was looked at."""

    spec: GuestSpec
    kind: GuestKind
    because: str = ""
    """By what its kind was chosen, in words."""
    room_bytes: int | None = None
    """How long its command line may be; None for any length."""

    @property
    def needed_versions(self) -> tuple[int, ...]:
        """Of which versions of IP the guest must be told an address on each card; empty if it is told none."""
        return self.kind.ip_versions if self.spec.address.takes_over else ()


async def examine(
    context: GuestContext, root: int, spec: GuestSpec, container: Container, interfaces: Iterable[Interface]
) -> GuestPlan:
    """Look at the image, and put into words what its guest would be given, before anything of the container is touched.

    `interfaces`: the container's, as Docker made them. Raises Rejected if its files cannot be used, or if its kind
    cannot be given its arguments and its network.
    """
    limit = context.config.limits.kernel
    with ExitStack() as owned:
        kernel = own(owned, open_kernel(root, spec, limit))
        if spec.initrd:
            own(owned, open_initrd(root, spec, spec.initrd, limit))
        disks = await open_disks(owned, root, spec)
        examined = await threads.run_in_thread(partial(rootfs.read_image, kernel, MARKERS, limit))
    image = require_bootable(examined, spec.kernel)
    kind, because = choose_kind(spec.kind, image, spec.kernel)
    room_bytes = kind.room_bytes(image)
    network = expect_network(root, container, spec.address, kind, interfaces)
    kind.boot(_request(spec, network, disks, room_bytes))
    if spec.initrd and kind.machine.boots_disk:
        raise refused("vtapd.initrd", spec.initrd, "nothing: the image is a disk, which is booted without modules")
    return GuestPlan(spec, kind, because, room_bytes)


def _with_vhost(owned: ExitStack, card: qemu_argv.Card) -> qemu_argv.Card:
    """Where the machine has vhost-net; it is of use only to a guest that the processor runs itself."""
    return replace(card, vhosts=tuple(own(owned, each) for each in vhost.open_vhosts(len(card.queues))))


async def launch(
    context: GuestContext,
    handles: ContainerHandles,
    container: Container,
    plan: GuestPlan,
    step: StartGuest,
    cards: tuple[qemu_argv.Card, ...],
    paths: SocketPaths,
) -> RunningQemu:
    """Start QEMU with these cards, in the container's namespaces and cgroup. The caller owns it.

    The taps stay the caller's. Whatever fails, no descriptor, socket or process is left.
    """
    accel = await context.accelerator(plan.spec.accel)
    on = [(uplink.original, uplink.tap.mac) for uplink in step.uplinks]
    network = observe_network(handles.root, container, plan.spec.address, plan.kind, on)
    place, user = await context.confinement.place(), context.confinement.next_user()
    with ExitStack() as owned:
        folder = BootFolder()
        undone = owned.enter_context(ExitStack())
        undone.callback(folder.close)
        limit = context.config.limits.kernel
        disks = await open_disks(owned, handles.root, plan.spec)
        boot = plan.kind.boot(_request(plan.spec, network, disks, plan.room_bytes))
        boot_disk, modules = await gather_boot_files(owned, folder, handles.root, plan.spec, plan.kind, boot, limit)
        log = serial.open_log(container.pid)
        if log is not None:
            own(owned, log)
        descriptors = qemu_argv.Descriptors(
            boot_disk=boot_disk,
            modules=modules,
            disks=disks.files,
            cards=tuple(_with_vhost(owned, card) for card in cards) if accel == "kvm" else cards,
            qmp=own(owned, unix_sockets.listen(paths.qmp).detach()),
            console=own(owned, unix_sockets.listen(paths.console).detach()),
            log=log,
        )
        arguments = qemu_argv.build_arguments(
            context.config.guest.qemu,
            container.id,
            plan.spec,
            accel,
            plan.kind.machine,
            boot,
            descriptors,
        )
        limits = context.confinement.limits(user, plan.spec.cpus)
        heard = serial.connect(paths.console)
        if heard is None:  # QEMU would wait for it, and never boot
            raise Transient(f"cannot connect to {paths.console}, which was just made", step=Step.SPAWN)
        undone.callback(heard.close)
        begin = partial(spawn.spawn, place.program, arguments, descriptors.all(), folder.descriptor, user, limits)
        spawned_at_s = boottime_s()
        with anyio.CancelScope(shield=True):  # a spawned QEMU must reach its record
            child = process.watch(*await netns.run_inside(container.pid, NAMESPACES, begin, place.start))
        undone.pop_all()
    try:
        directories = handles.cgroup.directories_of_qemu(accel, started=False)
        # In a thread: the kernel lets the first move wait for an RCU grace period, 5 to 17 ms.
        await threads.run_in_thread(partial(cgroups.join_cgroup, directories, child.pid))
        ticks = process.start_ticks(child.pid)
    except BaseException:
        with anyio.move_on_after(_ENDS_S, shield=True):
            child.kill()
            await anyio.wait_readable(child.pidfd)
            child.reap()
        for each in (child, folder, heard):
            each.close()
        raise
    record = ProcessRecord(
        child.pid,
        ticks,
        spawned_at_s,
        plan.kind.name,
        tuple(arguments),
        tuple(card.slot for card in cards),
        whereabouts=whereabouts_of(boot.network or network, plan.kind.ip_versions or (4, 6)),
        because=plan.because,
        notes=(*_notes(plan, boot, container, network, log), *notes_on_others(step.others, plan.needed_versions)),
        terms=terms_of(plan.spec, context.config.keys_of_starts),
    )
    return RunningQemu(child, record, heard, folder)


def _request(spec: GuestSpec, network: GuestNetwork | None, disks: Disks, room_bytes: int | None) -> BootRequest:
    return BootRequest(spec.args, spec.kernel_args, network, spec.env, disks.mounts, room_bytes)


def _notes(
    plan: GuestPlan, boot: Boot, container: Container, network: GuestNetwork | None, log: int | None
) -> tuple[str, ...]:
    """Return what an operator should know of this start, a sentence each."""
    notes = [*boot.notes, *(names_left_out(network_of((), container, Names())) if network is None else ())]
    if log is None:
        notes.append("The guest's console is in no log: the container's init has no pipe or terminal as its output.")
    if plan.spec.screen and plan.kind.uses_screen:
        notes.append(
            f"With vtapd.screen=true the console of a {plan.kind.name} guest is on its screen: "
            "docker logs stays empty, and only vtapd.alive notices that the guest has ended."
        )
    return tuple(notes)
