"""What `vtapd inspect --json` and `vtapd ps --json` print, as typed values: the one place that knows the keys."""

import json
from dataclasses import dataclass
from typing import Any  # JSON before it is checked; it does not leave this file

Json = dict[str, Any]


@dataclass(frozen=True)
class Ending:
    reason: str
    code: int | None
    at: object
    delay_s: float | None  # before the restart that followed; None if none did


@dataclass(frozen=True)
class GuestView:
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
    pending: dict[str, tuple[str, str]] | None
    """By what: how it runs, and how it will from its next start on."""

    @property
    def delays_s(self) -> list[float]:
        return [ending.delay_s for ending in self.history if ending.delay_s is not None]


@dataclass(frozen=True)
class TapView:
    name: str
    mac: str
    device: tuple[int, int]
    node: str
    rule: bool


@dataclass(frozen=True)
class InterfaceView:
    name: str
    mac: str
    mtu: int
    addresses: list[str]
    gateway: str | None
    in_guest: bool
    tap: TapView | None


@dataclass(frozen=True)
class InspectView:
    id: str
    name: str
    state: str
    reason: str | None
    pid: int | None
    netns: str | None
    interfaces: list[InterfaceView]
    cgroup: str | None
    guest: GuestView | None

    @property
    def only_guest(self) -> GuestView:
        assert self.guest is not None, f"{self.name} has no guest: {self.state}, {self.reason}"
        return self.guest

    @property
    def message(self) -> str:
        return self.reason or ""


@dataclass(frozen=True)
class PsView:
    id: str
    name: str
    state: str
    address: str | None
    guest: str | None
    uptime_s: float | None
    restarts: int | None
    last_exit: object


def _ending(data: Json) -> Ending:
    delay = data.get("delay_s")
    return Ending(data["reason"], data.get("code"), data.get("at"), None if delay is None else float(delay))


def _pending(data: list[Json] | None) -> dict[str, tuple[str, str]] | None:
    return None if data is None else {each["what"]: (each["running"], each["next"]) for each in data}


def _guest(data: Json) -> GuestView:
    last = data["last_exit"]
    return GuestView(
        kind=data["kind"],
        kind_because=data["kind_because"],
        notes=data["notes"],
        kernel=data["kernel"],
        memory_mib=data["memory_mib"],
        cpus=data["cpus"],
        pid=data["pid"],
        command=data["command"],
        state=data["state"],
        restarts=data["restarts"],
        last_exit=None if last is None else _ending(last),
        history=[_ending(ending) for ending in data["history"]],
        pending=_pending(data.get("pending")),
    )


def _tap(data: Json) -> TapView:
    major, minor = data["device"].split(":")
    return TapView(data["name"], data["mac"], (int(major), int(minor)), data["node"], data["rule"])


def _interface(data: Json) -> InterfaceView:
    tap = data["tap"]
    return InterfaceView(
        name=data["name"],
        mac=data["mac"],
        mtu=data["mtu"],
        addresses=data["addresses"],
        gateway=data["gateway"],
        in_guest=data["in_guest"],
        tap=None if tap is None else _tap(tap),
    )


def parse_inspect(text: str) -> InspectView:
    data: Json = json.loads(text)
    return InspectView(
        id=data["id"],
        name=data["name"],
        state=data["state"],
        reason=data["reason"],
        pid=data["pid"],
        netns=data["netns"],
        interfaces=[_interface(interface) for interface in data["interfaces"]],
        cgroup=data["cgroup"],
        guest=None if data["guest"] is None else _guest(data["guest"]),
    )


def parse_ps(text: str) -> list[PsView]:
    rows: list[Json] = json.loads(text)
    return [PsView(**{key: row[key] for key in PsView.__dataclass_fields__}) for row in rows]
