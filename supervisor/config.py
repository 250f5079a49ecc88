"""The configuration file: every key, its type and its default. `config/vtapd.toml` explains each to the operator."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from supervisor.core.guest.label_table import LABELS, OF_IMAGES
from supervisor.core.guest.restart import RestartCurve
from supervisor.core.guest.spec import GuestPolicy
from supervisor.core.units import MIB, parse_duration, parse_size
from supervisor.errors import ConfigError
from supervisor.protocol import CONFIG_PATH, RUN_DIR, SOCKET_NAME

DEFAULT_PATH = Path(CONFIG_PATH)


IN_MEMORY = "memory"


class Seconds(float):
    """A duration; written `100ms`, `10s`, `5m`."""


class Bytes(int):
    """A size; written `64M`, `1G`."""


Share = Annotated[float, msgspec.Meta(ge=0, le=0.9)]
Steps = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Cpus = Annotated[int, msgspec.Meta(ge=1, le=1024)]
Standbys = Annotated[int, msgspec.Meta(ge=0, le=10000)]
Disks = Annotated[int, msgspec.Meta(ge=0, le=16)]


class _Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class DockerTable(_Table, frozen=True):
    host: str = ""
    timeout: Seconds = Seconds(10)


class AttachTable(_Table, frozen=True):
    containers: Literal["all", "labelled"] = "all"
    interfaces: Literal["docker", "all"] = "docker"
    run_dir: str = RUN_DIR
    resync: Seconds = Seconds(30)


class GuestTable(_Table, frozen=True):
    memory: Bytes = Bytes(64 * MIB)
    overhead: Bytes = Bytes(48 * MIB)
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    user: str = "vtapd-guest"
    qemu: str = "qemu-system-x86_64"
    sandbox: Literal["auto", "required", "off"] = "auto"
    uids: str = "1879048192-1879113727"
    stop_timeout: Seconds = Seconds(10)
    hang_after: Seconds = Seconds(30)
    log_end: bool = True
    link_address: str = "169.254.118.1"
    sleep_dir: str = "/var/lib/vtapd"
    snapshots: str = IN_MEMORY


class RestartTable(_Table, frozen=True):
    first: Seconds = Seconds(0.1)
    max: Seconds = Seconds(60)
    steps: Steps = 8
    jitter: Share = 0.1
    reset_after: Seconds = Seconds(60)


class LimitsTable(_Table, frozen=True):
    memory: Bytes = Bytes(64 << 30)
    cpus: Cpus = 64
    kernel: Bytes = Bytes(1 << 30)
    disks: Disks = 8
    shares: Disks = 8
    standbys: Standbys = 16
    accels: Annotated[tuple[Literal["kvm", "tcg"], ...], msgspec.Meta(min_length=1)] = ("kvm", "tcg")
    image_labels: tuple[str, ...] = OF_IMAGES


class MetricsTable(_Table, frozen=True):
    listen: str = "127.0.0.1:9817"
    show: tuple[Literal["reasons", "consoles", "screens"], ...] = ()


class ControlTable(_Table, frozen=True):
    group: str = "vtapd"


class LogTable(_Table, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "journal", "json", "console"] = "auto"


class Config(_Table, frozen=True):
    """The whole file."""

    docker: DockerTable = DockerTable()
    attach: AttachTable = AttachTable()
    guest: GuestTable = GuestTable()
    restart: RestartTable = RestartTable()
    limits: LimitsTable = LimitsTable()
    metrics: MetricsTable = MetricsTable()
    control: ControlTable = ControlTable()
    log: LogTable = LogTable()

    @property
    def run_dir(self) -> Path:
        return Path(self.attach.run_dir)

    @property
    def control_socket(self) -> Path:
        return self.run_dir / SOCKET_NAME

    @property
    def policy(self) -> GuestPolicy:
        """Return what labels may ask for, and their defaults."""
        return GuestPolicy(
            memory_mib=self.guest.memory // MIB,
            overhead_mib=self.guest.overhead // MIB,
            accel=self.guest.accel,
            stop_timeout_s=float(self.guest.stop_timeout),
            max_memory_mib=self.limits.memory // MIB,
            max_cpus=self.limits.cpus,
            max_disks=self.limits.disks,
            max_shares=self.limits.shares,
            accels=self.limits.accels,
            image_labels=self.limits.image_labels,
        )

    @property
    def keys_of_starts(self) -> dict[str, str]:
        """Return the values, by key, that count when a guest starts and are not in its spec, as people write them."""
        table = self.guest
        return {
            "guest.qemu": table.qemu,
            "guest.user": table.user,
            "guest.sandbox": table.sandbox,
            "guest.uids": table.uids,
            "guest.hang_after": f"{table.hang_after:g}s",
        }

    @property
    def uids(self) -> range:
        """Return the uids of guests, one each; empty if all run as `guest.user`."""
        return parse_uids(self.guest.uids)

    @property
    def curve(self) -> RestartCurve:
        table = self.restart
        return RestartCurve(table.first, table.max, table.steps, table.jitter, table.reset_after)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Return host and port, or None if metrics are off."""
        return parse_listen(self.metrics.listen) if self.metrics.listen else None


