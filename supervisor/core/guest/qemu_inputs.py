"""What one QEMU is given, as values: network cards, disks, shares, descriptors, and where its memory is."""

from dataclasses import dataclass, replace

SHARES, MOST_SHARES = "/share", 100
"""The folder of shares in QEMU's file system, and how many there can be: N of `vtapd.share.N` is 0 to 99."""


@dataclass(frozen=True, slots=True)
class Card:
    """One network card on a tap. QEMU inherits a descriptor for each queue."""

    slot: int
    """N of /dev/tapN, and of the card's names."""
    queues: tuple[int, ...]
    mac: str
    mtu: int
    vhosts: tuple[int, ...] = ()
    """A descriptor of /dev/vhost-net for each queue, if the kernel moves the packets."""

    @property
    def netdev(self) -> str:
        return netdev_name(self.slot)

    @property
    def device(self) -> str:
        return device_name(self.slot)


def netdev_name(slot: int) -> str:
    """Return QEMU's name for the host's side of a card."""
    return f"net{slot}"


def device_name(slot: int) -> str:
    """Return QEMU's name for the card itself."""
    return f"nic{slot}"


@dataclass(frozen=True, slots=True)
class DiskFile:
    """One further disk: a file of the container."""

    number: int
    """N of vtapd.disk.N."""
    file: int
    """Open for reading, and for writing if it is not read-only."""
    read_only: bool
    format: str = "raw"


@dataclass(frozen=True, slots=True)
class ShareDevice:
    """One folder that the guest shares. QEMU finds it in its own file system, at `share_folder`."""

    number: int
    """N of vtapd.share.N."""
    tag: str
    read_only: bool
    server: int | None = None
    """A connection to the virtiofsd that serves it; None if QEMU itself serves it, by 9p."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors that QEMU inherits. Its other files are in its working directory."""

    boot_disk: int | None
    """The disk that is booted, open for reading and writing; None if a kernel is booted."""
    modules: tuple[str, ...]
    """Names, in the order in which the kernel gets them."""
    disks: tuple[DiskFile, ...]
    cards: tuple[Card, ...]
    qmp: int
    """A listening Unix socket."""
    console: int
    """A listening Unix socket."""
    events: int
    """A connected Unix socket, whose other end the reaper has."""
    log: int | None
    """The container's standard output; None if it cannot be written to."""
    shares: tuple[ShareDevice, ...] = ()

    def all(self) -> tuple[int, ...]:
        """Return all descriptors that the process may inherit."""
        optional = tuple(each for each in (self.boot_disk, self.log) if each is not None)
        disks = (disk.file for disk in self.disks)
        cards = (descriptor for card in self.cards for descriptor in (*card.queues, *card.vhosts))
        servers = (share.server for share in self.shares if share.server is not None)
        return (*disks, *cards, *servers, self.qmp, self.console, self.events, *optional)


def without_numbers(fds: Descriptors) -> Descriptors:
    """Return descriptors with which every start of the same machine has the same arguments."""
    cards = (replace(card, queues=(0,) * len(card.queues), vhosts=(0,) * len(card.vhosts)) for card in fds.cards)
    disks = (replace(disk, file=0) for disk in fds.disks)
    return Descriptors(fds.boot_disk, fds.modules, tuple(disks), tuple(cards), qmp=0, console=0, events=0, log=None)


@dataclass(frozen=True, slots=True)
class GuestState:
    """Where the guest's memory is, and whether QEMU boots it."""

    memory_file: str | None = None
    """The file in QEMU's working directory that holds the memory; None if it is QEMU's own."""
    shared: bool = True
    """Whether the guest writes into that file. If not, QEMU has a copy of each page that the guest writes."""
    incoming: bool = False
    """Whether QEMU waits until a saved state is loaded over QMP, and boots nothing."""


COLD_BOOT = GuestState()
RAM = "ram"
"""QEMU's name for the memory that is in a file. It is part of a saved state."""


def module_name(number: int) -> str:
    """Return the name of the kernel's module with this number, in QEMU's working directory."""
    return f"module{number}"


def share_folder(number: int) -> str:
    """Return where in QEMU's own file system the share with this number is mounted."""
    return f"{SHARES}/{number}"
