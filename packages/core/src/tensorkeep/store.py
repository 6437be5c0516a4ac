"""The contract of a store: where keys and their values live, and who does the commands on them.

A store is a plugin (entry points `tensorkeep.stores`, by the scheme of its URL). There are two
kinds. A local store keeps its values in this process: they are at hand at once, and the commands on
plain data are functions that the store brings. A remote store stands for an engine elsewhere: each
value takes a round trip, and the commands on plain data are done by the engine.

The commands that a front end has of its own are written once, for both: each says which values it
reads (`Wanted`), and then works on `Values`. What it changes there is done at once in a local
store, and by `Session.write` in a remote one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from tensorkeep.commands.wanted import Wanted
from tensorkeep.model import Model, ModelSpec, Script, ScriptSpec

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from typing_extensions import TypeIs

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.command import Command
    from tensorkeep.commands.reply import Version
    from tensorkeep.commands.set_options import Lifetime
    from tensorkeep.engine import Engine
    from tensorkeep.eviction import Eviction, Usage
    from tensorkeep.tensor import Blob
    from tensorkeep.watch import Watch

__all__ = [
    "NEW",
    "Downstream",
    "Host",
    "LocalKeys",
    "LocalStore",
    "Record",
    "RemoteStore",
    "Result",
    "Session",
    "Step",
    "Values",
    "Wanted",
    "is_remote",
    "record_of",
]

_T = TypeVar("_T")

NEW: Final = "new"
"""The event of a key that was not there, or whose value was replaced without regard to the old."""

Result: TypeAlias = Callable[[], _T]
"""What returns a result that is there by now, or raises the error that came instead."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored of a model or script, whether it is built in this process or not.

    Attributes:
        spec: What the user said.
        inputs: Names of the inputs that the backend found; of a script none.
        outputs: Names of the outputs that the backend found; of a script none.
        content: The model's blob or the script's source, in one piece or more.
    """

    spec: ModelSpec | ScriptSpec
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    content: Sequence[Blob]

    def is_of(self, kind: type[Model | Script]) -> bool:
        """Returns whether this is of a model, or of a script."""
        return isinstance(self.spec, ModelSpec if kind is Model else ScriptSpec)


def record_of(runnable: Model | Script) -> Record:
    """Returns what is stored of a model or script that is built in this process."""
    if isinstance(runnable, Model):
        loaded = runnable.loaded
        return Record(
            runnable.spec,
            loaded.inputs,
            loaded.outputs,
            (runnable.backend.serialize(loaded, runnable.blob),),
        )
    return Record(runnable.spec, (), (), (runnable.source,))


class Values(Protocol):
    """Values under the keys of one database, as one command sees them.

    Of a remote store only what was `Wanted` can be read; nobody has looked at the other keys.
    """

    def get(self, key: bytes) -> object | None:
        """Returns the value under a key, None when there is none."""

    def typed(self, key: bytes, kind: type[_T]) -> _T:
        """Returns the value under a key, which must be of one kind (see `Wanted`).

        Raises:
            KeyMissing: There is no such key; the error carries the kind.
            WrongType: The value is of another kind.
        """

    def expect(self, key: bytes, kind: type, *, present: bool | None = None) -> None:
        """Makes sure that a key is free or holds a value of one kind, which may be replaced.

        A remote store looks when it writes: then it is `Session.write` that raises, and of all
        changes none is made.

        Args:
            key: The key.
            kind: The kind.
            present: Whether the key must be taken or free; None if it may be either.

        Raises:
            WrongType: The value is of another kind.
            NotStored: The key is free and must be taken, or the other way round. What is wrong
                with the kind of any of several keys comes first.
        """

    def set(self, key: bytes, value: object, *, event: str | None = None) -> None:
        """Stores a tensor, model or script, replacing any other value and its expiry.

        Args:
            key: The key.
            value: Its value.
            event: What this is called towards clients that are told of events.
        """

    def set_for(
        self, key: bytes, value: object, lifetime: Lifetime | None, event: str | None = None
    ) -> None:
        """Stores a tensor, model or script, replacing any other value, and sets when it vanishes.

        Args:
            key: The key.
            value: Its value.
            lifetime: Until when it stays, by the clock of the store; None for ever.
            event: What this is called towards clients that are told of events.
        """

    def drop(self, key: bytes, kind: type[_T]) -> _T | None:
        """Removes a key whose value must be of one kind.

        Returns:
            The value; None where only the engine has it.

        Raises:
            KeyMissing: There is no such key; as with `expect`, `Session.write` may be what raises.
            WrongType: The value is of another kind.
        """


class LocalKeys(Values, Protocol):
    """The keys of one database of a local store.

    Attributes:
        watches: Who watches which key, see `Watch`.
        listener: Is told what has happened to which key, once it has; None for nobody.
    """

    watches: dict[bytes, set[Watch]]
    listener: Callable[[str, bytes], None] | None

    def get(self, key: bytes, *, touch: bool = True) -> object | None:
        """Returns the value under a key, None when there is none.

        Args:
            key: The key.
            touch: Whether this counts as use of it.
        """

    def __len__(self) -> int:
        """Returns the number of keys, with those that expired and were not yet removed."""

    @property
    def volatile(self) -> int:
        """The number of keys that will expire."""

    @property
    def structures(self) -> int:
        """Bytes that finding keys takes, besides what is counted for each of them."""

    def remove_expired(self, limit: int) -> list[bytes]:
        """Removes keys whose time has come, at most so many, and returns them."""


class LocalStore(Protocol):
    """A store whose values are kept in this process."""

    @property
    def usage(self) -> Usage:
        """What all keys and values take: within 10 %, and true at any moment."""

    @property
    def databases(self) -> tuple[LocalKeys, ...]:
        """The keys, by number of the database."""

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands on plain data.

        Their handlers are given the front end's client: it has `keys`, `database`, `version`, and
        `server` with `databases`, `most_bytes` and `one_moment`.
        """

    def one_moment(self) -> AbstractContextManager[None]:
        """Lets time stand still for all keys, so that none expires in the middle of something."""

    def memory_of(self, key: bytes, value: object) -> int:
        """Returns about how many bytes a key and its value take, the value's data included."""

    def holds(self, buffer: Blob) -> bool:
        """Returns whether the memory of a large buffer is that of a stored value."""

    def evict_by(self, eviction: Eviction) -> None:
        """Says how keys are chosen that are given up; at first none is."""

    def evict(self) -> bool:
        """Gives up one key, in a time that is about the same however many there are.

        Its listener hears of `evicted`, its watches of a change.

        Returns:
            Whether there was one that may be given up.
        """


