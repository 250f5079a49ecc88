"""Hand the folders that a guest shares over to its QEMU: each as a mount of its own, whose owner is QEMU's user."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from supervisor.core.container import ContainerHandles, FileOwner, User
from supervisor.core.guest.qemu_inputs import share_folder
from supervisor.core.kinds.shares import SharedFolder
from supervisor.edges import threads
from supervisor.edges.kernel import idmapped_mount, rootfs
from supervisor.edges.qemu.virtiofsd import INSTALL, find_virtiofsd
from supervisor.errors import Rejected, Step
from supervisor.guest.boot_files import own
from supervisor.guest.confinement import LaunchEnvironment
from supervisor.guest.context import GuestContext
from supervisor.guest.reaper import Reaper

VIRTIOFS = "virtiofs"
_Shares = Sequence[SharedFolder]
_ROOT = FileOwner(0, 0)
_WITHOUT_RIGHTS = User("the overflow user", 65534, 65534, ())  # fs/overflowuid: owns no files
"""A check opens the folders for this user. The result is the same for any user but root."""


@dataclass(frozen=True, slots=True)
class SharedMounts:
    """What QEMU is started with for its shares. The descriptors belong to the one who asked for them."""

    mounts: tuple[tuple[int, str], ...] = ()
    """Each with its place in QEMU's file system."""
    user_namespace: int | None = None


async def check_shares(context: GuestContext, handles: ContainerHandles, shares: _Shares) -> None:
    """Raise Rejected, naming the label, if one of the folders cannot be shared."""
    if shares:
        with ExitStack() as owned:
            environment = await context.confinement.launch_environment(owned)
            await open_shares(owned, context.reaper, environment, handles, shares, _WITHOUT_RIGHTS)
            needing = next((share for share in shares if share.by == VIRTIOFS), None)
            if needing is not None and find_virtiofsd() is None:
                raise Rejected(f"label {needing.label}: there is no virtiofsd", step=Step.SHARE, remedy=INSTALL)


async def open_shares(
    owned: ExitStack,
    reaper: Reaper,
    environment: LaunchEnvironment,
    handles: ContainerHandles,
    shares: _Shares,
    user: User,
) -> SharedMounts:
    """Open the folders for a QEMU, or a virtiofsd, that will run as this user. `owned` closes the descriptors.

    In the mounts the container's root is that user, and in the user namespace the user is root.
    Raises Rejected, naming the label, if one of them cannot be shared.
    """
    if not shares:
        return SharedMounts()
    if not environment.namespaces:
        raise Rejected(
            f"label {shares[0].label}: QEMU has no file system of its own in which it could find the folder",
            step=Step.SHARE,
            remedy='set [guest] sandbox = "required", which shows what the machine lacks',
        )
    guest = FileOwner(user.uid, user.gid)
    root = idmapped_mount.observe_root_owner(handles.pid)
    of_mounts = own(owned, await reaper.user_namespace(root, guest))
    of_server = own(owned, await reaper.user_namespace(_ROOT, guest))
    opened = await threads.run_in_thread(partial(_open_all, owned, handles, shares, of_mounts))
    return SharedMounts(opened, of_server)


def _open_all(
    owned: ExitStack, handles: ContainerHandles, shares: _Shares, namespace: int
) -> tuple[tuple[int, str], ...]:
    found = []
    for share in shares:
        folder = own(owned, rootfs.open_folder(handles.root, share.path, share.label))
        mount = idmapped_mount.open_idmapped(handles.pid, folder, share.label, namespace, read_only=share.read_only)
        found.append((own(owned, mount), share_folder(share.number)))
    return tuple(found)
