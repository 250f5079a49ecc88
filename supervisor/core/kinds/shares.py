"""The folders that a guest shares with its container, and which protocol carries each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.core.guest.spec import Share
from supervisor.core.kinds.refusal import refused


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A share of a guest whose kind is known."""

    number: int
    """N of vtapd.share.N."""
    path: str
    """The folder, in the container's file system."""
    tag: str
    by: str
    """`9p` or `virtiofs`."""
    position: int
    """How many shares with the same protocol come before it."""
    read_only: bool
    where: str | None
    """Where the guest mounts it."""
    label: str
    """The label that asks for it, and its value."""
    value: str


def shared_folders(shares: Iterable[Share], kind: str, protocols: tuple[str, ...]) -> tuple[SharedFolder, ...]:
    """Choose a protocol for each share, out of those that the kind has, the preferred one first.

    Raises Rejected that names the label of a share that the kind cannot have.
    """
    found = []
    before: Counter[str] = Counter()
    for share in shares:
        if not protocols:
            raise refused(share.label, str(share), f"none: vtapd knows no way in which a {kind} guest shares a folder")
        by = share.by or protocols[0]
        if by not in protocols:
            known = " or ".join(f"by={each}" for each in protocols)
            raise refused(share.label, str(share), f"{known} for a {kind} guest")
        found.append(
            SharedFolder(
                share.number,
                share.path,
                share.tag,
                by,
                before[by],
                share.read_only,
                share.mount,
                share.label,
                str(share),
            )
        )
        before[by] += 1
    return tuple(found)
