"""The peers of a process, from the kernel's list of the TCP sockets in its network."""

from ipaddress import ip_address
from pathlib import Path

from tests.harness.processes import open_files


def tcp_addresses_of(pid: int) -> set[str]:
    """Return the addresses of both ends of its sockets; of a listening socket, its own address."""
    own = {path.removeprefix("socket:[").rstrip("]") for path in open_files(pid).values()}
    found = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            _, local, remote, *_, inode = line.split()[:10]
            if inode in own:
                found |= {_address(end) for end in (local, remote) if not end.endswith(":0000")}
    return found


def _address(end: str) -> str:
    """Parse `0100007F:2659`: hexadecimal, each word of 32 bits in the machine's byte order, and the port."""
    words = bytes.fromhex(end.partition(":")[0])
    return str(ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))))
