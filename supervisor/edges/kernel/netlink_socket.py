"""A socket for rtnetlink (man 7 rtnetlink) that is asked and answers within the call.

The kernel carries a request out while it is sent, so nothing is waited for and no event loop is needed.
"""

import errno
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from supervisor.core.formats.netlink import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Request,
    pack,
    parse_error,
    unpack,
)
from supervisor.core.formats.rtnetlink import Kind, dump
from supervisor.errors import ContainerGone, Permanent, Step, Transient, VtapdError

_ANSWER_S = 5.0
_DUMP_BYTES = 1 << 17  # the kernel sends no larger piece of a dump
_DUMP_TRIES = 5


class NetlinkSocket:
    """Owns the rtnetlink socket that it was given."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(_ANSWER_S)
        self._sequence = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def request(self, *requests: Request, forgiven: Collection[int] = ()) -> bytes | None:
        """Send the requests as one piece, and return the link that the kernel shows, if one was asked for.

        Raises the OSError of the first that failed. The `forgiven` errors count as success.
        """
        awaited = range(self._sequence + 1, self._sequence + 1 + len(requests))
        self._sequence += len(requests)
        self._socket.send(pack(requests, awaited[0]))
        shown, failures = None, []
        answered: set[int] = set()
        while len(answered) < len(awaited):
            for kind, _, sequence, payload in unpack(self._socket.recv(_DUMP_BYTES)):
                if sequence not in awaited:
                    continue  # the answer to a request that timed out
                answered.add(sequence)
                if kind != NLMSG_ERROR:
                    shown = payload
                elif (code := parse_error(payload)) not in (0, *forgiven):
                    failures.append(code)
        if failures:
            raise OSError(failures[0], os.strerror(failures[0]))
        return shown

    def ask(self, *requests: Request) -> list[bytes | None]:
        """Send these questions, each with NLM_F_ACK, as one piece. Return the answers, None for what is not there."""
        first = self._sequence + 1
        self._sequence += len(requests)
        answers: list[bytes | None] = [None] * len(requests)
        awaited = set(range(first, first + len(requests)))
        try:
            self._socket.send(pack(requests, first))
            while awaited:
                for kind, _, sequence, payload in unpack(self._socket.recv(_DUMP_BYTES)):
                    if sequence in awaited and kind == NLMSG_ERROR:
                        awaited.remove(sequence)
                    elif sequence in awaited:
                        answers[sequence - first] = payload
        except OSError as error:
            raise Transient(f"the kernel does not answer: {error.strerror or error}", step=Step.OBSERVE) from error
        return answers

    def dump(self, kind: Kind, version: int = 0) -> list[bytes]:
        """Return everything of a kind, of one version of IP or with 0 of both, as it was at one moment."""
        return self.dump_by(dump(kind, version), kind.name.lower())

    def dump_by(self, request: Request, what: str) -> list[bytes]:
        """Return everything that the request asks for, as it was at one moment. `what` is its name in errors."""
        for _ in range(_DUMP_TRIES):
            try:
                consistent, payloads = self._dump_once(request)
            except OSError as error:
                raise Transient(f"cannot read the {what}: {error.strerror or error}", step=Step.OBSERVE) from error
            if consistent:
                return payloads
        raise Transient(f"the {what} change faster than they can be read", step=Step.OBSERVE)

    def _dump_once(self, request: Request) -> tuple[bool, list[bytes]]:
        """Return whether the tables did not change during the dump, and its messages."""
        self._sequence += 1
        self._socket.send(pack([request], self._sequence))
        consistent = True
        payloads: list[bytes] = []
        while True:
            for found, flags, sequence, payload in unpack(self._socket.recv(_DUMP_BYTES)):
                if sequence != self._sequence:
                    continue  # the rest of a dump that timed out
                consistent = consistent and not flags & NLM_F_DUMP_INTR
                if found in (NLMSG_DONE, NLMSG_ERROR):
                    if code := parse_error(payload):
                        raise OSError(code, os.strerror(code))
                    return consistent, payloads
                payloads.append(payload)


@contextmanager
def translated(step: Step, what: str, *forgiven: int) -> Iterator[None]:
    """Translate the OSError of a change. The `forgiven` are those of a change that is not needed any more."""
    try:
        yield
    except OSError as error:
        if error.errno not in forgiven:
            raise _translate(error, step, f"cannot {what}: {error.strerror or error}") from error


def _translate(error: OSError, step: Step, said: str) -> VtapdError:
    match error.errno:
        case errno.EPERM | errno.EACCES:
            return Permanent(said, step=step, remedy="vtapd needs CAP_NET_ADMIN: run it as root")
        case errno.EOPNOTSUPP if step is Step.MACVTAP:
            return Permanent(said, step=step, remedy="the kernel lacks macvtap: modprobe macvtap")
        case errno.ENODEV:
            return ContainerGone(said, step=step)
        case _:
            return Transient(said, step=step)
