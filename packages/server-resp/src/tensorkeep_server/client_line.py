"""How CLIENT LIST describes a connection, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep.commands.args import text

if TYPE_CHECKING:
    from tensorkeep_server.state import Client


def client_line(client: Client, now: float) -> str:
    """Describes a connection with the fields of Redis 7.0 and 7.2, in their order.

    Zeros stand for what does not exist here: buffers that a connection has of its own while
    nothing is in them.
    """
    held = client.held()
    subscriptions = client.server.subscriptions
    unix_socket = client.server.settings.unix_socket
    flags = "".join(
        letter
        for letter, holds in (
            ("O", client in client.server.monitors),
            ("P", client.subscribed),
            ("x", client.transaction is not None),
            ("b", client.blocked),
            ("d", client.watch.changed),
            ("U", unix_socket and client.local_address == f"{unix_socket}:0"),
            ("e", not client.evictable),
            ("T", not client.touches),
        )
        if holds
    )
    fields = {
        "id": client.id,
        "addr": client.address,
        "laddr": client.local_address,
        "fd": client.descriptor,
        "name": client.name,
        "age": int(now - client.connected_at),
        "idle": int(now - client.active_at),
        "flags": flags or "N",
        "db": client.database,
        "sub": subscriptions.channels.count(client),
        "psub": subscriptions.patterns.count(client),
        "ssub": subscriptions.shard_channels.count(client),
        "multi": -1 if client.transaction is None else len(client.transaction.queue),
        "qbuf": held.unparsed,
        "qbuf-free": held.room,
        "argv-mem": held.arguments,
        "multi-mem": held.queued,
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": held.pieces,
        "omem": held.unread,
        "tot-mem": held.total,
        "events": "rw" if held.unread else "r",
        "cmd": client.last_command or "NULL",
        "user": text(client.user.name),
        "redir": -1,
        "resp": client.version,
        "lib-name": client.library.get("lib-name", ""),
        "lib-ver": client.library.get("lib-ver", ""),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())
