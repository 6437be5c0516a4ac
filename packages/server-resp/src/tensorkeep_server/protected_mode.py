"""Who is turned away as long as anybody is let in without a password: clients elsewhere."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

DENIED: Final = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no "
    b"password is set for the default user. In this mode connections are only accepted from "
    b"the loopback interface. If you want to connect from external computers to Redis you may "
    b"adopt one of the following solutions: 1) Just disable protected mode sending the command"
    b" 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from "
    b"the same host the server is running, however MAKE SURE Redis is not publicly accessible "
    b"from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) "
    b"Alternatively you can just disable the protected mode by editing the Redis configuration"
    b" file, and setting the protected mode option to 'no', and then restarting the server. 3)"
    b" If you started the server manually just for testing, restart it with the "
    b"'--protected-mode no' option. 4) Setup a an authentication password for the default "
    b"user. NOTE: You only need to do one of the above things in order for the server to start"
    b" accepting connections from the outside.\r\n"
)
"""What a client is told that is turned away; Redis' words, which people look up."""


def is_elsewhere(host: object) -> bool:
    """Returns whether a client, or a server's address, is not of this machine alone.

    Args:
        host: An IP address, or the name of a host; whatever else a socket's address begins with,
            such as the path of a Unix socket's, is of this machine.
    """
    if not isinstance(host, str) or host.startswith("/"):
        return False
    if host == "localhost":
        return False
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return bool(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return not address.ipv4_mapped.is_loopback
    return not address.is_loopback
