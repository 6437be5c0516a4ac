"""Commands on when a key vanishes: EXPIRE, TTL, PERSIST and the like.

On the wire times are whole seconds or milliseconds; the keyspace has seconds as float, which keep
milliseconds exact for the next 70,000 years.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import Args, keyword, text
from tensorkeep.commands.command import FAST, READONLY, WRITE, Command, command
from tensorkeep.commands.errors import CommandError

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep_memory.client import Client
    from tensorkeep_memory.keyspace import Keyspace

_SECOND_MS: Final = 1000
_INT64_MAX: Final = 2**63 - 1
_NO_KEY: Final = -2
_NO_EXPIRY: Final = -1


# --------------------------------------------------------------------------- setting
class Expire(NamedTuple):
    """A time for a key to vanish, and when to set it.

    Attributes:
        name: The command's, for its error.
        key: The key.
        milliseconds: Unix time, or from now on.
        relative: Whether they are from now on.
        conditions: Of `NX`, `XX`, `GT` and `LT`; all must hold.
    """

    name: str
    key: bytes
    milliseconds: int
    relative: bool
    conditions: frozenset[bytes]

    def invalid(self) -> CommandError:
        """Returns the error for a time that cannot be kept."""
        return CommandError(f"ERR invalid expire time in '{self.name}' command")


def parse_expire(args: Args, *, name: str, unit_ms: int, relative: bool) -> Expire:
    """Parses key, time and conditions; as in Redis, mistakes in conditions come first."""
    key, time = args.take(), Args([args.take()], 0)
    conditions = _read_conditions(args)
    request = Expire(name, key, time.take_integer() * unit_ms, relative, conditions)
    if not -_INT64_MAX - 1 <= request.milliseconds <= _INT64_MAX:
        raise request.invalid()
    return request


def _read_conditions(args: Args) -> frozenset[bytes]:
    conditions = set()
    for argument in args.take_rest():
        word = keyword(argument)
        if word not in {b"NX", b"XX", b"GT", b"LT"}:
            shown = text(argument.partition(b"\0")[0])
            raise CommandError(f"ERR Unsupported option {shown}")
        conditions.add(word)
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= conditions:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return frozenset(conditions)


def expire(client: Client, request: Expire) -> Reply:
    """Sets when a key vanishes; returns whether it was set.

    A time that has passed deletes the key.

    Raises:
        CommandError: The time cannot be kept.
    """
    keys = client.keys
    now = _now_ms(keys)
    deadline = request.milliseconds + (now if request.relative else 0)
    if deadline > _INT64_MAX:
        raise request.invalid()
    if keys.get(request.key) is None or not _allows(
        request.conditions, deadline, _deadline_ms(keys, request.key)
    ):
        return 0
    if deadline <= now:
        keys.delete(request.key)
    else:
        keys.expire(request.key, deadline / _SECOND_MS, "expire")
    return 1


def _allows(conditions: frozenset[bytes], deadline: int, current: int) -> bool:
    """Whether a deadline may be set in the place of another; a key that has none lasts longest."""
    lasts = current == _NO_EXPIRY
    return not (
        (b"NX" in conditions and not lasts)
        or (b"XX" in conditions and lasts)
        or (b"GT" in conditions and (lasts or deadline <= current))
        or (b"LT" in conditions and not lasts and deadline >= current)
    )


def persist(client: Client, key: bytes) -> Reply:
    """Takes a key's expiry away; returns whether it had one."""
    if client.keys.get(key) is None or _deadline_ms(client.keys, key) == _NO_EXPIRY:
        return 0
    client.keys.expire(key, None, "persist")
    return 1


# --------------------------------------------------------------------------- asking
def time_left(client: Client, key: bytes, *, unit_ms: int) -> Reply:
    """Returns how long a key has to live; -1 when for ever, -2 when there is none."""
    deadline = _deadline_ms(client.keys, key)
    if deadline < 0:
        return deadline
    return _rounded(max(deadline - _now_ms(client.keys), 0), unit_ms)


def time_of_expiry(client: Client, key: bytes, *, unit_ms: int) -> Reply:
    """Returns when a key vanishes; -1 when never, -2 when there is none."""
    deadline = _deadline_ms(client.keys, key)
    return deadline if deadline < 0 else _rounded(deadline, unit_ms)


def _rounded(milliseconds: int, unit_ms: int) -> int:
    return (milliseconds + unit_ms // 2) // unit_ms


def _deadline_ms(keys: Keyspace, key: bytes) -> int:
    """Returns when a key vanishes, -1 when never, -2 when there is none."""
    entry = keys.entry(key)
    if entry is None:
        return _NO_KEY
    if entry.expires_at is None:
        return _NO_EXPIRY
    return min(round(entry.expires_at * _SECOND_MS), _INT64_MAX)


def _now_ms(keys: Keyspace) -> int:
    return int(keys.time() * _SECOND_MS)


# --------------------------------------------------------------------------- the table
def _expire_command(  # noqa: PLR0913 - by keyword, one row per command
    name: str, *, unit_ms: int, relative: bool, summary: str, argument: str, since: str
) -> Command:
    return command(
        name,
        partial(parse_expire, name=name, unit_ms=unit_ms, relative=relative),
        expire,
        summary=summary,
        group="generic",
        arity=-3,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        syntax=f"key {argument} [NX | XX | GT | LT]",
        since=since,
    )


COMMANDS: Final[tuple[Command, ...]] = (
    _expire_command(
        "expire",
        unit_ms=_SECOND_MS,
        relative=True,
        summary="Lets a key vanish after some seconds.",
        argument="seconds",
        since="1.0.0",
    ),
    _expire_command(
        "pexpire",
        unit_ms=1,
        relative=True,
        summary="Lets a key vanish after some milliseconds.",
        argument="milliseconds",
        since="2.6.0",
    ),
    _expire_command(
        "expireat",
        unit_ms=_SECOND_MS,
        relative=False,
        summary="Lets a key vanish at a Unix time in seconds.",
        argument="unix-time-seconds",
        since="1.2.0",
    ),
    _expire_command(
        "pexpireat",
        unit_ms=1,
        relative=False,
        summary="Lets a key vanish at a Unix time in milliseconds.",
        argument="unix-time-milliseconds",
        since="2.6.0",
    ),
    command(
        "ttl",
        Args.take,
        partial(time_left, unit_ms=_SECOND_MS),
        summary="Returns how many seconds a key has to live.",
        group="generic",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key",
        tips=("nondeterministic_output",),
    ),
    command(
        "pttl",
        Args.take,
        partial(time_left, unit_ms=1),
        summary="Returns how many milliseconds a key has to live.",
        group="generic",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key",
        since="2.6.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "expiretime",
        Args.take,
        partial(time_of_expiry, unit_ms=_SECOND_MS),
        summary="Returns the Unix time in seconds at which a key vanishes.",
        group="generic",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key",
        since="7.0.0",
    ),
    command(
        "pexpiretime",
        Args.take,
        partial(time_of_expiry, unit_ms=1),
        summary="Returns the Unix time in milliseconds at which a key vanishes.",
        group="generic",
        arity=2,
        flags=(READONLY, FAST),
        keys=(1, 1, 1),
        syntax="key",
        since="7.0.0",
    ),
    command(
        "persist",
        Args.take,
        persist,
        summary="Lets a key live for ever.",
        group="generic",
        arity=2,
        flags=(WRITE, FAST),
        keys=(1, 1, 1),
        syntax="key",
        since="2.2.0",
    ),
)
