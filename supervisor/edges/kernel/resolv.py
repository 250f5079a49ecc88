"""Read the resolv.conf of the host, whose DNS servers Docker falls back to, and those that Docker writes.

(man 5 resolv.conf, man 8 systemd-resolved; moby: libnetwork/internal/resolvconf)
"""

import hashlib
from pathlib import Path

_MAX_BYTES = 1 << 16
# If the first names systemd-resolved's own server, the second has the servers that it asks.
_PATHS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def read_resolv_confs() -> list[str]:
    """Return the texts of the files that exist, the preferred one first."""
    texts = []
    for path in _PATHS:
        try:
            texts.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return texts


def read_unchanged(path: str) -> str:
    """Return the resolv.conf that Docker wrote for a container; empty if the container may have changed it.

    Docker keeps a hash of what it wrote next to the file, out of the container's reach.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_BYTES)
        written = Path(f"{path}.hash").read_text(errors="replace").strip()
    except OSError:
        return ""
    is_unchanged = written == f"sha256:{hashlib.sha256(text).hexdigest()}"
    return text.decode("utf-8", "replace") if is_unchanged else ""
