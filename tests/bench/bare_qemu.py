"""A QEMU without a daemon: the arguments of a running guest, with the rival's descriptors instead of the daemon's."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from supervisor.core.container import Pid
from supervisor.edges.kernel import cgroups
from tests.harness.chain import guest_network
from tests.harness.containers import Container
from tests.harness.processes import command_line

from .answer import await_answer

ANSWER_S = 10.0
NUMBER = re.compile(r"(?<=\bfd=)\d+")  # the number of a descriptor in the arguments
MAC = re.compile(r"(?<=\bmac=)[0-9a-f:]{17}")
SOCKET = re.compile(r"\bid=(qmp|console),fd=(\d+)")


def share_cgroup(container: Container, pid: int) -> None:
    """Join the container's cgroup: on a busy machine its processes get another share of the processors than others."""
    directories = cgroups.observe_cgroup(Pid(container.pid)).directories_of_qemu("tcg", started=False)
    cgroups.join_cgroup(directories, Pid(pid))


def _command(client: socket.socket, command: dict[str, object], *descriptors: int) -> object:
    """Send a QMP command, with descriptors, and return its answer. The greeting and events are left out."""
    socket.send_fds(client, [json.dumps(command).encode() + b"\n"], list(descriptors))
    received = b""
    while True:
        received += client.recv(1 << 16)
        *lines, _ = received.split(b"\n")
        for answer in map(json.loads, lines):
            if "return" in answer or "error" in answer:
                assert "return" in answer, answer
                return answer["return"]


def _migrate(client: socket.socket, command: str, descriptor: int) -> None:
    """Save or load a state, and wait until that is done."""
    parameters = {"max-bandwidth": 1 << 40}
    _command(client, {"execute": "migrate-set-parameters", "arguments": parameters})
    _command(client, {"execute": "getfd", "arguments": {"fdname": "state"}}, descriptor)
    _command(client, {"execute": command, "arguments": {"uri": "fd:state"}})
    while True:
        match _command(client, {"execute": "query-migrate"}):
            case {"status": "completed"}:
                return
            case {"status": "failed"}:
                raise AssertionError(f"{command} failed")
        time.sleep(0.001)


