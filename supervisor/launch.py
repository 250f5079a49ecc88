"""Starts one guest: gathers its files, sockets and descriptors, spawns QEMU in the container, closes them again."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import anyio

from supervisor.attachment import Attachment
from supervisor.context import Context
from supervisor.core import qemu
from supervisor.core.actions import Uplink
from supervisor.core.addressing import interfaces_of, whereabouts_of
from supervisor.core.guests import MARKERS, choose_kind
from supervisor.core.guests.kind import GuestKind
from supervisor.core.guests.refusal import refused
from supervisor.core.labels import GuestSpec
from supervisor.core.model import Container, ProcessRecord
from supervisor.edges import cgroups, console, netns, process, rootfs, sockets, thread, vhost
from supervisor.guest import SocketPaths, boottime_s
from supervisor.guest_files import open_disks, open_image, open_modules, own
from supervisor.guest_network import observe_network

_ENDS_S = 1.0
NAMESPACES = {"net": netns.CLONE_NEWNET, "pid": netns.CLONE_NEWPID}


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """A guest that can be: its labels were understood and its image was looked at."""

    spec: GuestSpec
    kind: GuestKind
    because: str = ""
    """By what its kind was chosen, in words."""


async def examine(context: Context, root: int, spec: GuestSpec) -> GuestPlan:
    """Look at the image before anything of the container is touched.

    Raises Rejected when its files cannot be used or its kind cannot be given its arguments.
    """
    limit = context.config.limits.kernel
    with ExitStack() as owned:
        kernel = own(owned, rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit))
        if spec.initrd:
            own(owned, rootfs.open_file(root, spec.initrd, "vtapd.initrd", limit))
        open_disks(owned, root, spec)
        image = await thread.run_in_thread(partial(rootfs.read_image, kernel, MARKERS))
    kind, because = choose_kind(spec.kind, image, spec.kernel)
    kind.boot(spec.args, None, spec.env)
    if spec.initrd and kind.machine.boots_disk:
        raise refused("vtapd.initrd", spec.initrd, "nothing: the image is a disk, which is booted without modules")
    return GuestPlan(spec, kind, because)


def _with_vhost(owned: ExitStack, card: qemu.Card) -> qemu.Card:
    """Where the machine has vhost-net; it is of use only to a guest that the processor runs itself."""
    return replace(card, vhosts=tuple(own(owned, each) for each in vhost.open_vhosts(len(card.queues))))


async def launch(
    context: Context,
    attachment: Attachment,
    container: Container,
    plan: GuestPlan,
    uplinks: tuple[Uplink, ...],
    cards: tuple[qemu.Card, ...],
    paths: SocketPaths,
) -> tuple[process.Process, ProcessRecord]:
    """Start QEMU with these cards, in the container's namespaces and cgroup. The caller owns the process.

    The taps stay the caller's. Whatever fails, no descriptor, socket or process is left.
    """
    accel = await context.accelerator(plan.spec.accel)
    network = observe_network(attachment.root, container, plan.spec.address, plan.kind, uplinks)
    boot = plan.kind.boot(plan.spec.args, network, plan.spec.env)
    limit = context.config.limits.kernel
    with ExitStack() as owned:
        log = console.open_log(container.pid)
        descriptors = qemu.Descriptors(
            image=await open_image(owned, attachment.root, plan.spec, plan.kind, limit),
            modules=await open_modules(owned, attachment.root, plan.spec, boot, limit),
            disks=open_disks(owned, attachment.root, plan.spec),
            cards=tuple(_with_vhost(owned, card) for card in cards) if accel == "kvm" else cards,
            qmp=own(owned, sockets.listen(paths.qmp)),
            console=own(owned, sockets.listen(paths.console)),
            log=own(owned, log) if log is not None else None,
        )
        arguments = qemu.build_arguments(
            context.config.guest.qemu,
            container.id,
            plan.spec,
            accel,
            plan.kind.machine,
            boot,
            descriptors,
        )
        spawn = partial(process.spawn, arguments, descriptors.all(), context.user)
        spawned_at_s = boottime_s()
        with anyio.CancelScope(shield=True):  # a spawned QEMU must reach its record
            child = await netns.run_inside(container.pid, NAMESPACES, spawn)
    try:
        directories = attachment.cgroup.directories_of_qemu(accel, started=False)
        # In a thread: the kernel lets the first move wait for an RCU grace period, 5 to 17 ms.
        await thread.run_in_thread(partial(cgroups.join_cgroup, directories, child.pid))
        ticks = process.start_ticks(child.pid)
    except BaseException:
        with anyio.move_on_after(_ENDS_S, shield=True):
            child.kill()
            await anyio.wait_readable(child.pidfd)
            child.reap()
        child.close()
        raise
    return child, ProcessRecord(
        child.pid,
        ticks,
        spawned_at_s,
        plan.kind.name,
        tuple(arguments),
        tuple(card.slot for card in cards),
        whereabouts=whereabouts_of(interfaces_of(uplinks, plan.spec.address)),
        because=plan.because,
        notes=boot.notes,
    )
