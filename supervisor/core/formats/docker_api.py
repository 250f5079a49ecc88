"""Docker's JSON about its engine, images and containers, converted into the program's own types.

Only the members that are used are named; msgspec ignores the others. (Docker Engine API v1.41)
"""

import posixpath
import re
import signal
from collections.abc import Mapping
from datetime import datetime

import msgspec

from supervisor.core.container import Container, ContainerId, Pid
from supervisor.core.formats.docker_network import EndpointShape, parse_endpoint

INIT_NAME = "vtapd-init"
"""The file name of the init that passes its arguments to the guest."""
LISTED = ("Names", "State", "HostConfig", "NetworkSettings")
"""The members of a container's entry in the list that are used and may change while the container runs."""

_STOP_TIMEOUT_S = 10.0
"""Docker's default."""


class Engine(msgspec.Struct, frozen=True):
    """A Docker daemon, as it describes itself (GET /info)."""

    version: str = msgspec.field(name="ServerVersion", default="?")
    cgroup_version: str = msgspec.field(name="CgroupVersion", default="1")
    cgroup_driver: str = msgspec.field(name="CgroupDriver", default="?")
    security: list[str] = msgspec.field(name="SecurityOptions", default_factory=list)
    """Such as name=userns, and name=rootless."""
    id: str = msgspec.field(name="ID", default="")
    """Before Docker 24 it is in /etc/docker, which several daemons on one machine may share."""
    folder: str = msgspec.field(name="DockerRootDir", default="")

    @property
    def identity(self) -> str:
        """Return what no other Docker daemon on this machine has, however this one is addressed."""
        return f"{self.id} {self.folder}".strip()


class _State(msgspec.Struct, rename="pascal"):
    running: bool = False
    paused: bool = False
    pid: int = 0
    started_at: str = ""
    finished_at: str = ""


class _Config(msgspec.Struct, rename="pascal"):
    hostname: str = ""
    domainname: str = ""
    mac_address: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: list[str] | None = None


class _Device(msgspec.Struct, rename="pascal"):
    path_on_host: str = ""
    cgroup_permissions: str = ""


class _HostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str = ""
    memory: int = 0
    pids_limit: int | None = None
    privileged: bool = False
    device_cgroup_rules: list[str] | None = None
    devices: list[_Device] | None = None
    dns: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None


class _NetworkSettings(msgspec.Struct, rename="pascal"):
    networks: dict[str, EndpointShape] | None = None


class _Image(msgspec.Struct, rename="pascal"):
    config: _Config | None = None


class _Inspect(msgspec.Struct, rename="pascal"):
    id: str
    name: str
    state: _State
    config: _Config
    host_config: _HostConfig
    image: str = ""
    resolv_conf_path: str = ""
    network_settings: _NetworkSettings = msgspec.field(default_factory=_NetworkSettings)


def parse_engine(answer: object) -> Engine:
    """Return what Docker says about itself. Raises msgspec.ValidationError if it is not understood."""
    return msgspec.convert(answer, Engine)


def parse_image_labels(answer: object) -> dict[str, str]:
    """Return the labels of an image. Raises msgspec.ValidationError if the answer is not understood."""
    config = msgspec.convert(answer, _Image).config
    return (config.labels if config else None) or {}


def digest(listed: Mapping[str, object]) -> int:
    """Return a number that changes when a member of LISTED changes in a container's entry in the list.

    The entry also has the container's age in words, which changes without any reason to ask Docker again.
    """
    members = [(key, listed[key]) for key in LISTED if key in listed]
    return hash(msgspec.json.encode(members, order="deterministic"))


def parse_container(answer: object) -> tuple[Container, str]:
    """Return a container and the id of its image. Raises msgspec.ValidationError if the answer is not understood."""
    data = msgspec.convert(answer, _Inspect)
    return _container(data), data.image


def _container(data: _Inspect) -> Container:
    return Container(
        id=ContainerId(data.id),
        name=data.name.removeprefix("/"),
        pid=Pid(data.state.pid),
        started_ns=_nanoseconds(data.state.started_at),
        ended_at="" if data.state.running else data.state.finished_at,
        running=data.state.running and data.state.pid > 0,
        paused=data.state.paused,
        network_mode=data.host_config.network_mode,
        hostname=data.config.hostname,
        domainname=data.config.domainname,
        mac_address=data.config.mac_address.lower(),
        extra_hosts=tuple(data.host_config.extra_hosts or ()),
        labels=data.config.labels or {},
        memory_limit_bytes=data.host_config.memory,
        pids_limit=data.host_config.pids_limit or 0,
        stop_signal=signal_number(data.config.stop_signal),
        stop_timeout_s=_STOP_TIMEOUT_S if data.config.stop_timeout is None else float(data.config.stop_timeout),
        privileged=data.host_config.privileged,
        device_rules=tuple(data.host_config.device_cgroup_rules or ()),
        devices=tuple((d.path_on_host, d.cgroup_permissions) for d in data.host_config.devices or ()),
        has_vtapd_init=_has_vtapd_init(data.config),
        words=_words(data.config),
        env=tuple(_variable(text) for text in data.config.env or ()),
        dns=tuple(data.host_config.dns or ()),
        dns_search=tuple(data.host_config.dns_search or ()),
        resolv_conf=data.resolv_conf_path,
        endpoints=tuple(parse_endpoint(n, e) for n, e in sorted((data.network_settings.networks or {}).items())),
    )


def _has_vtapd_init(config: _Config) -> bool:
    return posixpath.basename((config.entrypoint or [""])[0]) == INIT_NAME


def _words(config: _Config) -> tuple[str, ...]:
    """Return the words behind vtapd-init, if that is the entrypoint."""
    return (*(config.entrypoint or ())[1:], *(config.cmd or ())) if _has_vtapd_init(config) else ()


def _variable(text: str) -> tuple[str, str]:
    """Split K=V. Without a `=`, which Docker uses to remove a variable, the value is empty."""
    key, _, value = text.partition("=")
    return key, value


def _nanoseconds(moment: str) -> int:
    """Return a moment since the epoch; 0 if it is no time, as for a container that never ran."""
    try:
        return max(0, int(datetime.fromisoformat(moment).timestamp() * 1e6) * 1000)
    except ValueError:
        return 0


def signal_number(name: str) -> int:
    """Return a signal's number from any form that Docker accepts: SIGTERM, TERM, 15, SIGRTMIN+3."""
    if name.isdecimal():
        return int(name)
    match = re.fullmatch(r"(?:SIG)?([A-Z]+[12]?)([+-][0-9]{1,2})?", name.upper())
    try:
        return signal.Signals["SIG" + match[1]] + int(match[2] or 0) if match else signal.SIGTERM
    except KeyError:
        return signal.SIGTERM
