"""What the commands print with --json, and the control socket answers: these keys, which the README lists.

Times without a date are in seconds; None is JSON's null.
"""

from typing import TypedDict


class ExitShape(TypedDict):
    reason: str
    code: int | None
    detail: str
    at: str
    uptime_s: float
    delay_s: float | None


class Summary(TypedDict):
    id: str
    name: str
    state: str
    address: str | None
    guest: str | None
    uptime_s: float | None
    restarts: int
    last_exit: ExitShape | None
    reason: str | None


class TapShape(TypedDict):
    name: str
    mac: str
    device: str
    node: str | None
    rule: bool


class InterfaceShape(TypedDict):
    name: str
    mac: str
    mtu: int
    addresses: list[str]
    gateway: str | None
    taken_over: bool
    in_guest: bool
    tap: TapShape | None


class PendingShape(TypedDict):
    what: str
    running: str
    next: str


class GuestShape(TypedDict):
    kind: str
    kind_because: str
    notes: list[str]
    kernel: str
    initrd: str | None
    args: str
    kernel_args: str
    screen: bool
    memory_mib: int
    cpus: int
    accel: str
    restart: str
    on_exit: str
    stop_timeout_s: float
    ready: str
    alive: str
    state: str
    pid: int | None
    started_at_boottime_s: float | None
    restarts: int
    last_exit: ExitShape | None
    history: list[ExitShape]
    pending: list[PendingShape] | None
    command: list[str]


class Details(TypedDict):
    id: str
    name: str
    state: str
    reason: str | None
    pid: int | None
    netns: str | None
    cgroup: str | None
    device_rule_note: str | None
    interfaces: list[InterfaceShape]
    guest: GuestShape | None


class ConsoleShape(TypedDict):
    name: str
    said: str
    writer: str | None


class ScreenShape(TypedDict):
    name: str
    file: str
    width: int
    height: int


class EventShape(TypedDict):
    """What every event has; which further keys it has depends on it."""

    time: str | None
    event: str
    container: str | None
    level: str
