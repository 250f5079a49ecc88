"""Refuse what a kind cannot carry at all: arguments for its system, mounts, or a command line that is too long."""

from supervisor.core.kinds.kind import BootRequest, Mount
from supervisor.core.kinds.refusal import character_names, has_unprintable, refused
from supervisor.core.kinds.shares import SharedFolder
from supervisor.errors import Rejected, Step

ARGS, KERNEL_ARGS = "vtapd.args", "vtapd.kernel-args"


def refuse_kernel_args(request: BootRequest, kind: str) -> None:
    """Raise Rejected if the request has arguments for the system of a kind that takes none."""
    if request.kernel_args:
        allowed = f"nothing: the system of a {kind} guest takes no arguments"
        raise refused(KERNEL_ARGS, request.kernel_args, allowed)


def refuse_mounts(request: BootRequest, why: str) -> None:
    """Raise Rejected if the request has mounts and the kind has no option for one."""
    for mount in request.mounts:
        raise refused(mount.label, mount.value, f"a disk without mount=: {why}")


def room_left(request: BootRequest, line: str) -> int | None:
    """Return how many bytes may be added to the command line; None for any number.

    Raises Rejected if it is too long already.
    """
    if request.room_bytes is None:
        return None
    found = len(line.encode())
    if found > request.room_bytes:
        raise too_long(request, f"{request.room_bytes} bytes", found)
    return request.room_bytes - found


def too_long(request: BootRequest, most: str, found: int) -> Rejected:
    """Return the error to raise for a command line of more than `most`. It names the longest label."""
    allowed = f"less: the command line would have {found}, and the image takes at most {most}"
    mounts = ((mount.label, mount.value) for mount in request.mounts)
    shares = ((share.label, share.value) for share in request.shares)
    candidates = ((ARGS, request.args), (KERNEL_ARGS, request.kernel_args), *mounts, *shares)
    label, value = max(candidates, key=lambda each: len(each[1]))
    if value:
        return refused(label, value, allowed)
    remedy = f"connect the container to fewer networks; allowed is {allowed}"
    return Rejected("the arguments for the guest's network are too long", step=Step.KERNEL, remedy=remedy)


def check_mount(mount: Mount | SharedFolder, without: str) -> None:
    """Raise Rejected that names the label if a mount point has control characters or characters of `without`."""
    where = mount.where or ""
    if has_unprintable(where) or any(char in without for char in where):
        raise refused(
            mount.label, mount.value, f"a mount point without {character_names(without)} or control characters"
        )


def mounted_shares(request: BootRequest, without: str) -> list[SharedFolder]:
    """Return the shares that the guest has to mount. Raises Rejected as `check_mount` does."""
    found = [share for share in request.shares if share.where is not None]
    for share in found:
        check_mount(share, without)
    return found


def refuse_mounted_shares(request: BootRequest, why: str) -> None:
    """Raise Rejected if a share is to be mounted and the kind has no option for that."""
    for share in mounted_shares(request, ""):
        raise refused(share.label, share.value, f"a share without mount=: {why}")
