"""Commands on hashes: HSET, HGET, HGETALL, HSCAN and the like."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    NEITHER,
    READONLY,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import BLOCK, OK, RESP2, LongMap, Map
from tensorkeep_memory.commands.elements import (
    Draw,
    ElementScan,
    draw,
    parse_draw,
    parse_scan,
    scan,
    settle,
)
from tensorkeep_memory.values.containers import Hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_EMPTY: Final = Map(())


# --------------------------------------------------------------------------- arguments
def parse_fields(args: Args, *, name: str) -> list[bytes]:
    """Parses a key and pairs of a field and its value."""
    words = args.take_rest()
    if len(words) % 2 == 0:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    return words


# --------------------------------------------------------------------------- writing
def found_or_new(client: Client, key: bytes) -> Hash:
    """Returns the hash under a key, a new one where there is none.

    Raises:
        WrongType: The key holds something else.
    """
    value = client.keys.find(key, Hash)
    if value is None:
        value = Hash()
        client.keys.set(key, value)
    else:
        value.check_growth()
    return value


def set_fields(client: Client, words: list[bytes]) -> Reply:
    """Sets fields of a hash; returns how many are new."""
    key = words[0]
    value = found_or_new(client, key)
    added = sum(map(value.put, words[1::2], words[2::2]))
    client.keys.changed(key, "hset")
    return added


def set_fields_only(client: Client, words: list[bytes]) -> Reply:
    """Sets fields of a hash."""
    set_fields(client, words)
    return OK


def set_new_field(client: Client, words: list[bytes]) -> Reply:
    """Sets a field of a hash unless it is there; returns whether it was set."""
    key, field, content = words
    value = found_or_new(client, key)
    if field in value.content:
        return 0
    value.put(field, content)
    client.keys.changed(key, "hset")
    return 1


def remove_fields(client: Client, words: list[bytes]) -> Reply:
    """Removes fields of a hash; returns how many there were."""
    key, *fields = words
    value = client.keys.find(key, Hash)
    if value is None:
        return 0
    removed = sum(map(value.remove, fields))
    if removed:
        settle(client.keys, key, value, "hdel")
    return removed


# --------------------------------------------------------------------------- reading
def get_field(client: Client, words: list[bytes]) -> Reply:
    """Returns the value of a field."""
    key, field = words
    value = client.keys.find(key, Hash)
    return None if value is None else value.content.get(field)


def get_fields(client: Client, words: list[bytes]) -> Reply:
    """Returns the values of several fields."""
    key, *fields = words
    value = client.keys.find(key, Hash)
    content = {} if value is None else value.content
    return tuple(map(content.get, fields))


def get_all(client: Client, key: bytes) -> Reply:
    """Returns all fields with their values."""
    value = client.keys.find(key, Hash)
    if value is None:
        return _EMPTY
    content = value.content
    if 2 * len(content) <= BLOCK:
        return Map(tuple(content.items()))
    fields, words = [*content], [*content.values()]  # not a million pairs

    def blocks() -> Iterator[list[Reply]]:
        for start in range(0, len(fields), BLOCK // 2):
            part = slice(start, start + BLOCK // 2)
            yield [*chain.from_iterable(zip(fields[part], words[part], strict=True))]

    return LongMap(len(fields), blocks)


def names(client: Client, key: bytes) -> Reply:
    """Returns the names of all fields."""
    value = client.keys.find(key, Hash)
    return [] if value is None else [*value.content]


def values(client: Client, key: bytes) -> Reply:
    """Returns the values of all fields."""
    value = client.keys.find(key, Hash)
    return [] if value is None else [*value.content.values()]


def size(client: Client, key: bytes) -> Reply:
    """Returns how many fields a hash has."""
    value = client.keys.find(key, Hash)
    return 0 if value is None else len(value.content)


def has_field(client: Client, words: list[bytes]) -> Reply:
    """Returns whether a hash has a field."""
    key, field = words
    value = client.keys.find(key, Hash)
    return int(value is not None and field in value.content)


def value_size(client: Client, words: list[bytes]) -> Reply:
    """Returns how many bytes the value of a field has; 0 when there is none."""
    key, field = words
    value = client.keys.find(key, Hash)
    return 0 if value is None else len(value.content.get(field, b""))


def random_fields(client: Client, request: Draw) -> Reply:
    """Returns fields at random, alone or with their values."""
    key, count, with_values = request
    value = client.keys.find(key, Hash)
    if count is None:
        return None if value is None else value.pick()
    drawn = [] if value is None else draw(value, count)
    if value is None or not with_values:
        return drawn
    pairs = [(field, value.content[field]) for field in drawn]
    return [word for pair in pairs for word in pair] if client.version == RESP2 else tuple(pairs)


def scan_fields(client: Client, request: ElementScan) -> Reply:
    """Returns some fields with their values, and the cursor to go on with."""
    value = client.keys.find(request.key, Hash)
    if value is None:
        return (b"0", [])
    cursor, found = scan(value, request)
    return (cursor, [word for field in found for word in (field, value.content[field])])


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "hset",
        partial(parse_fields, name="hset"),
        set_fields,
        summary="Sets fields of a hash, and returns how many are new.",
        group="hash",
        arity=-4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key field value [field value ...]",
        since="2.0.0",
    ),
    command(
        "hmset",
        partial(parse_fields, name="hmset"),
        set_fields_only,
        summary="Sets fields of a hash.",
        group="hash",
        arity=-4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key field value [field value ...]",
        since="2.0.0",
    ),
    command(
        "hsetnx",
        Args.take_rest,
        set_new_field,
        summary="Sets a field of a hash unless it is there.",
        group="hash",
        arity=4,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key field value",
        since="2.0.0",
    ),
    command(
        "hdel",
        Args.take_rest,
        remove_fields,
        summary="Removes fields of a hash.",
        group="hash",
        arity=-3,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        syntax="key field [field ...]",
        since="2.0.0",
    ),
    command(
        "hget",
        Args.take_rest,
        get_field,
        summary="Returns the value of a field of a hash.",
        group="hash",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key field",
        since="2.0.0",
    ),
    command(
        "hmget",
        Args.take_rest,
        get_fields,
        summary="Returns the values of several fields of a hash.",
        group="hash",
        arity=-3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key field [field ...]",
        since="2.0.0",
    ),
    command(
        "hgetall",
        Args.take,
        get_all,
        summary="Returns all fields of a hash with their values.",
        group="hash",
        arity=2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key",
        since="2.0.0",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "hkeys",
        Args.take,
        names,
        summary="Returns the names of all fields of a hash.",
        group="hash",
        arity=2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key",
        since="2.0.0",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "hvals",
        Args.take,
        values,
        summary="Returns the values of all fields of a hash.",
        group="hash",
        arity=2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key",
        since="2.0.0",
        tips=("nondeterministic_output_order",),
    ),
    command(
        "hlen",
        Args.take,
        size,
        summary="Returns how many fields a hash has.",
        group="hash",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key",
        since="2.0.0",
    ),
    command(
        "hexists",
        Args.take_rest,
        has_field,
        summary="Returns whether a hash has a field.",
        group="hash",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key field",
        since="2.0.0",
    ),
    command(
        "hstrlen",
        Args.take_rest,
        value_size,
        summary="Returns how many bytes the value of a field has.",
        group="hash",
        arity=3,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        access=NEITHER,
        syntax="key field",
        since="3.2.0",
    ),
    command(
        "hrandfield",
        partial(parse_draw, values=b"WITHVALUES"),
        random_fields,
        summary="Returns fields of a hash at random, alone or with their values.",
        group="hash",
        arity=-2,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key [count [WITHVALUES]]",
        since="6.2.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "hscan",
        parse_scan,
        scan_fields,
        summary="Returns the fields of a hash page by page, with their values.",
        group="hash",
        arity=-3,
        flags=(READONLY,),
        keys=(1, 1, 1),
        syntax="key cursor [MATCH pattern] [COUNT count]",
        since="2.8.0",
        tips=("nondeterministic_output",),
    ),
)