def load_config(path: Path | None) -> Config:
    """Read the file. Without a path: the default one, or all defaults if it does not exist.

    Raises ConfigError, which names the file and the key's path.
    """
    if path is None:
        if not DEFAULT_PATH.exists():
            return Config()
        path = DEFAULT_PATH
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", remedy="name a file that exists and that you may read"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        config = msgspec.convert(data, Config, dec_hook=_decode)
        _check(config)
    except (msgspec.ValidationError, ValueError) as error:
        remedy = "vtapd.toml(5) explains every key"
        raise ConfigError(f"{path}: {str(error).replace('$.', '')}", remedy=remedy) from error
    return config


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:9817` or `[::1]:9817`."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"Expected host:port, got {text!a} - at `metrics.listen`")
    return host, int(port)


def parse_uids(text: str) -> range:
    """Return the uids of `FIRST-LAST`, none for an empty text. Root and (uid_t) -1 are not allowed."""
    if not text:
        return range(0)
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 0xFFFFFFFF):
        raise ValueError(f"Expected FIRST-LAST, two uids above 0, got {text!a} - at `guest.uids`")
    return range(int(first), int(last) + 1)


def _check(config: Config) -> None:
    if config.metrics.listen:
        parse_listen(config.metrics.listen)
    parse_uids(config.guest.uids)
    _check_link_address(config.guest.link_address)
    if config.guest.accel not in ("auto", *config.limits.accels):
        raise ValueError("Expected auto or one of `limits.accels` - at `guest.accel`")
    names = [label.name for label in LABELS]
    if unknown := [name for name in config.limits.image_labels if name not in names]:
        raise ValueError(f"Expected names out of {', '.join(names)}, got {unknown[0]!a} - at `limits.image_labels`")
    if config.guest.snapshots != IN_MEMORY and not Path(config.guest.snapshots).is_absolute():
        raise ValueError("Expected memory, or an absolute path - at `guest.snapshots`")
    if not config.run_dir.is_absolute():
        raise ValueError("Expected an absolute path - at `attach.run_dir`")
    if not Path(config.guest.sleep_dir).is_absolute():
        raise ValueError("Expected an absolute path - at `guest.sleep_dir`")
    if not 0 < config.restart.first <= config.restart.max:
        raise ValueError("Expected 0 < first <= max - at `restart.first`")
    if not MIB <= config.guest.memory <= config.limits.memory:
        raise ValueError("Expected 1M to `limits.memory` - at `guest.memory`")
    for name, value in (
        ("attach.resync", config.attach.resync),
        ("docker.timeout", config.docker.timeout),
        ("guest.hang_after", config.guest.hang_after),
    ):
        if value <= 0:
            raise ValueError(f"Expected more than 0s - at `{name}`")


def _check_link_address(text: str) -> None:
    """Accept an IPv4 address that one machine can have, or none."""
    try:
        address = ipaddress.IPv4Address(text or "169.254.0.1")
    except ValueError:
        address = ipaddress.IPv4Address(0)
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_reserved:
        raise ValueError(f"Expected an IPv4 address, or nothing, got {text!a} - at `guest.link_address`")


def _decode(kind: type, value: Any) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds(_expect(parse_duration, value))
    if kind is Bytes and isinstance(value, str):
        return Bytes(_expect(parse_size, value))
    written = '"10s"' if kind is Seconds else '"64M"'
    raise ValueError(f"Expected a text such as {written}, got {value!a}")


def _expect(parse: Any, value: str) -> float:
    try:
        return float(parse(value))
    except ValueError as error:
        raise ValueError(f"Expected {error}, got {value!a}") from None
