"""What some client causes and others get: messages to channels.

What is said is encoded once, however many get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep_server.reply import Push, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorkeep_server.reply import Blob, Reply, Version
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
            pieces: list[Blob] = []
            encode(Push(items), client.version, pieces)
            encoded = made[form] = pieces, sum(map(len, pieces))
        client.push(*encoded)
