"""What a command that the engine does means for the session that has sent it.

Few commands mean anything: those that change who the client is, which database it is in, which
protocol it speaks, or what its connection to the engine is in the middle of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from tensorkeep_valkey.addresses import Credentials
from tensorkeep_valkey.framing import BrokenReply, elements
from tensorkeep_valkey.queued import Plan

if TYPE_CHECKING:
    from tensorkeep_valkey.packing import Argument

OK: Final = b"+OK\r\n"
QUEUED: Final = b"+QUEUED"

Change: TypeAlias = Callable[["State", bytes], None]
"""Notes what a command has changed, from the state before it and (the begin of) its reply."""

SUBSCRIBING: Final = {
    b"SUBSCRIBE": b"subscribe",
    b"PSUBSCRIBE": b"psubscribe",
    b"SSUBSCRIBE": b"ssubscribe",
    b"UNSUBSCRIBE": b"unsubscribe",
    b"PUNSUBSCRIBE": b"punsubscribe",
    b"SUNSUBSCRIBE": b"sunsubscribe",
}
"""Commands that have one reply for each channel, and how these begin."""

COPYING: Final = frozenset({b"SYNC", b"PSYNC"})
"""Commands of replicas, after which what comes is no reply any more."""

BLOCKING: Final = frozenset(
    {
        *(b"BLPOP", b"BRPOP", b"BRPOPLPUSH", b"BLMOVE", b"BLMPOP", b"BZPOPMIN", b"BZPOPMAX"),
        *(b"BZMPOP", b"XREAD", b"XREADGROUP", b"WAIT", b"WAITAOF"),
    }
)
"""Commands that may wait, so that nothing of other clients may stand behind them."""

_ENDED_BY: Final = {
    b"subscribe": b"unsubscribe",
    b"psubscribe": b"punsubscribe",
    b"ssubscribe": b"sunsubscribe",
}
_MESSAGES: Final = frozenset({b"message", b"pmessage", b"smessage"})
_MONITORED: Final = re.compile(rb"\+\d+\.\d+ \[")


@dataclass(slots=True)
class State:
    """What the engine keeps for a client's connection.

    Attributes:
        version: Version of the protocol.
        database: Number of the database.
        credentials: Who the client is; None if it has not said so.
        name: What CLIENT SETNAME has set.
        in_transaction: Commands are being queued.
        queued: How many are.
        plan: What they will mean.
        watching: Keys are watched.
        monitoring: All commands are shown.
        special: Something was set that cannot be set again by itself, such as CLIENT TRACKING.
        quitting: The client has said QUIT.
        silent: The client gets no replies (CLIENT REPLY OFF).
        skips: It does not get the reply that comes next (CLIENT REPLY SKIP).
        skips_next: It does not get that behind it.
        subscribed: Channels, patterns and shard channels that are subscribed to, by how replies to
            `UNSUBSCRIBE`, `PUNSUBSCRIBE` and `SUNSUBSCRIBE` begin.
    """

    version: int = 2
    database: int = 0
    credentials: Credentials | None = None
    name: bytes = b""
    in_transaction: bool = False
    queued: int = 0
    plan: Plan = field(default_factory=Plan)
    watching: bool = False
    monitoring: bool = False
    special: bool = False
    quitting: bool = False
    silent: bool = False
    skips: bool = False
    skips_next: bool = False
    subscribed: dict[bytes, set[bytes]] = field(
        default_factory=lambda: {kind: set() for kind in _ENDED_BY.values()}
    )

    @property
    def subscribes(self) -> bool:
        """Whether it is subscribed to anything."""
        return any(self.subscribed.values())

    @property
    def unusual(self) -> bool:
        """Whether replies have to be looked at one by one."""
        return (
            self.in_transaction
            or self.monitoring
            or self.subscribes
            or self.silent
            or self.skips
            or self.skips_next
        )

    @property
    def mutes(self) -> bool:
        """Whether the client does not get the reply that comes next."""
        return self.silent or self.skips

    @property
    def interrupts(self) -> bool:
        """Whether what nobody has asked for may come within a reply."""
        return self.monitoring or self.special or self.subscribes

    def end_transaction(self) -> None:
        """Forgets the transaction, and with it what was to be stored."""
        self.in_transaction = self.watching = False
        self.plan = Plan()

    def next_reply(self) -> None:
        """Notes that a reply has ended."""
        self.skips, self.skips_next = self.skips_next, False

    @property
    def held(self) -> str:
        """What would be lost with the connection to the engine, for people; empty for nothing."""
        kept = {
            "a transaction": self.in_transaction,
            "watched keys": self.watching,
            "subscriptions": self.subscribes,
            "MONITOR": self.monitoring,
            "settings of CLIENT": self.special,
        }
        return ", ".join(name for name, there in kept.items() if there)

    def reset(self) -> None:
        """Makes it that of a new connection."""
        fresh = State()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def restoring(self) -> list[list[Argument]]:
        """Returns the commands that make a new connection the client's again, in one write."""
        commands: list[list[Argument]] = []
        hello: list[Argument] = []
        if self.credentials is not None:
            hello += [b"AUTH", self.credentials.user or b"default", self.credentials.password]
        if self.name:
            hello += [b"SETNAME", self.name]
        if hello or self.version != 2:  # noqa: PLR2004 - of the protocol
            commands.append([b"HELLO", b"%d" % self.version, *hello])
        if self.database:
            commands.append([b"SELECT", b"%d" % self.database])
        return commands


