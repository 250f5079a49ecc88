"""Read one network interface by ioctl, without waiting for RTNL (man 7 netdevice; linux/sockios.h, linux/if.h)."""

import errno
import fcntl
import struct

from supervisor.core.links import IfIndex, Link
from supervisor.errors import Step, Transient
from supervisor.linux.socket_calls import IFREQ

_SIOCGIFNAME, _SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR = 0x8910, 0x8913, 0x8921, 0x8927
_SOCKADDR = struct.Struct("=H6s")
_IFF_UP, _ARPHRD_ETHER = 0x1, 1


def show_link(socket: int, index: IfIndex) -> Link | None:
    """Return the link of this ifindex in the socket's network namespace, or None if it is gone.

    The link's kind and parent are left empty. Raises Transient if the kernel does not answer.
    """
    try:
        name = _ask(socket, _SIOCGIFNAME, b"", struct.pack("=i", index))[0]
        hardware, mac = _SOCKADDR.unpack_from(_ask(socket, _SIOCGIFHWADDR, name)[1])
        (mtu,) = struct.unpack_from("=i", _ask(socket, _SIOCGIFMTU, name)[1])
        (flags,) = struct.unpack_from("=h", _ask(socket, _SIOCGIFFLAGS, name)[1])
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise Transient(f"cannot read link {index}: {error.strerror}", step=Step.OBSERVE) from error
    return Link(
        index=index,
        name=name.rstrip(b"\0").decode("utf-8", "replace"),
        mac=mac.hex(":"),
        mtu=mtu,
        up=bool(flags & _IFF_UP),
        ethernet=hardware == _ARPHRD_ETHER,
        kind="",
        parent=None,
        parent_netns=None,
    )


def _ask(socket: int, question: int, name: bytes, value: bytes = b"") -> tuple[bytes, bytes]:
    answer: tuple[bytes, bytes] = IFREQ.unpack(fcntl.ioctl(socket, question, IFREQ.pack(name, value)))
    return answer
