"""A container's labels, held against the configuration: a GuestSpec, no guest at all, or a Rejected that says why.

Labels come from whoever wrote the image, so nothing here is guessed: an unknown label or a value that does not parse
is refused by name.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from supervisor.core.guests import KINDS
from supervisor.core.model import Address, Container
from supervisor.core.units import MIB, parse_duration, parse_size
from supervisor.errors import Rejected

T = TypeVar("T")
D = TypeVar("D")

PREFIX = "vtapd."
ENABLE = PREFIX + "enable"
_MAX_TEXT = 4096
_RESTART = re.compile(r"(no|always|unless-stopped|on-failure)(?::(\d{1,6}))?")
_OWN_ADDRESS = re.compile(r"(?P<own>[0-9.]{7,15}/[0-9]{1,2})(?:,(?P<gateway>[0-9.]{7,15}))?")
_MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Docker's words: no, on-failure, always, unless-stopped; `limit` is N of on-failure:N, None for no limit."""

    mode: str = "on-failure"
    limit: int | None = None

    def __str__(self) -> str:
        return self.mode if self.limit is None else f"{self.mode}:{self.limit}"


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """`vtapd.address`: whose addresses the guest has."""

    mode: str = "takeover"
    """`takeover`: the container's; `static`: one of its own; `dhcp`, `none`: the guest cares for itself."""
    address: Address | None = None
    gateway: str | None = None

    @property
    def takes_over(self) -> bool:
        return self.mode == "takeover"


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """What one container asks for; paths are absolute ones of the container's own file system."""

    kernel: str
    memory_mib: int
    kind: str = "auto"
    initrd: str | None = None
    args: str = ""
    cpus: int = 1
    address: AddressPlan = AddressPlan()
    restart: RestartPolicy = RestartPolicy()
    on_exit: str = "stop"
    stop_timeout_s: float = 10.0
    accel: str = "auto"
    machine: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    """The container's environment, where the guest is to have it."""


@dataclass(frozen=True, slots=True)
class GuestPolicy:
    """What the operator's configuration says where labels say nothing, and how far labels may go."""

    memory_mib: int = 64
    overhead_mib: int = 48
    """QEMU's own memory, counted against the container's limit beside the guest's."""
    accel: str = "auto"
    stop_timeout_s: float = 10.0
    max_memory_mib: int = 65536
    max_cpus: int = 64
    accels: tuple[str, ...] = ("kvm", "tcg")
    image_labels: tuple[str, ...] | None = None
    """Which labels an image may set, without their prefix and number; None for all."""


UNLIMITED = GuestPolicy(max_memory_mib=1 << 40, max_cpus=1 << 20)


def parse_labels(container: Container, policy: GuestPolicy) -> GuestSpec | None:
    """The guest that the labels ask for, or None where they ask for none.

    Raises Rejected, whose message names the container, the label, its value and what is allowed.
    """
    read = _Reader(container, policy.image_labels)
    kernel = read("kernel", _path, None)
    memory_bytes = read("memory", parse_size, None)
    spec = GuestSpec(
        kernel=kernel or "",
        memory_mib=policy.memory_mib,
        kind=read("guest", _one_of("auto", *KINDS), "auto"),
        initrd=read("initrd", _path, None),
        args=read("args", _plain, ""),
        cpus=read("cpus", _count, 1),
        address=read("address", _address_plan, AddressPlan()),
        restart=read("restart", _restart_policy, RestartPolicy()),
        on_exit=read("on-exit", _one_of("stop", "keep"), "stop"),
        stop_timeout_s=read("stop-timeout", parse_duration, policy.stop_timeout_s),
        accel=_accel(read("accel", _one_of("auto", *policy.accels), policy.accel), policy.accels),
        machine=read("machine", _machine, None),
        env=container.env if read("env", _one_of("true", "false"), "false") == "true" else (),
    )
    read("enable", _one_of("true", "false"), "true")
    read.refuse_unknown()
    if not kernel:
        return None
    _check_cpus(container, policy, spec.cpus)
    return replace(spec, memory_mib=_memory_mib(container, policy, memory_bytes))


def why_left_alone(container: Container, containers: str) -> str | None:
    """Why this container gets no tap, or None. `containers` is `[attach] containers`: all or labelled."""
    enable = container.labels.get(ENABLE)
    if enable == "false":
        return "label vtapd.enable=false"
    if no_network := why_no_network(container.network_mode):
        return no_network
    if containers == "labelled" and enable != "true" and PREFIX + "kernel" not in container.labels:
        return '[attach] containers = "labelled", and it has neither vtapd.enable=true nor vtapd.kernel'
    return None


def why_no_network(mode: str) -> str | None:
    """Why a container of this network mode has no network of its own, or None where it has one."""
    if mode == "host":
        return "it uses the host's network (--network host)"
    if mode == "none":
        return "it has no network (--network none)"
    if mode.startswith("container:"):
        return "it shares another container's network (--network container:…)"
    return None


