"""Which events on keys clients are told of, and through which channels.

This module decides what a setting such as `KEx` means and what a message of an event looks like. It
knows no keyspace and no client.
"""

from __future__ import annotations

from typing import Final

KEY_CHANNELS: Final = "K"
EVENT_CHANNELS: Final = "E"
MISSES: Final = "m"

_CHARACTERS: Final = "g$lshzxetdnKEm"  # in the order in which Redis shows them
_ALL: Final = "g$lshzxetd"  # what `A` stands for

# The class of each event, by the words that the commands have for what they do.
_CLASSES: Final = {
    word: letter
    for letter, words in {
        "g": "del rename_from rename_to move_from move_to copy_to restore expire persist",
        "$": "set setrange append incrby incrbyfloat setbit",
        "l": "lpush rpush lpop rpop linsert lset lrem ltrim",
        "s": "sadd srem spop sinterstore sunionstore sdiffstore",
        "h": "hset hdel hincrby hincrbyfloat",
        "z": "zadd zincr zrem zpopmin zpopmax zrangestore zunionstore zinterstore zdiffstore"
        " zremrangebyrank zremrangebyscore zremrangebylex",
        "x": "expired",
        "e": "evicted",
        "n": "new",
        MISSES: "keymiss",
    }.items()
    for word in words.split()
}


def read_classes(word: bytes) -> str:
    """Reads a setting.

    Args:
        word: One letter for each class of events, `A` for most of them, and `K` or `E` for the
            channels.

    Returns:
        The letters in order, without `A`; without any class or channel nothing.

    Raises:
        ValueError: A letter means nothing.
    """
    letters = set(word.decode("latin-1"))
    if "A" in letters:
        letters = letters - {"A"} | {*_ALL}
    if letters - {*_CHARACTERS}:
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return "".join(letter for letter in _CHARACTERS if letter in letters)


def show_classes(classes: str) -> str:
    """Returns a setting as it is shown: as in Redis, `n` is hidden behind `A`."""
    if {*_ALL} <= {*classes}:
        return "A" + "".join(letter for letter in classes if letter not in {*_ALL, "n"})
    return classes


def is_silent(classes: str) -> bool:
    """Returns whether a setting means that nobody is told of anything."""
    channels = {KEY_CHANNELS, EVENT_CHANNELS}
    return not channels & {*classes} or not {*classes} - channels


def messages(classes: str, database: int, event: str, key: bytes) -> list[tuple[bytes, bytes]]:
    """Returns channels and messages that tell of an event.

    Args:
        classes: What `read_classes` returned.
        database: Number of the key's database.
        event: What happened; it must have a class here.
        key: To which key.
    """
    if _CLASSES[event] not in classes:
        return []
    word = event.encode()
    told = []
    if KEY_CHANNELS in classes:
        told.append((b"__keyspace@%d__:%b" % (database, key), word))
    if EVENT_CHANNELS in classes:
        told.append((b"__keyevent@%d__:%b" % (database, word), key))
    return told