class Downstream(Protocol):
    """A client's connection, as a session of a remote store sees it."""

    def send(self, data: bytes) -> None:
        """Sends bytes to the client as they are, behind all that it was sent before."""

    def lose(self, reason: str) -> None:
        """Closes the client's connection, whose state at the engine is lost, behind all of that."""

    def pause(self) -> None:
        """Says that the engine takes no more for now: nothing is to be relayed until `resume`."""

    def resume(self) -> None:
        """Says that the engine takes more again."""


class Step(NamedTuple):
    """A command of the front end within a transaction of the engine's.

    Attributes:
        wanted: What it reads, at the moment of EXEC.
        values: What it changes, from `Session.values`; None if it changes nothing.
        make: Makes the encoded reply when EXEC was done, from what returns the values that were
            read or raises the error of reading or writing them. Not called if nothing was done.
    """

    wanted: Sequence[Wanted]
    values: Values | None
    make: Callable[[Result[Values]], bytes]


class Session(Protocol):
    """One client's way to a remote store, with the client's rights and in its database.

    All callbacks come on the loop's thread, at once or later, once each and in the order of the
    calls. `done` gets a `Result`; the errors that it raises are `KeyMissing`, `WrongType`,
    `NotStored`, `StoreError` with the line for the client, and those of `Engine.create_model`.

    Attributes:
        version: Version of the protocol that the client speaks, 2 or 3.
        user: The name of the engine's user that the client is.
        database: Number of the selected database.
        in_transaction: Whether commands are being queued (MULTI).
        waits: Whether a command was relayed and is not done that may block, such as BLPOP.
        listens: Whether the client hears of what others do: it is subscribed, or has said MONITOR.
        subscribed: Whether the client is subscribed to anything.
    """

    version: Version
    user: bytes
    database: int
    in_transaction: bool
    waits: bool
    listens: bool
    subscribed: bool

    def mutes(self) -> bool:
        """Tells whether the reply to a command of the front end's own is left out (CLIENT REPLY).

        It is called once for each, when all that was relayed before is done; SKIP counts by it.
        """

    def pause(self) -> None:
        """Hears that the client does not read what it was sent: no more is sent until `resume`.

        What was read from the engine already may still come.
        """

    def resume(self) -> None:
        """Hears that the client reads again."""

    def values(self) -> Values:
        """Returns values of which none was read, to take changes."""

    def read(self, wanted: Sequence[Wanted], done: Callable[[Result[Values]], None]) -> None:
        """Reads values in one round trip, at one moment; builds models that are not built yet."""

    def built(self, key: bytes) -> Model | Script | None:
        """Returns what is built of the model or script that a key was last seen to hold."""

    def write(self, values: Values, done: Callable[[Result[None]], None]) -> None:
        """Makes all changes that were made to values, or none, in one round trip."""

    def relay(self, request: Sequence[Argument], done: Callable[[], None]) -> None:
        """Has the engine do a command; the reply goes to the client as it comes.

        Several may be on their way. Before one of the front end's own commands, wait for all.

        Args:
            request: The command's name and arguments; large ones must not change before `done`.
            done: Called when the whole reply has been sent.
        """

    def ask(self, request: Sequence[Argument], done: Callable[[Result[Any]], None]) -> None:
        """Has the engine do a command; the reply is handed over, for who makes another of it.

        It is what hiredis makes of RESP3: bytes, int, float, bool, None, lists, dicts, sets.
        An error is raised as `StoreError`. In a transaction it must not be called.
        """

    def leave(self, request: Sequence[Argument], done: Callable[[Result[None]], None]) -> None:
        """Asks whether the client may do a command.

        Args:
            request: The command, with arguments by which it does nothing, or that are a mistake.
            done: Its result raises `StoreError` if the engine refuses it otherwise than for that
                mistake: for want of a password or of rights; or if it gives no reply.
        """

    def fetch(self, request: Sequence[Argument], done: Callable[[Result[bytes]], None]) -> None:
        """Has the engine do a command; the reply is handed over as the client would be sent it.

        Unlike `ask`, it keeps a status apart from a bulk, and is in the client's version of the
        protocol. An error of the engine's is such a reply. In a transaction it must not be called.

        Args:
            request: A command that does not change the connection.
            done: Its result raises `StoreError` if no reply came.
        """

    def enqueue(self, step: Step, done: Callable[[Result[None]], None]) -> None:
        """Puts a command of the front end's own into the transaction that the client has begun."""

    def spoil(self, done: Callable[[], None]) -> None:
        """Has EXEC refuse the transaction that the client has begun: a command was refused."""

    def close(self) -> None:
        """Ends the connection to the engine: the client is gone. No callback comes any more."""


