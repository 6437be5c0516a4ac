"""Messages between clients: SUBSCRIBE, PUBLISH, PUBSUB and the like.

A confirmation is sent like a message: one for each channel, also to a client that wants no replies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    FAST,
    LOADING,
    NOSCRIPT,
    PUBSUB,
    STALE,
    Channels,
    Command,
    command,
    container,
    nothing,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.glob import compile_glob
from tensorkeep.commands.reply import Push, Several
from tensorkeep_server.publishing import publish, publish_in_shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client
    from tensorkeep_server.subscriptions import Subscriptions, Topics

_SUBSCRIBING: Final = (PUBSUB, NOSCRIPT, LOADING, STALE)
_PUBLISHING: Final = (PUBSUB, LOADING, STALE, FAST)
_ASKING: Final = (PUBSUB, LOADING, STALE)


# --------------------------------------------------------------------------- subscribing
@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of subscription.

    Attributes:
        topics: Returns what there is of this kind.
        counted: Returns all that a confirmation counts.
        subscribe: What confirms a subscription.
        unsubscribe: What confirms its end.
    """

    topics: Callable[[Subscriptions[Client]], Topics[Client]]
    counted: Callable[[Subscriptions[Client]], tuple[Topics[Client], ...]]
    subscribe: bytes
    unsubscribe: bytes


def _channels_and_patterns(known: Subscriptions[Client]) -> tuple[Topics[Client], ...]:
    return known.channels, known.patterns


_CHANNEL: Final = _Kind(
    attrgetter("channels"), _channels_and_patterns, b"subscribe", b"unsubscribe"
)
_PATTERN: Final = _Kind(
    attrgetter("patterns"), _channels_and_patterns, b"psubscribe", b"punsubscribe"
)
_SHARD_CHANNEL: Final = _Kind(
    attrgetter("shard_channels"),
    lambda known: (known.shard_channels,),
    b"ssubscribe",
    b"sunsubscribe",
)


