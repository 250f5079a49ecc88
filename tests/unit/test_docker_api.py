from typing import Any

import msgspec
import pytest

from supervisor.core.container import Endpoint
from supervisor.core.formats.docker_api import digest, parse_container, parse_engine, parse_image_labels


def answer(**changes: Any) -> dict[str, Any]:  # Docker's JSON
    """Docker's answer about a container, with the least that it always has."""
    return {"Id": "c" * 64, "Name": "/web", "State": {}, "Config": {}, "HostConfig": {}, **changes}


def test_engine() -> None:
    data = {"ServerVersion": "24.0.7", "CgroupVersion": "2", "CgroupDriver": "systemd", "Name": "host"}
    engine = parse_engine(data)
    assert (engine.version, engine.cgroup_version, engine.cgroup_driver) == ("24.0.7", "2", "systemd")
    with pytest.raises(msgspec.ValidationError):
        parse_engine({"ServerVersion": 24})


def test_engines_with_one_id_are_told_apart_by_their_folders() -> None:
    first = parse_engine({"ID": "ABCD", "DockerRootDir": "/var/lib/docker"})
    second = parse_engine({"ID": "ABCD", "DockerRootDir": "/srv/docker"})
    assert first.identity != second.identity
    assert parse_engine({}).identity == ""


@pytest.mark.parametrize("data", [{}, {"Config": None}, {"Config": {"Labels": None}}])
def test_image_without_labels(data: object) -> None:
    assert parse_image_labels(data) == {}


def test_image_labels() -> None:
    assert parse_image_labels({"Config": {"Labels": {"vtapd.kernel": "/app"}}}) == {"vtapd.kernel": "/app"}


def test_digest_changes_with_a_listed_member_alone() -> None:
    entry = {"Names": ["/web"], "State": "running", "Status": "Up 3 seconds"}
    assert digest(entry) == digest({**entry, "Status": "Up 4 seconds"})
    assert digest(entry) != digest({**entry, "Names": ["/web2"]})


def test_least_container() -> None:
    container, image = parse_container(answer())
    assert (container.id, container.name, container.running, image) == ("c" * 64, "web", False, "")
    assert (container.stop_signal, container.stop_timeout_s) == (15, 10.0)
    assert container.endpoints == ()


@pytest.mark.parametrize(
    ("config", "is_entrypoint", "words"),
    [
        ({"Entrypoint": ["/vtapd-init"], "Cmd": ["--port", "9090"]}, True, ("--port", "9090")),
        ({"Entrypoint": ["/bin/vtapd-init", "-v"], "Cmd": ["a b"]}, True, ("-v", "a b")),
        ({"Entrypoint": ["/vtapd-init"], "Cmd": None}, True, ()),
        ({"Entrypoint": ["/bin/sh"], "Cmd": ["/vtapd-init", "x"]}, False, ()),
        ({"Entrypoint": None, "Cmd": ["sleep", "1"]}, False, ()),
    ],
)
def test_command_is_the_guests_if_vtapd_init_is_the_entrypoint(
    config: dict[str, Any], is_entrypoint: bool, words: tuple[str, ...]
) -> None:
    container, _ = parse_container(answer(Config=config))
    assert (container.has_vtapd_init, container.words) == (is_entrypoint, words)


def test_full_container() -> None:
    container, image = parse_container(
        answer(
            Image="sha256:1",
            ResolvConfPath="/data/resolv.conf",
            State={"Running": True, "Paused": True, "Pid": 42, "StartedAt": "2026-01-02T03:04:05.5Z"},
            Config={
                "Hostname": "web",
                "Labels": {"a": "b"},
                "StopSignal": "SIGINT",
                "StopTimeout": 30,
                "Env": ["A=1=2", "GONE"],
            },
            HostConfig={
                "NetworkMode": "bridge",
                "Memory": 64,
                "Devices": [{"PathOnHost": "/dev/kvm", "CgroupPermissions": "rw"}],
                "DeviceCgroupRules": ["c 1:3 rwm"],
                "Dns": ["10.0.0.1"],
            },
        )
    )
    assert container.running
    assert container.paused
    assert container.resolv_conf == "/data/resolv.conf"
    assert (container.pid, image) == (42, "sha256:1")
    assert container.started_ns == 1767323045_500_000_000
    assert container.env == (("A", "1=2"), ("GONE", ""))
    assert container.devices == (("/dev/kvm", "rw"),)
    assert (container.device_rules, container.dns) == (("c 1:3 rwm",), ("10.0.0.1",))


def test_what_is_no_container_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_container({"Id": "c"})


@pytest.mark.parametrize(
    ("data", "addresses"),
    [
        ({"IPAddress": "10.0.0.2", "IPPrefixLen": 24, "Gateway": "10.0.0.1"}, (("10.0.0.2", 24, "10.0.0.1"),)),
        ({"IPAddress": "10.0.0.2", "IPPrefixLen": 24}, (("10.0.0.2", 24, ""),)),
        ({"GlobalIPv6Address": "fd00::2", "GlobalIPv6PrefixLen": 64}, (("fd00::2", 64, ""),)),
        ({"IPAddress": "10.0.0.2", "IPPrefixLen": 99}, ()),
        ({"IPAddress": "10.0.0.2", "IPPrefixLen": 24, "Gateway": "router"}, ()),
        ({}, ()),
    ],
)
def test_endpoint_has_the_addresses_that_are_valid(data: object, addresses: tuple[tuple[str, int, str], ...]) -> None:
    container, _ = parse_container(answer(NetworkSettings={"Networks": {"net": data}}))
    assert container.endpoints == (Endpoint("net", "", addresses),)


@pytest.mark.parametrize("moment", ["", "0001-01-01T00:00:00Z", "yesterday"])
def test_container_that_never_ran_has_no_start(moment: str) -> None:
    assert parse_container(answer(State={"StartedAt": moment}))[0].started_ns == 0


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("int", 2),
        ("9", 9),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("SIGUSR1", 10),
        ("SIGNONSENSE", 15),
        ("?", 15),
        ("", 15),
    ],
)
def test_stop_signal_in_every_form_that_docker_takes(name: str, number: int) -> None:
    assert parse_container(answer(Config={"StopSignal": name}))[0].stop_signal == number