def meaning(request: Sequence[Argument], name: bytes) -> Change | None:
    """Returns what notes a command's outcome; None for nearly all.

    Args:
        request: The command.
        name: Its name in upper case.
    """
    if name == b"CLIENT":
        return _client(request)
    said = _SAYING.get(name)
    return _SIMPLE.get(name) if said is None else said(request[1:])


def _select(said: Sequence[Argument]) -> Change:
    def note(state: State, reply: bytes) -> None:
        if reply == OK:
            state.database = int(bytes(said[0]))

    return note


def _auth(said: Sequence[Argument]) -> Change:
    def note(state: State, reply: bytes) -> None:
        if reply == OK:
            user = None if len(said) == 1 else bytes(said[0])
            state.credentials = Credentials(user, bytes(said[-1]))

    return note


def _hello(said: Sequence[Argument]) -> Change:
    def note(state: State, reply: bytes) -> None:
        if reply[:1] not in {b"*", b"%"} or not said:
            return
        state.version = int(bytes(said[0]))
        rest = [bytes(each) for each in said[1:]]
        while rest:
            option = rest.pop(0).upper()
            if option == b"AUTH":
                _auth(rest[:2])(state, OK)
                del rest[:2]
            else:
                state.name = rest.pop(0)

    return note


def _client(request: Sequence[Argument]) -> Change | None:
    words = [bytes(each[:16]).upper() for each in request[1:3]]
    match words:
        case [b"SETNAME", _]:
            return _client_name(request)
        case [b"TRACKING" | b"NO-EVICT" | b"NO-TOUCH" | b"CAPA" | b"IMPORT-SOURCE", how]:
            return _off if how == b"OFF" and words[0] == b"TRACKING" else _special
        case _:
            return None


def _client_name(request: Sequence[Argument]) -> Change:
    def note(state: State, reply: bytes) -> None:
        if reply == OK:
            state.name = bytes(request[2])

    return note


def reply_mode(request: Sequence[Argument]) -> tuple[Change, bool] | None:
    """Returns what notes the outcome of CLIENT REPLY, and whether the client gets its `OK`.

    None if it is no such command, or one that the engine refuses.
    """
    words = [bytes(each[:8]).upper() for each in request]
    if len(words) != 3 or words[:2] != [b"CLIENT", b"REPLY"] or words[2] not in _MODES:  # noqa: PLR2004 - its words
        return None
    return _MODES[words[2]], words[2] == b"ON"


def _replies(state: State, reply: bytes) -> None:
    if reply == OK:
        state.silent = state.skips = False


def _silences(state: State, reply: bytes) -> None:
    state.silent = state.silent or reply == OK


def _skips(state: State, reply: bytes) -> None:
    state.skips_next = state.skips_next or (reply == OK and not state.silent)