def subscribe(client: Client, names: list[bytes], *, kind: _Kind) -> Reply:
    """Subscribes the client; confirms each name, with how many subscriptions it has now."""
    if kind is _SHARD_CHANNEL and client.transaction is not None:
        raise CommandError("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
    known = client.server.subscriptions
    topics = kind.topics(known)
    client.subscribed = True
    confirmations = []
    for name in names:
        topics.add(client, name)
        confirmations.append(_confirmation(client, kind, kind.subscribe, name))
    return Several(tuple(confirmations))


def unsubscribe(client: Client, names: list[bytes], *, kind: _Kind) -> Reply:
    """Ends subscriptions of the client, without names all of this kind; confirms each."""
    known = client.server.subscriptions
    topics = kind.topics(known)
    confirmations = []
    for name in names or topics.names(client):
        topics.remove(client, name)
        confirmations.append(_confirmation(client, kind, kind.unsubscribe, name))
    client.subscribed = client in known
    return Several(tuple(confirmations) or (_confirmation(client, kind, kind.unsubscribe, None),))


def _confirmation(client: Client, kind: _Kind, word: bytes, name: bytes | None) -> Push:
    counted = kind.counted(client.server.subscriptions)
    return Push((word, name, sum(topics.count(client) for topics in counted)))


# --------------------------------------------------------------------------- publishing
class Message(NamedTuple):
    """A message and the channel that it goes to."""

    channel: bytes
    message: Argument


def parse_message(args: Args) -> Message:
    """Parses PUBLISH and SPUBLISH."""
    return Message(args.take(), args.take_blob())


def publish_message(client: Client, request: Message) -> Reply:
    """Sends a message; returns how often it was sent."""
    return publish(client.server, *request)


def publish_shard_message(client: Client, request: Message) -> Reply:
    """Sends a message to a shard channel; returns how often it was sent."""
    return publish_in_shard(client.server, *request)


# --------------------------------------------------------------------------- PUBSUB
def parse_pattern(args: Args) -> bytes | None:
    """Parses [pattern]."""
    if len(args) > 1:
        raise args.wrong_subcommand()
    return args.take() if len(args) else None


def show_channels(client: Client, pattern: bytes | None, *, kind: _Kind) -> Reply:
    """Returns the channels that somebody is subscribed to, of those that a pattern matches."""
    channels = kind.topics(client.server.subscriptions)
    if pattern is None:
        return [*channels]
    matches = compile_glob(pattern).fullmatch
    return [name for name in channels if matches(name)]


def count_subscribers(client: Client, names: list[bytes], *, kind: _Kind) -> Reply:
    """Returns channels, each with how many clients are subscribed to it."""
    topics = kind.topics(client.server.subscriptions)
    return tuple(item for name in names for item in (name, len(topics.subscribers(name))))


def count_patterns(client: Client, _: None) -> Reply:
    """Returns how many patterns somebody is subscribed to."""
    return len(client.server.subscriptions.patterns)


_PUBSUB: Final = (
    command(
        "channels",
        parse_pattern,
        partial(show_channels, kind=_CHANNEL),
        summary="Returns the channels that have subscribers.",
        group="pubsub",
        arity=-2,
        flags=_ASKING,
        syntax="[pattern]",
        since="2.8.0",
    ),
    command(
        "numpat",
        nothing,
        count_patterns,
        summary="Returns how many patterns have subscribers.",
        group="pubsub",
        arity=2,
        flags=_ASKING,
        since="2.8.0",
    ),
    command(
        "numsub",
        Args.take_rest,
        partial(count_subscribers, kind=_CHANNEL),
        summary="Returns how many subscribers channels have, not counting those of patterns.",
        group="pubsub",
        arity=-2,
        flags=_ASKING,
        syntax="[channel ...]",
        since="2.8.0",
    ),
    command(
        "shardchannels",
        parse_pattern,
        partial(show_channels, kind=_SHARD_CHANNEL),
        summary="Returns the shard channels that have subscribers.",
        group="pubsub",
        arity=-2,
        flags=_ASKING,
        syntax="[pattern]",
        since="7.0.0",
    ),
    command(
        "shardnumsub",
        Args.take_rest,
        partial(count_subscribers, kind=_SHARD_CHANNEL),
        summary="Returns how many subscribers shard channels have.",
        group="pubsub",
        arity=-2,
        flags=_ASKING,
        syntax="[shardchannel ...]",
        since="7.0.0",
    ),
)
COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "subscribe",
        Args.take_rest,
        partial(subscribe, kind=_CHANNEL),
        summary="Subscribes the connection to channels.",
        group="pubsub",
        arity=-2,
        flags=_SUBSCRIBING,
        channels=Channels(1, -1),
        syntax="channel [channel ...]",
        since="2.0.0",
    ),
    command(
        "psubscribe",
        Args.take_rest,
        partial(subscribe, kind=_PATTERN),
        summary="Subscribes the connection to all channels that a pattern matches.",
        group="pubsub",
        arity=-2,
        flags=_SUBSCRIBING,
        channels=Channels(1, -1, patterns=True),
        syntax="pattern [pattern ...]",
        since="2.0.0",
    ),
    command(
        "ssubscribe",
        Args.take_rest,
        partial(subscribe, kind=_SHARD_CHANNEL),
        summary="Subscribes the connection to shard channels.",
        group="pubsub",
        arity=-2,
        flags=_SUBSCRIBING,
        keys=(1, -1, 1),
        channels=Channels(1, -1),
        syntax="shardchannel [shardchannel ...]",
        since="7.0.0",
    ),
    command(
        "unsubscribe",
        Args.take_rest,
        partial(unsubscribe, kind=_CHANNEL),
        summary="Ends the connection's subscriptions to some channels, or to all.",
        group="pubsub",
        flags=_SUBSCRIBING,
        syntax="[channel ...]",
        since="2.0.0",
    ),
    command(
        "punsubscribe",
        Args.take_rest,
        partial(unsubscribe, kind=_PATTERN),
        summary="Ends the connection's subscriptions to some patterns, or to all.",
        group="pubsub",
        flags=_SUBSCRIBING,
        syntax="[pattern ...]",
        since="2.0.0",
    ),
    command(
        "sunsubscribe",
        Args.take_rest,
        partial(unsubscribe, kind=_SHARD_CHANNEL),
        summary="Ends the connection's subscriptions to some shard channels, or to all.",
        group="pubsub",
        flags=_SUBSCRIBING,
        keys=(1, -1, 1),
        syntax="[shardchannel ...]",
        since="7.0.0",
    ),
    command(
        "publish",
        parse_message,
        publish_message,
        summary="Sends a message to all who are subscribed to a channel.",
        group="pubsub",
        arity=3,
        flags=_PUBLISHING,
        channels=Channels(1, 1),
        syntax="channel message",
        since="2.0.0",
    ),
    command(
        "spublish",
        parse_message,
        publish_shard_message,
        summary="Sends a message to all who are subscribed to a shard channel.",
        group="pubsub",
        arity=3,
        flags=_PUBLISHING,
        keys=(1, 1, 1),
        channels=Channels(1, 1),
        syntax="shardchannel message",
        since="7.0.0",
    ),
    container(
        only_subcommands(
            "pubsub", summary="Tells about subscriptions.", group="pubsub", since="2.8.0"
        ),
        _PUBSUB,
        help_since="6.2.0",
    ),
)
