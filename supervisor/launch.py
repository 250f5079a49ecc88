"""Starts one guest: gathers its files, sockets and descriptors, spawns QEMU in the container, closes them again."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import anyio

from supervisor.attachment import Attachment
from supervisor.context import Context
from supervisor.core import qemu
from supervisor.core.guests import MARKERS, choose_kind
from supervisor.core.guests.kind import Boot, GuestKind, GuestNetwork, network_of
from supervisor.core.labels import GuestSpec
from supervisor.core.model import Container, Interface, ProcessRecord
from supervisor.edges import cgroups, console, netns, process, rootfs, sockets, thread
from supervisor.errors import Rejected
from supervisor.guest import SocketPaths, boottime_s

_ENDS_S = 1.0
NAMESPACES = {"net": netns.CLONE_NEWNET, "pid": netns.CLONE_NEWPID}


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """A guest that can be: its labels were understood and its image was looked at."""

    spec: GuestSpec
    kind: GuestKind


async def examine(context: Context, root: int, spec: GuestSpec) -> GuestPlan:
    """Look at the image before anything of the container is touched.

    Raises Rejected when its files cannot be used or its kind cannot be given its arguments.
    """
    limit = context.config.limits.kernel
    with ExitStack() as owned:
        kernel = _own(owned, rootfs.open_file(root, spec.kernel, "vtapd.kernel", limit))
        if spec.initrd:
            _own(owned, rootfs.open_file(root, spec.initrd, "vtapd.initrd", limit))
        image = await thread.run_in_thread(partial(rootfs.read_image, kernel, MARKERS))
    kind = choose_kind(spec.kind, image, spec.kernel)
    _boot(kind, spec, None)
    return GuestPlan(spec, kind)


async def launch(
    context: Context,
    attachment: Attachment,
    container: Container,
    plan: GuestPlan,
    original: Interface,
    tap: int,
    paths: SocketPaths,
) -> tuple[process.Process, ProcessRecord]:
    """Start QEMU on this tap, in the container's namespaces and cgroup. The caller owns the process.

    `tap` stays the caller's. Whatever fails, no descriptor, socket or process is left.
    """
    accel = await context.accelerator(plan.spec.accel)
    boot = _boot(plan.kind, plan.spec, network_of(original, container.hostname))
    limit = context.config.limits.kernel
    with ExitStack() as owned:
        modules = [_own(owned, process.memory_file(m, "vtapd-module")) for m in boot.modules]
        if plan.spec.initrd:
            modules.append(await _share(owned, attachment.root, plan.spec.initrd, "vtapd.initrd", limit))
        log = console.open_log(container.pid)
        descriptors = qemu.Descriptors(
            kernel=await _share(owned, attachment.root, plan.spec.kernel, "vtapd.kernel", limit),
            modules=tuple(modules),
            tap=tap,
            qmp=_own(owned, sockets.listen(paths.qmp)),
            console=_own(owned, sockets.listen(paths.console)),
            log=_own(owned, log) if log is not None else None,
        )
        arguments = qemu.build_arguments(
            context.config.guest.qemu,
            container.id,
            plan.spec,
            accel,
            boot,
            original.mac,
            original.mtu,
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
    return child, ProcessRecord(child.pid, ticks, spawned_at_s, plan.kind.name, tuple(arguments))


def _boot(kind: GuestKind, spec: GuestSpec, network: GuestNetwork | None) -> Boot:
    try:
        return kind.boot(spec.args, network)
    except ValueError as error:
        raise Rejected(
            f"label vtapd.args={spec.args!a} is refused",
            step="labels",
            remedy=f"allowed is what a {kind.name} guest can be given: {error}",
        ) from error


async def _share(owned: ExitStack, root: int, path: str, label: str, limit: int) -> int:
    """A file of the container as a descriptor that QEMU's user can open anew."""
    file = rootfs.open_file(root, path, label, limit)
    try:
        return _own(owned, await thread.run_in_thread(partial(process.readable_by_all, file)))
    finally:
        os.close(file)


def _own(owned: ExitStack, descriptor: int) -> int:
    owned.callback(os.close, descriptor)
    return descriptor
