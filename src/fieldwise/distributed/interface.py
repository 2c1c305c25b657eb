"""Which of this host's addresses another host is reached from.

Gloo listens where the host's own name points to, which is often the loopback interface (``127.0.1.1`` in /etc/hosts),
and then no other host reaches it.
"""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ["address_towards", "interface_of"]

_SIOCGIFADDR = 0x8915
"""Linux's request for the IPv4 address of an interface."""


def address_towards(host: str) -> str | None:
    """Return this host's address on the way to another; None where there is no way.

    Examples
    --------
    >>> address_towards("127.0.0.1")
    '127.0.0.1'
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)  # of a datagram socket: nothing is sent
            own: str = probe.getsockname()[0]
    except OSError:
        return None
    return own


def interface_of(address: str) -> str | None:
    """Return the name of the interface that has an IPv4 address; None where none is found.

    Examples
    --------
    >>> interface_of("127.0.0.1")
    'lo'
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
