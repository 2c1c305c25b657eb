"""The network interface of this host that another host can reach.

By default gloo listens on the address that the host name resolves to. This is often the loopback interface
(``127.0.1.1`` in /etc/hosts), which no other host can reach.
"""

from __future__ import annotations

import fcntl
import socket
import struct

__all__ = ["address_towards", "interface_of"]

_SIOCGIFADDR = 0x8915
"""Linux's request for the IPv4 address of an interface."""


def address_towards(host: str) -> str | None:
    """Return the address of this host on the route to another host, or None if there is no route.

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
    """Return the name of the interface with an IPv4 address, or None if there is none.

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
