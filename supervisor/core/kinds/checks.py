"""What of a request a kind cannot carry at all: words for its system, mounts, or a command line of such a length."""

from supervisor.core.kinds.kind import BootRequest, Mount
from supervisor.core.kinds.refusal import has_unsayable, refused, spelt_out
from supervisor.errors import Rejected, Step

ARGS, KERNEL_ARGS = "vtapd.args", "vtapd.kernel-args"


def refuse_kernel_args(request: BootRequest, kind: str) -> None:
    """Raise Rejected if a guest of a kind whose system takes no words was to get some."""
    if request.kernel_args:
        allowed = f"nothing: the system of a {kind} guest takes no words of its own"
        raise refused(KERNEL_ARGS, request.kernel_args, allowed)


def refuse_mounts(request: BootRequest, why: str) -> None:
    """Raise Rejected if a guest of a kind that mounts nothing by words was to mount a disk."""
    for mount in request.mounts:
        raise refused(mount.label, mount.value, f"a disk without mount=: {why}")


def room_left(request: BootRequest, line: str) -> int | None:
    """Return how many bytes the command line may still grow by, None for any number.

    Raises Rejected if it is too long already.
    """
    if request.room_bytes is None:
        return None
    found = len(line.encode())
    if found > request.room_bytes:
        raise too_long(request, f"{request.room_bytes} bytes", found)
    return request.room_bytes - found


def too_long(request: BootRequest, most: str, found: int) -> Rejected:
    """Return the error to raise for a command line of more than `most`, naming the longest of its labels."""
    allowed = f"less: the command line would have {found}, and the image takes at most {most}"
    mounts = ((mount.label, mount.value) for mount in request.mounts)
    candidates = ((ARGS, request.args), (KERNEL_ARGS, request.kernel_args), *mounts)
    label, value = max(candidates, key=lambda each: len(each[1]))
    if value:
        return refused(label, value, allowed)
    remedy = f"connect the container to fewer networks; allowed is {allowed}"
    return Rejected("the words for the guest's network are too long", step=Step.KERNEL, remedy=remedy)


def check_mount(mount: Mount, without: str) -> None:
    """Raise Rejected, naming the label, for a mount point with control characters or any of those in `without`."""
    if has_unsayable(mount.where) or any(char in without for char in mount.where):
        raise refused(mount.label, mount.value, f"a mount point without {spelt_out(without)} or control characters")