class BareQemu:
    """`like` is a container whose guest runs now; `bystander` has a tap that no process uses.

    If the bystander's address was taken over by hand, the guest can use it, and its first answer can be timed.
    """

    def __init__(self, like: Container, bystander: Container) -> None:
        self._owned = ExitStack()
        self._bystander = bystander
        pid = like.qemu()
        argv = [MAC.sub(bystander.endpoint.mac, word) for word in command_line(pid)]
        numbers = {number: self._open(pid, number) for number in set(NUMBER.findall("\0".join(argv)))}
        self._argv = [NUMBER.sub(lambda found: str(numbers[found[0]]), word) for word in argv]
        self._descriptors = tuple(numbers.values())
        self._folder = Path(self._owned.enter_context(tempfile.TemporaryDirectory(prefix="vtapd-bench-")))
        self._write_boot_files(Path(f"/proc/{like.pid}/root/hello.bin"), argv)
        self._sockets = {found[1]: numbers[found[2]] for word in argv if (found := SOCKET.search(word))}

    def close(self) -> None:
        self._owned.close()

    def start(self) -> tuple[float, float]:
        """Start it and kill it; return the seconds from before its exec to its QMP greeting, and to its first answer.

        QEMU sends the greeting before it builds the machine, and answers qmp_capabilities only afterwards.
        """
        with self._connect("console"), self._connect("qmp") as client, client.makefile("rb") as lines:
            began_s, qemu = time.perf_counter(), self._spawn()
            try:
                greeting = lines.readline()
                greeted_s = time.perf_counter()
                client.sendall(b'{"execute": "qmp_capabilities"}\n')
                answer = lines.readline()
                answered_s = time.perf_counter()
            finally:
                qemu.kill()
                _, printed = qemu.communicate(timeout=ANSWER_S)
        assert b'"QMP"' in greeting, printed.decode(errors="replace")
        assert b'"return"' in answer, printed.decode(errors="replace")
        return greeted_s - began_s, answered_s - began_s

    def start_to_answer(self) -> float:
        """Start it and kill it; return the seconds from before its exec until its guest has answered over HTTP."""
        with self._connect("console"):
            began_s, qemu = time.perf_counter(), self._spawn()
            try:
                return await_answer(self._bystander.machine, self._bystander.address) - began_s
            finally:
                qemu.kill()
                qemu.communicate(timeout=ANSWER_S)

    def save(self) -> Path:
        """Start it, let its guest answer, and return a file with its state."""
        state = self._folder / "state"
        with self._connect("console"), self._connect("qmp") as client:
            qemu = self._spawn()
            try:
                await_answer(self._bystander.machine, self._bystander.address)
                with state.open("wb") as file:
                    _command(client, {"execute": "qmp_capabilities"})
                    _command(client, {"execute": "stop"})
                    _migrate(client, "migrate", file.fileno())
            finally:
                qemu.kill()
                qemu.communicate(timeout=ANSWER_S)
        return state

    def load_to_answer(self, state: Path) -> float:
        """Start it, load the state and kill it; return the seconds from before its exec to its guest's first answer."""
        with self._connect("console"), self._connect("qmp") as client, state.open("rb") as file:
            began_s, qemu = time.perf_counter(), self._spawn("-incoming", "defer")
            try:
                _command(client, {"execute": "qmp_capabilities"})
                _migrate(client, "migrate-incoming", file.fileno())
                _command(client, {"execute": "cont"})
                return await_answer(self._bystander.machine, self._bystander.address) - began_s
            finally:
                qemu.kill()
                qemu.communicate(timeout=ANSWER_S)

    def _spawn(self, *more: str) -> subprocess.Popen[bytes]:
        qemu = subprocess.Popen(
            [*self._argv, *more],
            pass_fds=self._descriptors,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        share_cgroup(self._bystander, qemu.pid)
        return qemu

    def _connect(self, name: str) -> socket.socket:
        """Connect before QEMU is started; the kernel keeps the connection until QEMU accepts, so nothing polls."""
        client = socket.socket(socket.AF_UNIX)
        with socket.socket(fileno=os.dup(self._sockets[name])) as listening:
            client.connect(listening.getsockname())
        client.settimeout(ANSWER_S)
        return client

    def _write_boot_files(self, kernel: Path, argv: list[str]) -> None:
        """Write the files that the guest's QEMU found in its working directory, and that were removed since."""
        net = self._bystander.endpoint
        shutil.copyfile(kernel, self._folder / argv[argv.index("-kernel") + 1])
        for name in argv[argv.index("-initrd") + 1].split(",") if "-initrd" in argv else ():
            (self._folder / name).write_text(guest_network(net.address, net.prefix, net.gateway))

    def _open(self, pid: int, number: str) -> int:
        """Open what that QEMU has under this number; a socket and a tap are replaced by new ones of their kind."""
        path = Path(f"/proc/{pid}/fd/{number}")
        kind = str(path.readlink()) if path.is_symlink() else "taken"
        if kind == "taken":  # -add-fd: the console's log, which QEMU now has under another number
            return self._own(os.open("/dev/null", os.O_WRONLY))
        if kind.startswith("socket:"):
            return self._own(self._listen())
        if kind.startswith("/dev/tap"):
            return self._own(os.open(f"/proc/{self._bystander.pid}/root/dev/tap0", os.O_RDWR | os.O_NONBLOCK))
        return self._own(os.open(path, os.O_RDONLY))

    def _listen(self) -> int:
        folder = self._owned.enter_context(tempfile.TemporaryDirectory(prefix="vtapd-bench-"))
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{folder}/qmp")
        listening.listen(1)
        return listening.detach()

    def _own(self, descriptor: int) -> int:
        self._owned.callback(os.close, descriptor)
        return descriptor
