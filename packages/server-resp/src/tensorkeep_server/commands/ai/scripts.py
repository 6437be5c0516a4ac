"""AI.SCRIPTSTORE, AI.SCRIPTGET, AI.SCRIPTDEL, and what every other command shares of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from tensorkeep.commands.args import Args, keyword, parse_integer, text
from tensorkeep.commands.command import (
    DENYOOM,
    MODULE,
    READONLY,
    WRITE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.numerals import parse_double
from tensorkeep.commands.reply import OK
from tensorkeep.device import Device
from tensorkeep.errors import InvalidDevice
from tensorkeep.model import Script, ScriptSpec
from tensorkeep_server.bounds import check_names
from tensorkeep_server.commands.ai import wanted
from tensorkeep_server.commands.ai.building import refuse_device, store_when_built
from tensorkeep_server.commands.ai.models import OF_BUILDING, OF_DEVICES, encoded, stored_record

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.later import Later
    from tensorkeep_server.state import Client

NO_SOURCE: Final = "ERR Insufficient arguments, missing script SOURCE"
_NO_ENTRY_POINTS: Final = "ERR Insufficient arguments, missing script entry points"

# The protocol has no word for another backend of scripts.
BACKEND: Final = "TORCH"


class NewScript(NamedTuple):
    """A script to be compiled, on a device that its backend judges.

    Attributes:
        key: Where it is to be stored.
        device: The device as it was spelled.
        tag: The user's label.
        entry_points: Names of the functions that take tensors, keys and arguments.
        source: The source code.
    """

    key: bytes
    device: str
    tag: str
    entry_points: tuple[str, ...]
    source: bytes


# --------------------------------------------------------------------------- AI.SCRIPTSTORE
def parse_script_store(args: Args) -> NewScript:
    """Parses AI.SCRIPTSTORE; what follows the source means nothing, as in the original."""
    if len(args) < 7:  # noqa: PLR2004 - key, device, ENTRY_POINTS, count, a name, SOURCE, source
        raise args.wrong_arity()
    key, device = args.take(), text(args.take())
    tag = text(args.take()) if args.optional(b"TAG") else ""
    if not args.optional(b"ENTRY_POINTS"):
        raise CommandError(_NO_ENTRY_POINTS)
    count = _read_entry_point_count(args)
    if not 0 <= count <= len(args):
        raise CommandError(_NO_ENTRY_POINTS)
    check_names(count, "ENTRY_POINTS")
    entry_points = tuple(c_string(args.take()) for _ in range(count))
    return NewScript(key, device, tag, entry_points, read_source(args))


def _read_entry_point_count(args: Args) -> int:
    """Reads an integer in any spelling of a number, which may be negative here."""
    word = args.take() if len(args) else b""
    count = parse_integer(word)
    if count is not None:
        return count
    number = parse_double(word)
    if number is None or not number.is_integer():
        raise CommandError("ERR Non numeric entry points number provided to AI.SCRIPTSTORE command")
    return int(number)


def read_source(args: Args) -> bytes:
    """Reads SOURCE and the source code, which ends at the first NUL.

    Raises:
        CommandError: One of the two is missing.
    """
    if not args.optional(b"SOURCE") or not len(args):
        raise CommandError(NO_SOURCE)
    return args.take().partition(b"\0")[0]


def c_string(argument: bytes) -> str:
    """Returns an argument as a name in a script, which ends at the first NUL."""
    return text(argument.partition(b"\0")[0])


def script_store(client: Client, new: NewScript) -> Later:
    """Compiles a script and stores it."""
    try:
        device = Device.parse_loosely(new.device)
    except InvalidDevice:
        return refuse_device(client, BACKEND)
    spec = ScriptSpec(BACKEND, device, new.tag, new.entry_points)
    engine = client.server.engine
    return store_when_built(
        client, new.key, Script, lambda done: engine.create_script(spec, new.source, done)
    )


# --------------------------------------------------------------------------- AI.SCRIPTGET
class ScriptGet(NamedTuple):
    """AI.SCRIPTGET key [META] [SOURCE]; other words mean nothing.

    Attributes:
        key: The script's key.
        meta: Whether META was said.
        source: Whether SOURCE was said.
    """

    key: bytes
    meta: bool
    source: bool


def parse_script_get(args: Args) -> ScriptGet:
    """Parses AI.SCRIPTGET."""
    if not 1 <= len(args) <= 3:  # noqa: PLR2004 - key and two words
        raise args.wrong_arity()
    key = args.take()
    words = [keyword(word) for word in args.items[args.at :]]
    return ScriptGet(key, b"META" in words, b"SOURCE" in words)


def script_get(client: Client, request: ScriptGet) -> Reply:
    """Returns what is known of a script, its source, or both."""
    record = stored_record(client, request.key, Script)
    if request.source and not request.meta:
        return b"".join(record.content)
    spec = cast("ScriptSpec", record.spec)
    meta: list[Reply] = [
        b"device",
        encoded(spec.device.name),
        b"tag",
        encoded(spec.tag),
        b"Entry Points",
        [encoded(name) for name in spec.entry_points],
    ]
    if request.meta and not request.source:
        return meta
    return [*meta, b"source", b"".join(record.content)]


# --------------------------------------------------------------------------- AI.SCRIPTDEL
def parse_script_del(args: Args) -> bytes:
    """Parses AI.SCRIPTDEL key."""
    if len(args) != 1:
        raise args.wrong_arity()
    return args.take()


def script_del(client: Client, key: bytes) -> Reply:
    """Deletes a script; what runs of it goes on."""
    script = client.keys.drop(key, Script)
    if script is not None:
        client.server.engine.retire(key, script)
    return OK


# --------------------------------------------------------------------------- for other commands
def stored_script(client: Client, key: bytes) -> Script:
    """Returns the script under a key of the client's database.

    Raises:
        KeyMissing: There is no such key.
        WrongType: It holds something else.
    """
    return client.keys.typed(key, Script)


OF_SIZE: Final = Difference(
    "Compiles whatever it is given, for as long as it takes, while no client is served.",
    "It is compiled in a worker, for at most `--store-timeout`, and others are served.",
    "A script of 831 bytes took 5 s, and one of 170 never ended.",
)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.scriptstore",
        parse_script_store,
        script_store,
        summary="Stores a script.",
        group="module",
        flags=(WRITE, DENYOOM, MODULE),
        categories=("script",),
        keys=(1, 1, 1),
        syntax="key device [TAG tag] ENTRY_POINTS count name ... SOURCE source",
        prepare=script_store,
        differences=(OF_DEVICES, OF_BUILDING, OF_SIZE),
    ),
    command(
        "ai.scriptget",
        parse_script_get,
        script_get,
        summary="Returns what is known of a stored script, and its source.",
        wanted=wanted.record,
        group="module",
        flags=(READONLY, MODULE),
        categories=("script",),
        keys=(1, 1, 1),
        syntax="key [META] [SOURCE]",
    ),
    command(
        "ai.scriptdel",
        parse_script_del,
        script_del,
        summary="Deletes a stored script.",
        group="module",
        flags=(WRITE, MODULE),
        categories=("script",),
        keys=(1, 1, 1),
        syntax="key",
    ),
)
