"""Read the host's resolv.conf, whose DNS servers Docker falls back to (man 5 resolv.conf, man 8 systemd-resolved)."""

from pathlib import Path

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
