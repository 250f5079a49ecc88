"""Decide when a guest's snapshot is taken, to which start it belongs, and whether the next start restores it.

A snapshot is the guest's memory and the state of its devices at the moment at which it was ready. It can only be
restored into the same machine, for a guest that would be given the same kernel, words and cards as at its start.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from supervisor.core.record import Identity, ProcessRecord, SnapshotRecord

MEMORY = "memory"
"""The name of the file in QEMU's working directory that has the guest's memory."""
STATE = "state"
"""The name of the file there that has what the devices remember."""
STATE_ROOM_BYTES = 64 << 20
"""More than the devices of any guest remember, a VGA card included."""


def identity_of(arguments: Sequence[str], modules: Iterable[bytes], files: Mapping[str, str]) -> Identity:
    """Return what identifies a start: two starts with the same identity build the same machine and boot the same.

    `arguments` are QEMU's, without the numbers of descriptors; `modules` are what the kernel gets from vtapd; `files`
    has a stamp for each file that the start reads.
    """
    words = (("command line", _digest(word.encode() for word in arguments)), ("configuration", _digest(modules)))
    return (*sorted(files.items()), *words)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def differences(then: Identity, now: Identity) -> str:
    """Return which parts of two identities differ, for people; empty if none does."""
    return ", ".join(sorted({name for name, _ in {*then} ^ {*now}}))


def outdated_because(then: Identity, now: Identity) -> str:
    """Return why a snapshot cannot be restored into a start of now; empty if it can."""
    different = differences(then, now)
    return f"other than at the snapshot: {different}" if different else ""


def why_not_kept(process: ProcessRecord | None, *, crashed: bool, uptime_s: float, reset_after_s: float) -> str:
    """Return why the next start of a guest that has ended does not restore its snapshot; empty if it does."""
    if not crashed:
        return "the guest did not crash"
    if process is not None and process.restored and uptime_s < reset_after_s:
        return f"the guest crashed {uptime_s:.1f} s after it was restored"
    return ""


def bytes_of(snapshot: SnapshotRecord | None) -> int:
    """Return how much memory a snapshot takes; 0 if there is none."""
    return snapshot.state_bytes + snapshot.memory_bytes if snapshot else 0
