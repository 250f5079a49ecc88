"""Starts one guest: gathers its files, sockets and descriptors, spawns QEMU in the container, closes them again."""

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread

from supervisor.attachment import Attachment
from supervisor.context import Context
from supervisor.core import qemu
from supervisor.core.actions import Uplink
from supervisor.core.guests import MARKERS, choose_kind
from supervisor.core.guests.kind import Boot, GuestKind
from supervisor.core.guests.network import GuestNetwork
from supervisor.core.guests.refusal import refused
from supervisor.core.labels import GuestSpec
from supervisor.core.model import Container, ProcessRecord
from supervisor.core.units import MIB
from supervisor.edges import cgroups, console, netns, process, rootfs, sockets, spawn
from supervisor.edges.boot_folder import BootFolder
from supervisor.errors import Rejected
from supervisor.guest import SocketPaths, boottime_s
from supervisor.guest_network import observe_network

_ENDS_S = 1.0
_VARIABLE = re.compile(r"label vtapd\.env=['\"]([^=]*)=.*(?= is refused)")
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
        kernel = _own(owned, rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit))
        if spec.initrd:
            _own(owned, rootfs.open_file(root, spec.initrd, "vtapd.initrd", _most_initrd_bytes(limit, spec)))
        image = await anyio.to_thread.run_sync(rootfs.read_image, kernel, MARKERS, limit)
    kind, because = choose_kind(spec.kind, image, spec.kernel)
    _boot(kind, spec, None)
    if spec.initrd and kind.machine.boots_disk:
        raise refused("vtapd.initrd", spec.initrd, "nothing: the image is a disk, which is booted without modules")
    return GuestPlan(spec, kind, because)


async def launch(
    context: Context,
    attachment: Attachment,
    container: Container,
    plan: GuestPlan,
    uplinks: tuple[Uplink, ...],
    cards: tuple[qemu.Card, ...],
    paths: SocketPaths,
) -> tuple[process.Process, BootFolder, ProcessRecord]:
    """Start QEMU with these cards, in the container's namespaces and cgroup. The caller owns the process and folder.

    The taps stay the caller's. Whatever fails, no descriptor, socket or process is left.
    """
    accel = await context.accelerator(plan.spec.accel)
    network = observe_network(attachment.root, container, plan.spec.address, plan.kind, uplinks)
    boot = _boot(plan.kind, plan.spec, network)
    place, user = await context.confinement.place(), context.confinement.next_user()
    with ExitStack() as owned:
        folder = BootFolder()
        undone = owned.enter_context(ExitStack())
        undone.callback(folder.close)
        disk, modules = await _gather(owned, folder, attachment.root, plan, boot, context.config.limits.kernel)
        log = console.open_log(container.pid)
        descriptors = qemu.Descriptors(
            disk=disk,
            modules=modules,
            cards=cards,
            qmp=_own(owned, sockets.listen(paths.qmp)),
            console=_own(owned, sockets.listen(paths.console)),
            log=_own(owned, log) if log is not None else None,
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
        limits = context.confinement.limits(user, plan.spec.cpus)
        begin = partial(spawn.spawn, place.program, arguments, descriptors.all(), folder.descriptor, user, limits)
        spawned_at_s = boottime_s()
        with anyio.CancelScope(shield=True):  # a spawned QEMU must reach its record
            child = process.watch(*await netns.run_inside(container.pid, NAMESPACES, begin, place.start))
        undone.pop_all()
    try:
        # In a thread: the kernel lets the first move wait for an RCU grace period, 5 to 17 ms.
        join = partial(cgroups.join_cgroup, attachment.cgroup, child.pid, keep_devices=accel == "kvm")
        await anyio.to_thread.run_sync(join)
    except BaseException:
        with anyio.move_on_after(_ENDS_S, shield=True):
            child.kill()
            await anyio.wait_readable(child.pidfd)
            child.reap()
        child.close()
        folder.close()
        raise
    return (
        child,
        folder,
        ProcessRecord(
            child.pid,
            child.start_ticks,
            spawned_at_s,
            plan.kind.name,
            tuple(arguments),
            tuple(card.slot for card in cards),
            plan.because,
            boot.notes,
        ),
    )


def _boot(kind: GuestKind, spec: GuestSpec, network: GuestNetwork | None) -> Boot:
    """What the kind makes of it. A refusal names a variable of the environment, and does not show its value."""
    try:
        return kind.boot(spec.args, network, spec.env)
    except Rejected as error:
        error.message = _VARIABLE.sub(r"label vtapd.env: variable \1", error.message)
        raise


def _most_initrd_bytes(limit: int, spec: GuestSpec) -> int:
    """Its guest must hold it; and QEMU keeps it all its life, in memory that no container is charged for."""
    return min(limit, spec.memory_mib * MIB)


async def _gather(
    owned: ExitStack, folder: BootFolder, root: int, plan: GuestPlan, boot: Boot, limit: int
) -> tuple[int | None, tuple[str, ...]]:
    """Put what QEMU boots from into the folder. Returns the disk, if it is one, and the modules' names.

    A disk is the container's own file, to which its guest writes.
    """
    if plan.kind.machine.boots_disk:
        return _own(owned, rootfs.open_file(root, plan.spec.kernel, "vtapd.kernel", limit, writable=True)), ()
    await _copy(folder, qemu.KERNEL, root, plan.spec.kernel, "vtapd.kernel", limit)
    names = [qemu.module_name(number) for number in range(len(boot.modules) + bool(plan.spec.initrd))]
    for name, content in zip(names, boot.modules, strict=False):
        folder.write(name, content)
    if plan.spec.initrd:
        await _copy(folder, names[-1], root, plan.spec.initrd, "vtapd.initrd", _most_initrd_bytes(limit, plan.spec))
    return None, tuple(names)


async def _copy(folder: BootFolder, name: str, root: int, path: str, label: str, limit: int) -> None:
    file = rootfs.open_file(root, path, label, limit)
    try:
        await anyio.to_thread.run_sync(folder.copy, name, file, limit)
    finally:
        os.close(file)


def _own(owned: ExitStack, descriptor: int) -> int:
    owned.callback(os.close, descriptor)
    return descriptor
