"""The Docker that the demo runs on: the user's, if one answers here and no vtapd uses it yet, else its own.

The demo's own Docker lives in a network namespace that a veth pair connects to the machine, as if it were a second
machine: its bridge, its firewall rules and its forwarding disappear with it, and the machine's are not changed.
"""

import ipaddress
import json
import os
import socket
import subprocess
import time
from pathlib import Path

from tests.harness.netns import NetworkNamespace

from .leftovers import LINK, Leftovers
from .terminal import DemoError, eventually, run

DEFAULT_HOST = "unix:///var/run/docker.sock"
SERVICE_SOCKET = Path("/run/vtapd/control.sock")
START_S = 60.0
ANSWER_S = 3.0

# Docker's default, in the namespace; the veth pair needs another network.
BRIDGE = "172.17.0.1/16"
LINK_NETWORKS = [f"{net}.{third}.0/30" for net in ("192.168", "10.213", "172.31") for third in (213, 113, 13)]


def users_docker() -> str | None:
    """Return where the user's Docker answers; None if none does, or if it is not on this machine."""
    host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    if not host.startswith("unix://"):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_S)
        try:
            client.connect(host.removeprefix("unix://"))
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return host if b" 200 " in client.recv(64) else None
        except OSError:
            return None


def service_runs() -> bool:
    """Return whether a vtapd of this machine serves already; two of them must not share a Docker."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_S)
        return client.connect_ex(os.fspath(SERVICE_SOCKET)) == 0


def start_docker(made: Leftovers) -> tuple[str, float]:
    """Start a dockerd in its own network. Return the address where it publishes ports, and how long it took."""
    began = time.monotonic()
    home = Path(made.home)
    config, log_file, dock = home / "daemon.json", home / "dockerd.log", home / "docker.sock"
    made.docker_host, made.docker_is_ours = f"unix://{dock}", True
    made.save()
    config.write_text("{}")
    namespace = NetworkNamespace()
    try:
        address = _connect_namespace(namespace)
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                _argv(home, namespace.fd),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(namespace.fd,), start_new_session=True,
            )  # fmt: skip
    finally:
        namespace.close()
    made.note_process("dockerd", process.pid)

    def answers() -> bool:
        if process.poll() is not None:
            last = "\n".join(log_file.read_text(errors="replace").splitlines()[-10:])
            raise DemoError(f"dockerd ended instead of starting; its last lines:\n{last}")
        return dock.exists() and made.docker("version", "-f", "{{.Server.Version}}", check=False) != ""

    eventually(answers, "dockerd answers", START_S)
    return address, time.monotonic() - began


def _argv(home: Path, namespace: int) -> list[str]:
    return [
        *("nsenter", f"--net=/proc/self/fd/{namespace}", "--"),
        "dockerd",
        f"--config-file={home / 'daemon.json'}",
        f"--data-root={home / 'data'}",
        f"--exec-root={home / 'exec'}",
        f"--pidfile={home / 'pid'}",
        f"--host=unix://{home / 'docker.sock'}",
        f"--bip={BRIDGE}",
        f"--cgroup-parent=/{home.name}",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--shutdown-timeout=1",
        # If a containerd runs already, dockerd uses that one.
        "--containerd-namespace=vtapd-demo",
        "--containerd-plugins-namespace=vtapd-demo-plugins",
    ]


def _connect_namespace(namespace: NetworkNamespace) -> str:
    """Make a veth pair into the namespace, and return the address of its far end."""
    network = _free_network()
    near, far = network.hosts()
    inside = ["nsenter", f"--net=/proc/self/fd/{namespace.fd}", "ip"]

    def ip_inside(*args: str) -> None:
        run([*inside, *args], pass_fds=(namespace.fd,))

    ip_inside("link", "add", "eth0", "type", "veth", "peer", "name", LINK, "netns", str(os.getpid()))
    ip_inside("link", "set", "lo", "up")
    ip_inside("link", "set", "eth0", "up")
    ip_inside("address", "add", f"{far}/{network.prefixlen}", "dev", "eth0")
    run(["ip", "link", "set", LINK, "up"])
    run(["ip", "address", "add", f"{near}/{network.prefixlen}", "dev", LINK])
    return str(far)


def _free_network() -> ipaddress.IPv4Network:
    """Return a network to which no route of this machine leads, except the default route."""
    routes = json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]))
    taken = [ipaddress.IPv4Network(r["dst"], strict=False) for r in routes if r["dst"] not in ("default", "0.0.0.0/0")]
    for candidate in map(ipaddress.IPv4Network, LINK_NETWORKS):
        if not any(candidate.overlaps(each) for each in taken):
            return candidate
    raise DemoError(f"every network that the demo could use is taken: {', '.join(LINK_NETWORKS)}")
