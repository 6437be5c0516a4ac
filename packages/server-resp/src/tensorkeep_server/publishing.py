"""What some client causes and others get: messages to channels, and events on keys.

What is said is encoded once, however many get it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import READONLY
from tensorkeep.commands.reply import Push
from tensorkeep_server.encoding import encode
from tensorkeep_server.notifications import is_silent, messages
from tensorkeep_server.portions import take

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep.commands.reply import Blob, Reply, Version
    from tensorkeep_server.portions import Piece
    from tensorkeep_server.state import Client, Server


def publish(server: Server, channel: bytes, message: Blob) -> int:
    """Sends a message to who is subscribed to a channel, or to a pattern that matches it.

    Returns:
        How often it was sent.
    """
    receivers = server.subscriptions.receivers(channel)
    _send(receivers, channel, message, b"message")
    return len(receivers)


def publish_in_shard(server: Server, channel: bytes, message: Blob) -> int:
    """Sends a message to who is subscribed to a shard channel; returns how often it was sent."""
    receivers = [
        (client, None) for client in server.subscriptions.shard_channels.subscribers(channel)
    ]
    _send(receivers, channel, message, b"smessage")
    return len(receivers)


def _send(
    receivers: Iterable[tuple[Client, bytes | None]], channel: bytes, message: Blob, kind: bytes
) -> None:
    made: dict[tuple[Version, bytes | None], tuple[list[Blob], int]] = {}
    for client, pattern in receivers:
        form = client.version, pattern
        encoded = made.get(form)
        if encoded is None:
            items: tuple[Reply, ...] = (kind, channel, message)
            if pattern is not None:
                items = (b"pmessage", pattern, channel, message)
            pieces: list[Piece] = []
            encode(Push(items), client.version, pieces)
            buffers = take(pieces)
            encoded = made[form] = buffers, sum(map(len, buffers))
        client.push(*encoded)


# --------------------------------------------------------------------------- events on keys
# Commands that write, and that read what they answer.
_READING_TOO: Final = frozenset(
    {
        *("getset", "getdel", "getex", "sinterstore", "sunionstore", "sdiffstore"),
        *("zrangestore", "zinterstore", "zunionstore", "zdiffstore"),
    }
)


def announce_events(server: Server, classes: str) -> None:
    """Sets which events on keys clients are told of.

    Args:
        server: The server.
        classes: What `read_classes` returned.
    """
    server.announced = classes
    server.observe()
    silent = is_silent(classes)
    for number, keys in enumerate(server.databases):
        keys.listener = None if silent else partial(_announce, server, number)


def _announce(server: Server, database: int, event: str, key: bytes) -> None:
    if event == "keymiss" and not _reads(server):
        return
    for channel, message in messages(server.announced, database, event, key):
        publish(server, channel, message)


def _reads(server: Server) -> bool:
    """Whether what is done now is the reading of keys, and not part of a change or of a look."""
    doing = server.doing
    if doing is None or doing.parent:  # OBJECT and MEMORY ask about keys, and miss none
        return False
    return READONLY in doing.flags or doing.runs or doing.name in _READING_TOO