class RemoteStore(Protocol):
    """A store whose values are an engine's."""

    async def start(self) -> None:
        """Reaches the engine.

        Raises:
            StoreError: It cannot be reached for a minute, refuses the password, or is too old.
        """

    async def close(self) -> None:
        """Lets go of the engine; one that the store has started is ended."""

    def session(self, downstream: Downstream) -> Session:
        """Begins the session of a client that has connected."""

    def catalog(
        self,
        kind: type[Model | Script],
        session: Session,
        done: Callable[[Result[Sequence[tuple[bytes, str]]]], None],
    ) -> None:
        """Lists the keys of all models or scripts of the session's database, with their tags."""

    def info(self) -> Mapping[str, Mapping[str, str | int | float]]:
        """Returns sections for INFO: how the engine is reached, and how it has been."""


def is_remote(store: LocalStore | RemoteStore) -> TypeIs[RemoteStore]:
    """Returns whether the values of a store are an engine's."""
    return hasattr(store, "session")


class Host(NamedTuple):
    """What a store is given.

    Attributes:
        engine: Builds models and scripts, and knows those that are built.
        directory: Where a store that starts its own engine keeps its data; empty for none.
        options: What else was said of the store: `fsync`, `program`, `preload`; for an engine of
            the store's own `password` of the default user, and `users`, a file that describes them.
    """

    engine: Engine
    directory: str
    options: Mapping[str, str]