class _Reader:
    """Reads labels one by one and so learns which of them are known."""

    def __init__(self, container: Container, of_images: tuple[str, ...] | None) -> None:
        self._container = container
        self._of_images = of_images
        self._known: list[str] = []

    def __call__(self, name: str, parse: Callable[[str], T], default: D) -> T | D:
        label = PREFIX + name
        self._known.append(label)
        if label not in self._container.labels:
            return default
        text = self._container.labels[label]
        if label in self._container.image_labels and not self._is_for_images(name):
            raise Rejected(
                f"container {self._container.name}: the image may not set label {label}",
                step="labels",
                remedy=f"give another value by docker run --label, or add {name!a} to [limits] image_labels",
            )
        try:
            return parse(text)
        except ValueError as error:
            raise _refused(self._container, label, text, str(error)) from None

    def _is_for_images(self, name: str) -> bool:
        return self._of_images is None or name.partition(".")[0] in self._of_images

    def refuse_unknown(self) -> None:
        for label in sorted(self._container.labels):
            if label.startswith(PREFIX) and label not in self._known:
                raise Rejected(
                    f"container {self._container.name}: unknown label {ascii(label)[1:-1][:100]}",
                    step="labels",
                    remedy=f"known labels are {', '.join(sorted(self._known))}",
                )


def _refused(container: Container, label: str, value: object, allowed: str) -> Rejected:
    shown = ascii(value) if len(str(value)) <= 100 else ascii(str(value)[:100]) + "…"
    return Rejected(
        f"container {container.name}: label {label}={shown} is refused",
        step="labels",
        remedy=f"allowed is {allowed}",
    )


def _memory_mib(container: Container, policy: GuestPolicy, asked_bytes: int | None) -> int:
    limit_mib = container.memory_limit_bytes // MIB
    room_mib = limit_mib - policy.overhead_mib
    why = f"the container's limit of {limit_mib}M less {policy.overhead_mib}M for QEMU itself"
    if asked_bytes is None:
        if not limit_mib:
            return policy.memory_mib
        if room_mib < 1:
            raise Rejected(
                f"container {container.name}: no memory is left for a guest: {why}",
                step="labels",
                remedy=f"start it with --memory {policy.overhead_mib + policy.memory_mib}m or more",
            )
        return min(room_mib, policy.max_memory_mib)
    asked_mib = asked_bytes // MIB
    shown = container.labels[PREFIX + "memory"]
    if limit_mib and asked_mib > room_mib:
        raise _refused(container, PREFIX + "memory", shown, f"at most {max(room_mib, 0)}M: {why}")
    if not 1 <= asked_mib <= policy.max_memory_mib:
        raise _refused(container, PREFIX + "memory", shown, f"1M to {policy.max_memory_mib}M ([limits] memory)")
    return asked_mib


def _check_cpus(container: Container, policy: GuestPolicy, cpus: int) -> None:
    if not 1 <= cpus <= policy.max_cpus:
        raise _refused(container, PREFIX + "cpus", cpus, f"1 to {policy.max_cpus} ([limits] cpus)")


def _accel(asked: str, allowed: tuple[str, ...]) -> str:
    return allowed[0] if asked == "auto" and len(allowed) == 1 else asked


def _path(text: str) -> str:
    if not text.startswith("/") or text == "/" or not _printable(text):
        raise ValueError("an absolute path in the container's file system")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return parse


def _plain(text: str) -> str:
    if not _printable(text):
        raise ValueError(f"up to {_MAX_TEXT} printable characters")
    return text


def _printable(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) <= _MAX_TEXT and text.isprintable()


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise ValueError("a whole number")
    return int(text)


def _restart_policy(text: str) -> RestartPolicy:
    match = _RESTART.fullmatch(text)
    if not match or (match[2] and match[1] != "on-failure"):
        raise ValueError("no, on-failure, on-failure:N, always or unless-stopped")
    return RestartPolicy(match[1], int(match[2] or 0) or None)  # on-failure:0 is no limit, as in Docker


def _address_plan(text: str) -> AddressPlan:
    if text in ("takeover", "dhcp", "none"):
        return AddressPlan(text)
    match = _OWN_ADDRESS.fullmatch(text)
    interface = _usable(match["own"]) if match else None
    gateway = match["gateway"] if match else None
    if interface is None or (gateway and not _is_gateway(gateway, interface)):
        raise ValueError(
            "takeover, dhcp, none, or A.B.C.D/P, with a gateway on that link behind a comma if there is one"
        )
    broadcast = str(interface.network.broadcast_address)
    return AddressPlan("static", Address(4, str(interface.ip), interface.network.prefixlen, broadcast), gateway)


def _usable(text: str) -> ipaddress.IPv4Interface | None:
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        return None
    ip = interface.ip
    return None if ip.is_multicast or ip.is_loopback or ip.is_unspecified else interface


def _is_gateway(text: str, interface: ipaddress.IPv4Interface) -> bool:
    try:
        gateway = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return gateway in interface.network and gateway != interface.ip


def _machine(text: str) -> str:
    if not _MACHINE.fullmatch(text):
        raise ValueError("one of QEMU's machine types, such as pc or q35")
    return text
