#!/usr/bin/python3
"""Runs the commands of the tests inside the machine, one at a time: no network and no login needed.

A request is a line of JSON on the virtio-serial port:
    {"id": number, "argv": [...], "stdin": text, "timeout_s": number}
The answer is one line, too:
    {"id": the same number, "exit": code, "out": base64, "err": base64}
The exit code is 124 after a timeout, as for timeout(1).
"""

import base64
import json
import os
import signal
import subprocess
from typing import IO, TypedDict

PORT = "/dev/virtio-ports/vtapd.test"
MOST_BYTES = 4 << 20  # of each stream; the end of the output matters most


class Request(TypedDict):
    id: int
    argv: list[str]
    stdin: str
    timeout_s: float


def answer(request: Request) -> dict[str, object]:
    with subprocess.Popen(
        request["argv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(request["stdin"].encode(), request["timeout_s"])
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # also processes that hold the other end of a pipe
            out, err = process.communicate()
            code = 124
    shown = {name: base64.b64encode(text[-MOST_BYTES:]).decode() for name, text in (("out", out), ("err", err))}
    return {"exit": code, **shown}


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the other side hangs up; systemd then restarts this."""
    for line in requests:
        request: Request = json.loads(line)
        try:
            reply = answer(request)
        except OSError as error:
            reply = {"exit": 127, "out": "", "err": base64.b64encode(str(error).encode()).decode()}
        answers.write(json.dumps({"id": request["id"], **reply}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    port = os.open(PORT, os.O_RDWR | os.O_CLOEXEC)  # a port opens once
    with open(port, "rb") as requests, open(os.dup(port), "wb") as answers:
        serve(requests, answers)
