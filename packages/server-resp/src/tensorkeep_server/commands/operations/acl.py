"""ACL: the users, and what each may do."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args, keyword, parse_integer, text
from tensorkeep.commands.command import (
    ADMIN,
    LOADING,
    NOSCRIPT,
    STALE,
    Command,
    Difference,
    command,
    container,
    nothing,
    only_subcommands,
)
from tensorkeep.commands.errors import CommandError, Refused
from tensorkeep.commands.reply import OK, Map
from tensorkeep.rights.categories import CATEGORIES, categories_of
from tensorkeep.rights.passwords import MOST_BITS, new_password
from tensorkeep.rights.rules import RuleError
from tensorkeep.rights.users import DEFAULT, FileError, is_name
from tensorkeep_server.user_file import read_users, write_users

if TYPE_CHECKING:
    from tensorkeep.commands.args import Request
    from tensorkeep.commands.reply import Reply
    from tensorkeep.rights.selector import Selector
    from tensorkeep_server.state import Client

_ADMIN: Final = (ADMIN, NOSCRIPT, LOADING, STALE)
_ANY_TIME: Final = (NOSCRIPT, LOADING, STALE)
_SHOWN: Final = 10  # entries of the log, if nothing is said
_NO_INTEGER: Final = "ERR value is not an integer or out of range"
_BAD_BITS: Final = (
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number"
    f" up to {MOST_BITS}"
)
_NO_FILE: Final = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users"
    " via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis"
    " configuration file set) in order to store users in the Redis configuration."
)


# --------------------------------------------------------------------------- CAT
def categories(client: Client, names: list[bytes]) -> Reply:
    """Lists the categories, or the commands of one."""
    if not names:
        return [name.encode() for name in CATEGORIES]
    category = text(names[0]).lower()
    if category not in CATEGORIES:
        raise CommandError(f"ERR Unknown category '{text(names[0])}'")
    found = client.server.commands.everything()
    return [item.full_name.encode() for item in found if category in categories_of(item)]


def parse_at_most_one(args: Args) -> list[bytes]:
    """Parses one argument or none."""
    if len(args) > 1:
        raise args.wrong_subcommand()
    return args.take_rest()


# --------------------------------------------------------------------------- users
def set_user(client: Client, request: tuple[bytes, list[bytes]]) -> Reply:
    """Changes what a user may do, at once for all who are connected as that user."""
    name, words = request
    server = client.server
    if not is_name(name):
        raise CommandError("ERR Usernames can't contain spaces or null characters")
    try:
        user = server.users.change(name, words)
    except RuleError as error:
        if not error.word:
            raise CommandError(f"ERR {error}") from error
        word = text(error.word)
        raise CommandError(f"ERR Error in ACL SETUSER modifier '{word}': {error}") from error
    server.end_forbidden_subscriptions(user, last=client)
    return OK


def parse_set_user(args: Args) -> tuple[bytes, list[bytes]]:
    """Parses ACL SETUSER name [rule…]."""
    return args.take(), args.take_rest()


def delete_users(client: Client, names: list[bytes]) -> Reply:
    """Removes users, and ends the connections of those who are connected as one of them."""
    server = client.server
    if DEFAULT in names:
        raise CommandError("ERR The 'default' user cannot be removed")
    gone = [user for name in names if (user := server.users.delete(name)) is not None]
    for user in gone:
        server.end_connections_of(user, last=client)
    return len(gone)


def get_user(client: Client, name: bytes) -> Reply:
    """Describes a user."""
    user = client.server.users.get(name)
    if user is None:
        return None
    rights = user.rights
    selectors: list[Reply] = [Map(_described(each)) for each in rights.selectors]
    return Map(
        (
            (b"flags", [*rights.flags()]),
            (b"passwords", [each.encode() for each in rights.passwords]),
            *_described(rights.root),
            (b"selectors", selectors),
        )
    )


def _described(selector: Selector) -> tuple[tuple[Reply, Reply], ...]:
    return (
        (b"commands", selector.commands_text()),
        (b"keys", selector.keys_text()),
        (b"channels", selector.channels_text()),
    )


def list_users(client: Client, _: None) -> Reply:
    """Describes all users, one line each, as a file of users has them."""
    return list(client.server.users.lines())


def user_names(client: Client, _: None) -> Reply:
    """Lists the names of all users."""
    return [user.name for user in client.server.users]


def who_am_i(client: Client, _: None) -> Reply:
    """Returns the name of the user that the client is."""
    return client.user.name


def parse_bits(args: Args) -> int | None:
    """Parses ACL GENPASS [bits]."""
    given = parse_at_most_one(args)
    if not given:
        return None
    bits = parse_integer(given[0])
    if bits is None:
        raise CommandError(_NO_INTEGER)
    if not 0 < bits <= MOST_BITS:
        raise CommandError(_BAD_BITS)
    return bits


def make_password(_: Client, bits: int | None) -> Reply:
    """Returns a password that nobody can guess."""
    return (new_password() if bits is None else new_password(bits)).encode()


# --------------------------------------------------------------------------- DRYRUN
def parse_dry_run(args: Args) -> tuple[bytes, Request]:
    """Parses ACL DRYRUN user command [argument…]: the rest is a whole request."""
    name = args.take()
    return name, args.items[args.at :]


def dry_run(client: Client, request: tuple[bytes, Request]) -> Reply:
    """Tells whether a user may do what a request asks for; it is not done."""
    name, asked = request
    server = client.server
    user = server.users.get(name)
    if user is None:
        raise CommandError(f"ERR User '{text(name)}' not found")
    try:
        found, _ = server.commands.find(asked)
    except Refused as error:
        if server.commands.get(asked[0]) is None:
            raise CommandError(f"ERR Command '{text(asked[0])}' not found") from error
        raise
    denial = user.rights.denial(server.commands, found, asked)
    if denial is None:
        return OK
    what = text(denial.what)
    told = (
        f"run the '{what}' command"
        if denial.reason == "command"
        else (f"access the '{what}' {denial.reason}")
    )
    return f"This user has no permissions to {told}".encode("utf-8", "surrogateescape")


# --------------------------------------------------------------------------- LOG
def parse_log(args: Args) -> int | None:
    """Parses ACL LOG [count | RESET]; RESET is None."""
    given = parse_at_most_one(args)
    if not given:
        return _SHOWN
    if keyword(given[0]) == b"RESET":
        return None
    count = parse_integer(given[0])
    if count is None:
        raise CommandError(_NO_INTEGER)
    return max(count, 0)


def log(client: Client, count: int | None) -> Reply:
    """Shows what was not allowed lately, or forgets it."""
    denials = client.server.denials
    if count is None:
        denials.clear()
        return OK
    now = time.time()
    entries: list[Reply] = [
        Map(
            (
                (b"count", each.count),
                (b"reason", each.reason.encode()),
                (b"context", each.context.encode()),
                (b"object", each.what),
                (b"username", each.user),
                (b"age-seconds", now - each.at),
                (b"client-info", each.client),
            )
        )
        for each in denials.newest(min(count, sys.maxsize))
    ]
    return entries


# --------------------------------------------------------------------------- the file
def load(client: Client, _: None) -> Reply:
    """Reads the file of users again: all of it, or nothing if something in it is wrong."""
    path = client.server.settings.user_file
    if not path:
        raise CommandError(_NO_FILE)
    try:
        client.server.replace_users(read_users(path, client.server.commands), last=client)
    except FileError as error:
        raise CommandError(f"ERR {error}") from error
    return OK


def save(client: Client, _: None) -> Reply:
    """Writes all users into the file."""
    path = client.server.settings.user_file
    if not path:
        raise CommandError(_NO_FILE)
    try:
        write_users(path, client.server.users)
    except OSError as error:
        raise CommandError(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more"
            " information"
        ) from error
    return OK


COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands(
            "acl", summary="Commands about users and their rights.", group="server", since="6.0.0"
        ),
        (
            command(
                "cat",
                parse_at_most_one,
                categories,
                summary="Lists the categories of commands, or the commands of one.",
                group="server",
                arity=-2,
                flags=_ANY_TIME,
                syntax="[categoryname]",
                since="6.0.0",
            ),
            command(
                "deluser",
                Args.take_rest,
                delete_users,
                summary="Removes users, and ends the connections of those who are one of them.",
                group="server",
                arity=-3,
                flags=_ADMIN,
                syntax="username [username ...]",
                since="6.0.0",
            ),
            command(
                "dryrun",
                parse_dry_run,
                dry_run,
                summary="Tells whether a user may do what a request asks for, without doing it.",
                group="server",
                arity=-4,
                flags=_ADMIN,
                syntax="username command [arg ...]",
                since="7.0.0",
            ),
            command(
                "genpass",
                parse_bits,
                make_password,
                summary="Returns a password that nobody can guess.",
                group="server",
                arity=-2,
                flags=_ANY_TIME,
                syntax="[bits]",
                since="6.0.0",
            ),
            command(
                "getuser",
                Args.take,
                get_user,
                summary="Describes a user.",
                group="server",
                arity=3,
                flags=_ADMIN,
                syntax="username",
                since="6.0.0",
            ),
            command(
                "list",
                nothing,
                list_users,
                summary="Describes all users, one line each.",
                differences=(
                    Difference(
                        "Redis 7.0 makes the shortest rules that it finds for the commands that a"
                        " user may do; Valkey, and Redis from 7.2 on, show what was said.",
                        "Shows what was said.",
                        "People find their own words again.",
                    ),
                ),
                group="server",
                arity=2,
                flags=_ADMIN,
                since="6.0.0",
            ),
            command(
                "load",
                nothing,
                load,
                summary="Reads the file of users again.",
                group="server",
                arity=2,
                flags=_ADMIN,
                since="6.0.0",
            ),
            command(
                "log",
                parse_log,
                log,
                summary="Shows what was not allowed lately, or forgets it.",
                group="server",
                arity=-2,
                flags=_ADMIN,
                syntax="[count | RESET]",
                since="6.0.0",
            ),
            command(
                "save",
                nothing,
                save,
                summary="Writes all users into the file of users.",
                group="server",
                arity=2,
                flags=_ADMIN,
                since="6.0.0",
            ),
            command(
                "setuser",
                parse_set_user,
                set_user,
                summary="Makes a user, or changes what one may do.",
                group="server",
                arity=-3,
                flags=_ADMIN,
                syntax="username [rule [rule ...]]",
                since="6.0.0",
            ),
            command(
                "users",
                nothing,
                user_names,
                summary="Lists the names of all users.",
                group="server",
                arity=2,
                flags=_ADMIN,
                since="6.0.0",
            ),
            command(
                "whoami",
                nothing,
                who_am_i,
                summary="Returns the name of the user that the client is.",
                group="server",
                arity=2,
                flags=_ANY_TIME,
                since="6.0.0",
            ),
        ),
        help_since="6.0.0",
    ),
)
