"""The host's DNS servers, which Docker falls back to (man 5 resolv.conf, man 8 systemd-resolved)."""

from pathlib import Path

# Where the first leads to systemd-resolved's own server, those that this one asks are in the second.
_PATHS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def read_resolv_confs() -> list[str]:
    """The texts of those that there are, the one to be asked first in front."""
    texts = []
    for path in _PATHS:
        try:
            texts.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return texts
