"""What `vtapd inspect --json` and `vtapd ps --json` print, as typed values. Keys that no test reads are left out."""

import msgspec


class Ending(msgspec.Struct, frozen=True):
    reason: str
    code: int | None
    at: str
    delay_s: float | None
    """The delay before the restart that followed; None if none did."""


class Pending(msgspec.Struct, frozen=True):
    what: str
    running: str
    next: str


class SnapshotView(msgspec.Struct, frozen=True):
    bytes: int
    age_s: float
    standby_pid: int | None


class GuestView(msgspec.Struct, frozen=True):
    kind: str
    kind_because: str
    notes: list[str]
    kernel: str
    memory_mib: int
    cpus: int
    pid: int | None
    command: list[str]
    state: str
    restarts: int
    last_exit: Ending | None
    history: list[Ending]
    pending_changes: list[Pending] | None = msgspec.field(name="pending")
    ordered_restarts: int = 0
    snapshot: SnapshotView | None = None
    restores: dict[str, int] = {}
    qemu_replaced: bool = False

    @property
    def pending(self) -> dict[str, tuple[str, str]] | None:
        """Return each setting with its present value, and its value from the guest's next start on."""
        if self.pending_changes is None:
            return None
        return {each.what: (each.running, each.next) for each in self.pending_changes}

    @property
    def delays_s(self) -> list[float]:
        return [ending.delay_s for ending in self.history if ending.delay_s is not None]


class TapView(msgspec.Struct, frozen=True):
    name: str
    mac: str
    device_number: str = msgspec.field(name="device")
    node: str | None
    rule: bool

    @property
    def device(self) -> tuple[int, int]:
        major, minor = self.device_number.split(":")
        return int(major), int(minor)


class InterfaceView(msgspec.Struct, frozen=True):
    name: str
    mac: str
    mtu: int
    addresses: list[str]
    gateway: str | None
    in_guest: bool
    tap: TapView | None
    state: str = ""
    reason: str | None = None


class InspectView(msgspec.Struct, frozen=True):
    id: str
    name: str
    state: str
    reason: str | None
    pid: int | None
    netns: str | None
    interfaces: list[InterfaceView]
    cgroup: str | None
    guest: GuestView | None
    ended_at: str | None = None
    last_output: list[str] | None = None

    @property
    def only_guest(self) -> GuestView:
        assert self.guest is not None, f"{self.name} has no guest: {self.state}, {self.reason}"
        return self.guest

    @property
    def message(self) -> str:
        return self.reason or ""


class PsView(msgspec.Struct, frozen=True):
    id: str
    name: str
    state: str
    address: str | None
    guest: str | None
    uptime_s: float | None
    restarts: int | None
    last_exit: Ending | None
    reason: str | None = None
    ended_at: str | None = None


def parse_inspect(text: str) -> InspectView:
    return msgspec.json.decode(text, type=InspectView)


def parse_ps(text: str) -> list[PsView]:
    return msgspec.json.decode(text, type=list[PsView])