_MODES: Final[dict[bytes, Change]] = {b"ON": _replies, b"OFF": _silences, b"SKIP": _skips}


def _special(state: State, reply: bytes) -> None:
    state.special = state.special or reply == OK


def _off(state: State, reply: bytes) -> None:
    state.special = state.special and reply != OK


def _reset(state: State, reply: bytes) -> None:
    if reply.startswith(b"+RESET"):
        state.reset()


def _quit(state: State, reply: bytes) -> None:
    state.quitting = not reply.startswith(b"-")


def _multi(state: State, reply: bytes) -> None:
    if reply == OK:
        state.in_transaction = True
        state.queued = 0
        state.plan = Plan()


def note_exec(state: State, reply: bytes) -> None:
    """Notes what has become of a transaction, from EXEC's reply or its begin."""
    if not reply.startswith(b"-") or reply.startswith(b"-EXECABORT"):
        state.end_transaction()


def _discard(state: State, reply: bytes) -> None:
    if reply == OK:
        state.end_transaction()


def _watch(state: State, reply: bytes) -> None:
    state.watching = state.watching or reply == OK


def _unwatch(state: State, reply: bytes) -> None:
    state.watching = state.watching and reply != OK


def _monitor(state: State, reply: bytes) -> None:
    state.monitoring = reply == OK


_SIMPLE: Final[dict[bytes, Change]] = {
    b"RESET": _reset,
    b"QUIT": _quit,
    b"MULTI": _multi,
    b"EXEC": note_exec,
    b"DISCARD": _discard,
    b"WATCH": _watch,
    b"UNWATCH": _unwatch,
    b"MONITOR": _monitor,
    b"READONLY": _special,
    b"ASKING": _special,
}

_SAYING: Final[dict[bytes, Callable[[Sequence[Argument]], Change]]] = {
    b"SELECT": _select,
    b"AUTH": _auth,
    b"HELLO": _hello,
}

MEANT: Final = frozenset({b"CLIENT", *_SAYING, *_SIMPLE})
"""Names of the commands that may mean something."""

BEYOND_ONE: Final = MEANT | SUBSCRIBING.keys() | COPYING | BLOCKING | {b"SHUTDOWN"}
"""Commands that only a client's own connection may send: they change it, or may wait."""


def replies_to(state: State, kind: bytes, channels: int) -> int:
    """Returns how many replies a command of the SUBSCRIBE family has.

    Args:
        state: The state when all commands before it are done.
        kind: How its replies begin, as in `SUBSCRIBING`.
        channels: How many channels it names.
    """
    return channels or max(1, len(state.subscribed.get(kind, ())))


def confirm(state: State, item: bytes) -> None:
    """Notes what a reply to a command of the SUBSCRIBE family says.

    Args:
        state: Is changed.
        item: The reply.
    """
    kind, channel = _words(item, 2)
    if kind in state.subscribed:
        state.subscribed[kind].discard(channel)
    elif kind in _ENDED_BY:
        state.subscribed[_ENDED_BY[kind]].add(channel)


def confirms(item: bytes, kind: bytes) -> bool:
    """Returns whether what was pushed confirms a command of the SUBSCRIBE family.

    Args:
        item: What was pushed, or its begin.
        kind: How the confirmations begin that are awaited; empty for none.
    """
    return bool(kind) and _words(item, 1)[0] == kind


def unasked(state: State, item: bytes) -> bool:
    """Returns whether what came replies to no command, in RESP2 or under MONITOR.

    Args:
        state: The state.
        item: The begin of what came, a whole line at least.
    """
    if state.monitoring and _MONITORED.match(item) is not None:
        return True
    return item[:1] == b"*" and state.subscribes and _words(item, 1)[0] in _MESSAGES


def _words(item: bytes, count: int) -> list[bytes]:
    """Returns the first elements of an array or push whose elements are values."""
    try:
        found = elements(item)[1][:count]
    except (BrokenReply, ValueError):
        found = []
    words = [each.partition(b"\r\n")[2][:-2] for each in found]
    return words + [b""] * (count - len(words))
