"""A guest whose kernel means harm: it speaks 9p and FUSE to the servers of its shares byte by byte.

The test guest puts what a test says into the queue of the device as it stands (tests/guest/device.c).
"""

import struct
from dataclasses import dataclass

from .containers import Container

P9_DEVICE, P9_QUEUE = 0x1009, 0
FS_DEVICE, FS_QUEUE = 0x105A, 1
ROOM = 4096
ANSWERS_S = 10.0

SILENT, BROKEN = "silent", "broken"
"""The device does not answer, or has said that its driver must reset it."""


class Refused(OSError):
    """The server answered with this errno."""


@dataclass
class Device:
    """The device of a share, and the queue to which a guest sends its requests."""

    guest: Container
    id: int
    queue: int

    def send(self, message: bytes = b"", room: int = ROOM, **options: int) -> bytes | str:
        """Return the answer; SILENT or BROKEN if there is none."""
        asked = {"id": self.id, "queue": self.queue, "room": room, "say": message.hex(), **options}
        reply = self.guest.get("/device?" + "&".join(f"{key}={value}" for key, value in asked.items()), ANSWERS_S)
        assert reply.status == 200, reply
        words = reply.body.split()
        return words[0] if words[0] in (SILENT, BROKEN) else bytes.fromhex(words[1] if len(words) > 1 else "")


def text(value: str) -> bytes:
    return struct.pack("<H", len(value.encode())) + value.encode()


class P9:
    """A client of 9P2000.L, as far as an attack needs it (the messages are those of linux/net/9p/client.c)."""

    LOPEN, SYMLINK, MKNOD, VERSION, ATTACH, WALK, READ = 12, 16, 18, 100, 104, 110, 116
    ERROR, NO_FID, ROOT = 7, 0xFFFFFFFF, 1

    def __init__(self, guest: Container) -> None:
        self.device = Device(guest, P9_DEVICE, P9_QUEUE)
        self.fid = self.ROOT

    def begin(self, folder: str = "") -> None:
        """Start the device and attach its root. A guest may name any folder, and gets its share."""
        answer = self.device.send(self.message(self.VERSION, struct.pack("<I", 8192) + text("9P2000.L")), reset=1)
        assert isinstance(answer, bytes)
        assert answer.endswith(text("9P2000.L")), answer
        self.ask(self.ATTACH, struct.pack("<II", self.ROOT, self.NO_FID) + text("root") + text(folder) + bytes(4))

    @staticmethod
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("<IBH", 7 + len(body), kind, 1) + body

    def ask(self, kind: int, body: bytes) -> bytes:
        """Return the body of the answer."""
        answer = self.device.send(self.message(kind, body))
        assert isinstance(answer, bytes), f"message {kind}: the device is {answer}"
        if answer[4] == self.ERROR:
            number = struct.unpack_from("<I", answer, 7)[0]
            raise Refused(number, f"message {kind}")
        assert answer[4] == kind + 1, answer
        return answer[7:]

    def walk(self, *names: str) -> int:
        """Return how many of the names were found, one below the other. If all were, `fid` is that file."""
        self.fid += 1
        body = struct.pack("<IIH", self.ROOT, self.fid, len(names)) + b"".join(map(text, names))
        return int(struct.unpack_from("<H", self.ask(self.WALK, body))[0])

    def read_file(self, *names: str) -> bytes:
        assert self.walk(*names) == len(names)
        self.ask(self.LOPEN, struct.pack("<II", self.fid, 0))
        answer = self.ask(self.READ, struct.pack("<IQI", self.fid, 0, 1024))
        return answer[4 : 4 + struct.unpack_from("<I", answer)[0]]


class Fuse:
    """A client of virtiofs, which carries FUSE's messages (linux/include/uapi/linux/fuse.h)."""

    LOOKUP, SYMLINK, MKNOD, OPEN, READ, INIT = 1, 6, 8, 14, 15, 26
    ROOT, MAJOR, MINOR = 1, 7, 31

    def __init__(self, guest: Container) -> None:
        self.device = Device(guest, FS_DEVICE, FS_QUEUE)

    def begin(self) -> None:
        assert self.is_served(), "the share is not served"

    def is_served(self) -> bool:
        """Start the device again, and return whether its server answers."""
        begin = self.message(self.INIT, 0, struct.pack("<IIII", self.MAJOR, self.MINOR, 1 << 16, 0))
        answer = self.device.send(begin, reset=1)
        return isinstance(answer, bytes) and struct.unpack_from("<i", answer, 4)[0] == 0

    @staticmethod
    def message(kind: int, node: int, body: bytes) -> bytes:
        return struct.pack("<IIQQIIII", 40 + len(body), kind, 1, node, 0, 0, 0, 0) + body

    def ask(self, kind: int, node: int, body: bytes, **options: int) -> bytes:
        """Return the body of the answer."""
        answer = self.device.send(self.message(kind, node, body), **options)
        assert isinstance(answer, bytes), f"message {kind}: the device is {answer}"
        length, number = struct.unpack_from("<Ii", answer)
        if number:
            raise Refused(-number, f"message {kind}")
        return answer[16:length]

    def look_up(self, node: int, name: str) -> int:
        """Return the number of a file of a folder."""
        return int(struct.unpack_from("<Q", self.ask(self.LOOKUP, node, name.encode() + b"\0"))[0])

    def read_file(self, node: int) -> bytes:
        handle = self.ask(self.OPEN, node, struct.pack("<II", 0, 0))[:8]
        return self.ask(self.READ, node, handle + struct.pack("<QIIQII", 0, 1024, 0, 0, 0, 0))
