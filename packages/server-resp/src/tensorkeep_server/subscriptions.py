"""Who is subscribed to what, and so who gets a message.

This module knows no socket and no client: a subscriber is whatever can be a key of a dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from tensorkeep.commands.glob import compile_glob

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_S = TypeVar("_S")


@dataclass(slots=True)
class _Topic(Generic[_S]):
    """What is known of one name.

    Attributes:
        matches: Tells whether messages to a channel are meant.
        subscribers: In the order in which they came; a dict keeps it, where a set does not.
    """

    matches: Callable[[bytes], object]
    subscribers: dict[_S, None] = field(default_factory=dict)


class Topics(Generic[_S]):
    """Names of one kind, and who is subscribed to each.

    Args:
        reader: Makes of a name what tells whether it means a channel.
    """

    def __init__(self, reader: Callable[[bytes], Callable[[bytes], object]]) -> None:
        self._reader = reader
        self._topics: dict[bytes, _Topic[_S]] = {}
        self._names: dict[_S, dict[bytes, None]] = {}

    def __len__(self) -> int:
        """Returns the number of names that somebody is subscribed to."""
        return len(self._topics)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._topics)

    def add(self, subscriber: _S, name: bytes) -> None:
        """Subscribes somebody to a name; once is as good as twice."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(self._reader(name))
        topic.subscribers[subscriber] = None
        self._names.setdefault(subscriber, {})[name] = None

    def remove(self, subscriber: _S, name: bytes) -> None:
        """Ends a subscription; if there is none, nothing happens."""
        names = self._names.get(subscriber, {})
        if name not in names:
            return
        del names[name]
        if not names:
            del self._names[subscriber]
        subscribers = self._topics[name].subscribers
        del subscribers[subscriber]
        if not subscribers:
            del self._topics[name]

    def names(self, subscriber: _S) -> list[bytes]:
        """Returns what somebody is subscribed to, the oldest first."""
        return list(self._names.get(subscriber, ()))

    def count(self, subscriber: _S) -> int:
        """Returns how many names somebody is subscribed to."""
        return len(self._names.get(subscriber, ()))

    def subscribers(self, name: bytes) -> Collection[_S]:
        """Returns who is subscribed to a name, the oldest subscription first."""
        topic = self._topics.get(name)
        return () if topic is None else topic.subscribers

    def meaning(self, channel: bytes) -> Iterator[tuple[bytes, Collection[_S]]]:
        """Iterates over the names that mean a channel, each with its subscribers."""
        for name, topic in self._topics.items():
            if topic.matches(channel):
                yield name, topic.subscribers


class Subscriptions(Generic[_S]):
    """All subscriptions of a server.

    Attributes:
        channels: Subscriptions to one channel each.
        patterns: Subscriptions to all channels that a glob pattern matches.
        shard_channels: Subscriptions to channels of a world of their own. They are there for
            clusters, and work without one as well.
    """

    def __init__(self) -> None:
        self.channels: Topics[_S] = Topics(_equal)
        self.patterns: Topics[_S] = Topics(_matching)
        self.shard_channels: Topics[_S] = Topics(_equal)

    def __contains__(self, subscriber: _S) -> bool:
        return any(topics.count(subscriber) for topics in self._kinds())

    def receivers(self, channel: bytes) -> list[tuple[_S, bytes | None]]:
        """Returns who gets a message to a channel, in order.

        Returns:
            Subscribers, each with the pattern that the message is for, None for the channel
            itself. One that is subscribed in several ways gets it as often.
        """
        found: list[tuple[_S, bytes | None]] = [
            (subscriber, None) for subscriber in self.channels.subscribers(channel)
        ]
        if self.patterns:
            for pattern, subscribers in self.patterns.meaning(channel):
                found += ((subscriber, pattern) for subscriber in subscribers)
        return found

    def forget(self, subscriber: _S) -> None:
        """Ends all subscriptions of somebody who went away."""
        for topics in self._kinds():
            for name in topics.names(subscriber):
                topics.remove(subscriber, name)

    def _kinds(self) -> tuple[Topics[_S], ...]:
        return self.channels, self.patterns, self.shard_channels


def _equal(name: bytes) -> Callable[[bytes], object]:
    return lambda channel: channel == name


def _matching(pattern: bytes) -> Callable[[bytes], object]:
    return compile_glob(pattern).fullmatch
