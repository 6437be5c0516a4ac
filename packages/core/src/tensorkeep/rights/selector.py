"""What one part of a user's rights allows: commands, keys and channels that go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.command import NO_AUTH, TO_CHANGE, TO_READ
from tensorkeep.commands.glob import compile_glob
from tensorkeep.commands.keys import access_of
from tensorkeep.rights.categories import categories_of

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from tensorkeep.commands.args import Argument, Request
    from tensorkeep.commands.command import Command, CommandTable

COMMAND: Final = "command"
KEY: Final = "key"
CHANNEL: Final = "channel"
BOTH: Final = TO_READ | TO_CHANGE


class Denial(NamedTuple):
    """Why a request is not allowed.

    Attributes:
        reason: `COMMAND`, `KEY` or `CHANNEL`.
        what: The command, key or channel.
        place: Position of the key among the keys, or of the channel among the channels: of several
            denials the one that came furthest is told.
    """

    reason: str
    what: bytes
    place: int = 0


class CommandRule(NamedTuple):
    """Allows or forbids commands.

    Attributes:
        allows: Whether it allows.
        name: `get`, `config|get`, `select|0` for a first argument, or `@read`; lower case.
    """

    allows: bool
    name: str

    @property
    def text(self) -> str:
        """The rule as people write it."""
        return f"{'+' if self.allows else '-'}{self.name}"


class KeyPattern(NamedTuple):
    """Allows keys.

    Attributes:
        pattern: A pattern of names.
        access: What may be done with them, see `access_of`.
    """

    pattern: bytes
    access: int

    @property
    def text(self) -> bytes:
        """The pattern as people write it."""
        if self.access == BOTH:
            return b"~" + self.pattern
        return b"%%%b~%b" % (b"R" if self.access == TO_READ else b"W", self.pattern)


class _Decision(NamedTuple):
    """Whether a command is allowed.

    Attributes:
        allowed: Whatever its arguments.
        firsts: First arguments, lower case, with which it is allowed all the same.
    """

    allowed: bool
    firsts: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Selector:
    """What one part of a user's rights allows. A request needs one that allows all of it.

    Attributes:
        all_commands: Whether all commands are allowed but what the rules say, or none.
        commands: Rules; the last one that speaks of a command holds.
        all_keys: Whether all keys are allowed.
        keys: The keys that are, otherwise.
        all_channels: Whether all channels are allowed.
        channels: Patterns of the channels that are, otherwise.
    """

    all_commands: bool = False
    commands: tuple[CommandRule, ...] = ()
    all_keys: bool = False
    keys: tuple[KeyPattern, ...] = ()
    all_channels: bool = False
    channels: tuple[bytes, ...] = ()
    _decisions: dict[str, _Decision] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _patterns: dict[bytes, Callable[[bytes], re.Match[bytes] | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def unrestricted(self) -> bool:
        """Whether it allows everything."""
        return self.all_commands and self.all_keys and self.all_channels and not self.commands

    # ------------------------------------------------------------------ deciding
    def denial(self, table: CommandTable, command: Command, request: Request) -> Denial | None:
        """Returns why a request is not allowed, None if it is.

        Args:
            table: All commands.
            command: The command, or the subcommand, that is asked for.
            request: The whole request; the number of its arguments is right.
        """
        if not self._allows(command, request):
            return Denial(COMMAND, command.full_name.encode())
        if command.inner is not None:
            for name in command.inner(request):
                inner = table.get(name)
                if inner is not None and not self._allows(inner, request):
                    return Denial(COMMAND, inner.full_name.encode())
        return self._denied_key(command, request) or self._denied_channel(command, request)

    def _allows(self, command: Command, request: Request) -> bool:
        decision = self._decisions.get(command.full_name)
        if decision is None:
            decision = self._decisions[command.full_name] = self._decide(command)
        if decision.allowed:
            return True
        return (
            bool(decision.firsts)
            and len(request) > 1
            and bytes(request[1]).lower() in decision.firsts
        )

    def _decide(self, command: Command) -> _Decision:
        if NO_AUTH in command.flags:
            return _Decision(allowed=True)
        allowed, firsts = self.all_commands, frozenset[bytes]()
        names = {command.full_name, command.parent or command.name}
        names.update(f"@{category}" for category in categories_of(command))
        begins = "" if command.subcommands or command.parent else f"{command.name}|"
        for rule in self.commands:
            if rule.name in names:
                allowed, firsts = rule.allows, frozenset()
            elif begins and rule.name.startswith(begins):
                firsts |= {rule.name.removeprefix(begins).encode()}
        return _Decision(allowed, firsts)

    def may_use(self, key: Argument, access: int) -> bool:
        """Returns whether a key may be used.

        Args:
            key: The key.
            access: What is done with it, see `access_of`.
        """
        if self.all_keys:
            return True
        name = bytes(key)
        for pattern, allowed in self.keys:
            if allowed & access == access and self._matches(pattern, name):
                return True
        return False

    def _denied_key(self, command: Command, request: Request) -> Denial | None:
        if self.all_keys:
            return None
        for place, (key, access) in enumerate(access_of(command, request)):
            if not self.may_use(key, access):
                return Denial(KEY, bytes(key), place)
        return None

    def may_hear(self, channel: Argument, *, pattern: bool = False) -> bool:
        """Returns whether a channel may be used.

        Args:
            channel: The channel, or a pattern.
            pattern: Whether it is one, which must be allowed in these very words.
        """
        name = bytes(channel)
        return self.all_channels or any(
            each == name if pattern else self._matches(each, name) for each in self.channels
        )

    def _matches(self, pattern: bytes, name: bytes) -> bool:
        matches = self._patterns.get(pattern)
        if matches is None:
            matches = self._patterns[pattern] = compile_glob(pattern).fullmatch
        return matches(name) is not None

    def _denied_channel(self, command: Command, request: Request) -> Denial | None:
        named = command.channels
        if named is None or self.all_channels:
            return None
        stop = named.last + 1 if named.last > 0 else len(request) + named.last + 1
        for place, channel in enumerate(request[named.first : stop]):
            if not self.may_hear(channel, pattern=named.patterns):
                return Denial(CHANNEL, bytes(channel), place)
        return None

    # ------------------------------------------------------------------ describing
    def commands_text(self) -> bytes:
        """Returns the rules on commands as people write them."""
        rules = ("+@all" if self.all_commands else "-@all", *(rule.text for rule in self.commands))
        return " ".join(rules).encode("utf-8", "surrogateescape")

    def keys_text(self) -> bytes:
        """Returns the patterns of keys as people write them."""
        return b"~*" if self.all_keys else b" ".join(each.text for each in self.keys)

    def channels_text(self) -> bytes:
        """Returns the patterns of channels as people write them."""
        if self.all_channels:
            return b"&*"
        return b" ".join(b"&" + each for each in self.channels)

    def words(self) -> Iterator[bytes]:
        """Returns the words, some of them joined, that make an empty selector like this."""
        if keys := self.keys_text():
            yield keys
        if not self.all_channels:
            yield b"resetchannels"
        if channels := self.channels_text():
            yield channels
        yield self.commands_text()
