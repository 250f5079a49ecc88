"""A container's labels, held against the configuration: a GuestSpec, no guest at all, or a Rejected that says why.

Labels come from whoever wrote the image, so nothing here is guessed: an unknown label or a value that does not parse
is refused by name.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from supervisor.core.guest.health_spec import parse_alive, parse_ready
from supervisor.core.guest.qemu_argv import has_vga
from supervisor.core.guest.spec import AddressPlan, Disk, Environment, GuestPolicy, GuestSpec, RestartPolicy
from supervisor.core.kinds import KINDS
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
DISK = PREFIX + "disk."
_DISK = re.compile(re.escape(DISK) + r"(0|[1-9][0-9]?)")
_DISK_FORM = "/path[:ro][,mount=/where][,format=raw|qcow2]"
_MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def are_ours_among(labels: Iterable[str]) -> bool:
    """Whether any of these labels is for vtapd."""
    return any(label.startswith(PREFIX) for label in labels)


def parse_labels(container: Container, policy: GuestPolicy) -> GuestSpec | None:
    """The guest that the labels ask for, or None where they ask for none.

    Raises Rejected, whose message names the container, the label, its value and what is allowed.
    """
    if not are_ours_among(container.labels):
        return None
    read = _Reader(container, policy.image_labels)
    kernel = read("kernel", _path, None)
    memory_bytes = read("memory", parse_size, None)
    spec = GuestSpec(
        kernel=kernel or "",
        memory_mib=policy.memory_mib,
        kind=read("guest", _one_of("auto", *KINDS), "auto"),
        initrd=read("initrd", _path, None),
        disks=_disks(container, read),
        args=read("args", _plain, ""),
        kernel_args=read("kernel-args", _plain, ""),
        screen=read("screen", _one_of("true", "false"), "false") == "true",
        cpus=read("cpus", _count, 1),
        address=read("address", _address_plan, AddressPlan()),
        restart=read("restart", _restart_policy, RestartPolicy()),
        on_exit=read("on-exit", _one_of("stop", "keep"), "stop"),
        stop_timeout_s=read("stop-timeout", parse_duration, policy.stop_timeout_s),
        accel=_accel(read("accel", _one_of("auto", *policy.accels), policy.accel), policy.accels),
        machine=read("machine", _machine, None),
        ready=read("ready", parse_ready, None),
        alive=read("alive", parse_alive, None),
        env=read("env", _environment_of(container), Environment()),
    )
    read("enable", _one_of("true", "false"), "true")
    read.refuse_unknown()
    if not kernel:
        return None
    _check_cpus(container, policy, spec.cpus)
    _check_disks(container, policy, spec.disks)
    _check_screen(container, spec)
    _check_questions(container, spec)
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
                    remedy=f"known labels are {', '.join(sorted({*self._known, DISK + 'N'}))}",
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


def _disks(container: Container, read: "_Reader") -> tuple[Disk, ...]:
    numbers = sorted(int(match[1]) for match in map(_DISK.fullmatch, container.labels) if match)
    found = ((number, read(f"disk.{number}", _disk, None)) for number in numbers)
    return tuple(Disk(number, *disk) for number, disk in found if disk is not None)


def _disk(text: str) -> tuple[str, bool, str | None, str]:
    """Return path, read-only, mount point and format."""
    file, *words = text.split(",")
    options = dict(word.partition("=")[::2] for word in words)
    if len(options) < len(words) or not options.keys() <= {"mount", "format"}:
        raise ValueError(_DISK_FORM)
    path = file.removesuffix(":ro")
    mount, disk_format = options.get("mount"), options.get("format", "raw")
    if disk_format not in ("raw", "qcow2"):
        raise ValueError(_DISK_FORM)
    return _path(path), path != file, None if mount is None else _path(mount), disk_format


def _check_disks(container: Container, policy: GuestPolicy, disks: tuple[Disk, ...]) -> None:
    if len(disks) > policy.max_disks:
        label = f"{DISK}{disks[-1].number}"
        raise _refused(container, label, container.labels[label], f"up to {policy.max_disks} disks ([limits] disks)")
    for label, disk in ((f"{DISK}{disk.number}", disk) for disk in disks):
        if disk.format != "raw" and label in container.image_labels:
            allowed = "format=raw from an image; format=qcow2 must come from docker run --label"
            raise _refused(container, label, container.labels[label], allowed)


def _check_screen(container: Container, spec: GuestSpec) -> None:
    if spec.screen and spec.machine is not None and not has_vga(spec.machine):
        raise _refused(
            container, PREFIX + "screen", "true", f"false with vtapd.machine={spec.machine}, which has no VGA"
        )


def _check_questions(container: Container, spec: GuestSpec) -> None:
    """A guest can be asked over the network only where its address is known."""
    if spec.address.mode not in ("dhcp", "none"):
        return
    asked = {"ready": spec.ready is not None and spec.ready.question is not None, "alive": spec.alive is not None}
    for name in (name for name, is_asked in asked.items() if is_asked):
        label = PREFIX + name
        allowed = f"console:REGEX or none for vtapd.ready, and no vtapd.alive, with vtapd.address={spec.address.mode}"
        raise _refused(container, label, container.labels[label], f"{allowed}: vtapd does not know where to ask")


def _environment_of(container: Container) -> Callable[[str], Environment]:
    def parse(text: str) -> Environment:
        if text in ("true", "false"):
            return Environment(container.env) if text == "true" else Environment()
        chosen = tuple(text.split(","))
        lacking = set(chosen) - {name for name, _ in container.env}
        if lacking or len(set(chosen)) < len(chosen):
            # What stands behind a `=` is a value, which may be a password.
            names = [name.partition("=")[0] for name in chosen]
            why = f"; it has no {min(lacking).partition('=')[0]!a}" if lacking else ", each once"
            allowed = f"true, false, or names of the container's variables with commas between them{why}"
            raise _refused(container, PREFIX + "env", ",".join(names), allowed)
        return Environment(tuple(each for each in container.env if each[0] in chosen), chosen)

    return parse


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
