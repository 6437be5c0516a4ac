"""Commands on whole strings: SET, GET and the like.

A string is `bytes`, a short one that was made of others a subclass of it (see `growing`), or a view
of memory that does not change: as it was received when it is large, or of the room in which it
grows. So it is its own snapshot, and no reply needs a copy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import Args, keyword
from tensorkeep.commands.command import (
    DENYOOM,
    FAST,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Command,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK
from tensorkeep.commands.set_options import (
    OF_STORING,
    SYNTAX_OF_STORING,
    Options,
    read_lifetime,
    read_options,
)
from tensorkeep.errors import WrongType
from tensorkeep_memory.commands.expiry import persist

if TYPE_CHECKING:
    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client

_SET_WORDS: Final = frozenset({*OF_STORING, b"GET"})
_GET_EX_WORDS: Final = frozenset({b"PERSIST"})


# --------------------------------------------------------------------------- arguments
class Set(NamedTuple):
    """SET key value [option…].

    Attributes:
        key: The key.
        value: Its new value.
        options: None for none, as nearly always.
    """

    key: bytes
    value: Argument
    options: Options | None


class GetEx(NamedTuple):
    """GETEX key [option…]."""

    key: bytes
    options: Options


class SetUntil(NamedTuple):
    """SETEX key time value; the time was not looked at yet."""

    key: bytes
    time: bytes
    value: Argument


class Pair(NamedTuple):
    """A key and a value for it, or to be appended to its own."""

    key: bytes
    value: Argument


def parse_set(args: Args) -> Set:
    """Parses SET."""
    key, value = args.take(), args.take_blob()
    if not len(args):
        return Set(key, value, None)
    options = read_options(args, _SET_WORDS)
    args.end()
    return Set(key, value, options)


def parse_get_ex(args: Args) -> GetEx:
    """Parses GETEX."""
    key, options = args.take(), read_options(args, _GET_EX_WORDS)
    args.end()
    return GetEx(key, options)


def parse_set_until(args: Args) -> SetUntil:
    """Parses SETEX and PSETEX."""
    return SetUntil(args.take(), args.take(), args.take_blob())


def parse_pair(args: Args) -> Pair:
    """Parses a key and a value."""
    return Pair(args.take(), args.take_blob())


def parse_pairs(args: Args, *, name: str) -> list[tuple[bytes, Argument]]:
    """Parses keys, each with its value."""
    if len(args) % 2:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    values = args.items[args.at + 1 :: 2]
    return [*zip(args.take_rest()[::2], values, strict=True)]


# --------------------------------------------------------------------------- reading
def get(client: Client, key: bytes) -> Argument | None:
    """Returns the string under a key, None when there is none.

    Raises:
        WrongType: The key holds something else.
    """
    value = client.keys.get(key)
    if value is None or type(value) is bytes or type(value) is memoryview:
        return value
    if isinstance(value, bytes):
        return bytes(value)
    raise WrongType(key)


def get_many(client: Client, keys: list[bytes]) -> Reply:
    """Returns the strings under keys, nothing for each that holds none."""
    found: list[Reply] = [_string(value) for value in client.keys.get_many(keys)]
    return found


def _string(value: object) -> Argument | None:
    """Returns a value that is a string as it is replied, None for others."""
    if type(value) is bytes or type(value) is memoryview:
        return value
    return bytes(value) if isinstance(value, bytes) else None


def get_and_delete(client: Client, key: bytes) -> Reply:
    """Returns a string and removes its key."""
    value = get(client, key)
    if value is not None:
        client.keys.delete(key)
    return value


def get_and_expire(client: Client, request: GetEx) -> Reply:
    """Returns a string, and sets or takes away when its key vanishes."""
    if not request.options.expiry:
        return get(client, request.key)
    with client.server.one_moment():  # what was read must not expire before its time is moved
        return _get_and_expire(client, request)


def _get_and_expire(client: Client, request: GetEx) -> Reply:
    key, options = request
    value = get(client, key)
    if value is None:
        return None
    lifetime = options.lifetime("getex")
    now = client.keys.time()
    if lifetime is None:
        persist(client, key)
    elif lifetime.ends_at(now) <= now:
        client.keys.delete(key)
    else:
        client.keys.expire(key, lifetime.ends_at(now), "expire")
    return value


# --------------------------------------------------------------------------- writing
def set_value(client: Client, request: Set) -> Reply:
    """Stores a string in the place of any value, and with it the expiry that it is to have."""
    key, value, options = request
    keys = client.keys
    if options is None:
        keys.set(key, value, None, "set")
        return OK
    storing = options.storing("set")
    old = get(client, key) if options.answers else None
    there = key in keys
    if storing.present not in {None, there}:
        return old
    keys.set_for(key, value, storing.lifetime, "set")
    return old if options.answers else OK


def set_if_missing(client: Client, request: Pair) -> Reply:
    """Stores a string unless the key is taken; returns whether it was stored."""
    if request.key in client.keys:
        return 0
    client.keys.set(*request, None, "set")
    return 1


def set_until(client: Client, request: SetUntil, *, name: str, word: bytes) -> Reply:
    """Stores a string that vanishes after some time."""
    client.keys.set_for(request.key, request.value, read_lifetime(request.time, word, name), "set")
    return OK


def get_and_set(client: Client, request: Pair) -> Reply:
    """Stores a string; returns the one that it replaces."""
    old = get(client, request.key)
    client.keys.set(*request, None, "set")
    return old


def set_many(client: Client, pairs: list[tuple[bytes, Argument]]) -> Reply:
    """Stores strings under keys."""
    client.keys.set_many(pairs, "set")
    return OK


def set_many_if_missing(client: Client, pairs: list[tuple[bytes, Argument]]) -> Reply:
    """Stores strings unless one of the keys is taken; returns whether they were stored."""
    if client.keys.has_any(key for key, _ in pairs):
        return 0
    set_many(client, pairs)
    return 1


def _access_of_set(request: Request) -> list[tuple[Argument, int]]:
    """Of SET key value, and options in any order: GET reads what was there."""
    if len(request) == 3:  # noqa: PLR2004 - without options
        return [(request[1], TO_CHANGE)]
    reads = any(keyword(word) == b"GET" for word in request[3:])
    return [(request[1], TO_CHANGE | TO_READ * reads)]


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "set",
        parse_set,
        set_value,
        summary="Stores a string in the place of any value.",
        group="string",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, 1, 1),
        syntax=f"key value {SYNTAX_OF_STORING.replace('[EX', '[GET] [EX')}",
        access=_access_of_set,
    ),
    command(
        "get",
        Args.take,
        get,
        summary="Returns a string.",
        group="string",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key",
    ),
    command(
        "getset",
        parse_pair,
        get_and_set,
        summary="Stores a string and returns the one that it replaces.",
        group="string",
        arity=3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key value",
    ),
    command(
        "getdel",
        Args.take,
        get_and_delete,
        summary="Returns a string and removes its key.",
        group="string",
        arity=2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key",
        since="6.2.0",
    ),
    command(
        "getex",
        parse_get_ex,
        get_and_expire,
        summary="Returns a string, and sets or takes away when its key vanishes.",
        group="string",
        arity=-2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        access=(TO_READ | TO_CHANGE,),
        syntax="key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT"
        " unix-time-milliseconds | PERSIST]",
        since="6.2.0",
    ),
    command(
        "mget",
        Args.take_rest,
        get_many,
        summary="Returns several strings, nothing for each that is not there.",
        group="string",
        arity=-2,
        flags=(READONLY, FAST),
        keys=(1, -1, 1),
        syntax="key [key ...]",
        tips=("request_policy:multi_shard",),
    ),
    command(
        "mset",
        partial(parse_pairs, name="mset"),
        set_many,
        summary="Stores several strings.",
        group="string",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, -1, 2),
        syntax="key value [key value ...]",
        since="1.0.1",
        tips=(
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ),
    ),
    command(
        "msetnx",
        partial(parse_pairs, name="msetnx"),
        set_many_if_missing,
        summary="Stores several strings unless one of the keys is taken.",
        group="string",
        arity=-3,
        flags=(WRITE, DENYOOM),
        keys=(1, -1, 2),
        syntax="key value [key value ...]",
        since="1.0.1",
        tips=(
            "request_policy:multi_shard",
            "response_policy:agg_min",
        ),
    ),
    command(
        "setnx",
        parse_pair,
        set_if_missing,
        summary="Stores a string unless the key is taken.",
        group="string",
        arity=3,
        flags=(WRITE, DENYOOM, FAST),
        keys=(1, 1, 1),
        syntax="key value",
    ),
    command(
        "setex",
        parse_set_until,
        partial(set_until, name="setex", word=b"EX"),
        summary="Stores a string that vanishes after some seconds.",
        group="string",
        arity=4,
        flags=(WRITE, DENYOOM),
        keys=(1, 1, 1),
        syntax="key seconds value",
        since="2.0.0",
    ),
    command(
        "psetex",
        parse_set_until,
        partial(set_until, name="psetex", word=b"PX"),
        summary="Stores a string that vanishes after some milliseconds.",
        group="string",
        arity=4,
        flags=(WRITE, DENYOOM),
        keys=(1, 1, 1),
        syntax="key milliseconds value",
        since="2.6.0",
    ),
)
