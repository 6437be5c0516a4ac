"""What commands may see and change: the server's state, and that of the client that asked.

Plain values with the few actions that commands need. No socket, no loop: those who own them put
functions here.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from tensorkeep.memory_limit import MemoryLimit
from tensorkeep.rights.denial_log import DenialLog
from tensorkeep.store import is_remote
from tensorkeep.watch import Watch
from tensorkeep_server.client_memory import ClientsMemory, Held
from tensorkeep_server.dag_memory import DagMemory
from tensorkeep_server.notifications import MISSES
from tensorkeep_server.slow_log import SlowLog
from tensorkeep_server.subscriptions import Subscriptions
from tensorkeep_server.tls import Tls, TlsSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tensorkeep.commands.args import Args
    from tensorkeep.commands.command import Command, CommandTable
    from tensorkeep.commands.reply import Blob, Error, Version
    from tensorkeep.engine import Engine
    from tensorkeep.rights.user import Rights
    from tensorkeep.rights.users import User, Users
    from tensorkeep.store import LocalKeys, LocalStore, RemoteStore, Session
    from tensorkeep_server.audit import AuditLog
    from tensorkeep_server.client_limits import ClientLimits
    from tensorkeep_server.codec import Limits
    from tensorkeep_server.settings import Settings


BACKENDS_PATH: Final = str(Path(__file__).with_name("backends"))
"""What AI.CONFIG GET BACKENDSPATH shows at first, of the form that RedisAI's has."""

_WARN_AGAIN: Final = 60.0  # seconds


@dataclass(slots=True, eq=False)
class Server:
    """The state that all clients share.

    Attributes:
        settings: What the server was started with.
        engine: Runs models.
        commands: Every command.
        shut_down: Ends the server; whether running work is waited for is the argument.
        run_id: 40 hexadecimal digits, new at each start.
        address: Where the server listens, for people.
        store: Where keys and their values are.
        clients: The connected clients by id.
        clients_memory: What they hold.
        memory: What is taken of it, and how much may be.
        model_chunk_size: Bytes of the pieces in which MODELGET hands out a blob.
        max_clients: Connections beyond it are refused.
        port: The TCP port, 0 for none.
        tls: TLS as it is set.
        tls_port: The TCP port for TLS, 0 for none.
        lua_time_limit: What CONFIG SET lua-time-limit was set to; kept, there is no Lua.
        backends_path: What AI.CONFIG BACKENDSPATH was set to, never empty; kept, and not used for
            anything.
        started_at: Unix time in seconds.
        counters: Counts since the start or CONFIG RESETSTAT, by the names that INFO uses. Commands
            of clients that are still connected are counted with the client.
        client_ids: Gives each connection its number.
        subscriptions: Which clients are subscribed to what.
        limits: How much one request may be.
        client_limits: What clients may hold.
        announced: The classes of events on keys that clients are told of, see `notifications`.
        monitors: The clients that are shown every command; a dict keeps their order.
        slow_log: Commands that took long.
        audit: The audit log, None for none.
        observed: Whether somebody wants to know which commands are done.
        users: Who may do what.
        engine_rights: What users of the engine behind a remote store may do with the AI commands,
            by their names, as far as the engine allows it; others may do what it allows.
        denials: What was not allowed lately.
        password: What CONFIG shows as the default user's password, empty for none.
        protected: Whether clients of other machines are turned away while anybody is let in.
        doing: The command that is being done; only known while `observed`.
        ended_at: When the last command ended, by `perf_counter`.
        warned_at: When each warning was logged that could come very often.
    """

    settings: Settings
    engine: Engine
    commands: CommandTable
    shut_down: Callable[[bool], None]
    run_id: str
    address: str
    store: LocalStore | RemoteStore
    users: Users
    clients: dict[int, Client]
    model_chunk_size: int
    max_clients: int
    clients_memory: ClientsMemory = field(default_factory=ClientsMemory)
    memory: MemoryLimit = field(init=False)
    port: int = 0
    tls: Tls = field(default_factory=lambda: Tls(TlsSettings()))
    tls_port: int = 0
    lua_time_limit: int = 5000
    backends_path: str = BACKENDS_PATH
    started_at: float = field(default_factory=time.time)
    counters: Counter[str] = field(default_factory=Counter)
    client_ids: Iterator[int] = field(default_factory=lambda: count(1))
    subscriptions: Subscriptions[Client] = field(default_factory=Subscriptions)
    limits: Limits = field(init=False)
    client_limits: ClientLimits = field(init=False)
    announced: str = ""
    monitors: dict[Client, None] = field(default_factory=dict)
    slow_log: SlowLog = field(default_factory=SlowLog)
    engine_rights: dict[bytes, Rights] = field(default_factory=dict)
    denials: DenialLog = field(default_factory=DenialLog)
    password: str = ""
    protected: bool = True
    audit: AuditLog | None = None
    observed: bool = False
    doing: Command | None = None
    ended_at: float = 0.0
    warned_at: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = self.settings.limits
        self.client_limits = self.settings.client_limits
        self.memory = MemoryLimit(
            None if is_remote(self.store) else self.store, self.clients_memory
        )
        self.memory.limit = self.settings.max_memory
        self.memory.eviction = self.settings.eviction

    def observe(self) -> None:
        """Finds out again whether somebody wants to know which commands are done."""
        self.observed = bool(self.monitors) or MISSES in self.announced or self.audit is not None

    def may_warn(self, of: str) -> bool:
        """Returns whether a warning is to be logged: once a minute, however often it is due.

        Args:
            of: What the warning is about.
        """
        now = time.monotonic()
        last = self.warned_at.get(of)
        if last is not None and now - last < _WARN_AGAIN:
            return False
        self.warned_at[of] = now
        return True

    def one_moment(self) -> AbstractContextManager[None]:
        """See `LocalStore.one_moment`."""
        return self.local_store.one_moment()

    @property
    def local_store(self) -> LocalStore:
        """The store, for commands that there are with a local one alone."""
        return cast("LocalStore", self.store)

    @property
    def databases(self) -> tuple[LocalKeys, ...]:
        """The keys, by number of the database."""
        return self.local_store.databases

    @property
    def most_bytes(self) -> int:
        """The most bytes that one value may have."""
        return self.limits.max_bulk

    def end_connections_of(self, user: User, *, last: Client | None = None) -> None:
        """Ends the connections of a user that is no more.

        Args:
            user: The user.
            last: A client that is still to be answered, if it is one of them.
        """
        for client in [each for each in self.clients.values() if each.user is user]:
            client.end("the user is no more", answered=client is last)

    def end_forbidden_subscriptions(self, user: User, *, last: Client | None = None) -> None:
        """Ends the connections that hear what their user may not hear any more.

        Args:
            user: The user whose rights were changed.
            last: A client that is still to be answered, if it is one of them.
        """
        known = self.subscriptions
        hears = user.rights.may_hear
        for client in [each for each in self.clients.values() if each.user is user]:
            channels = (*known.channels.names(client), *known.shard_channels.names(client))
            patterns = known.patterns.names(client)
            if not (
                all(map(hears, channels)) and all(hears(each, pattern=True) for each in patterns)
            ):
                client.end("it may not hear its channels any more", answered=client is last)

    def replace_users(self, rights: dict[bytes, Rights], *, last: Client | None = None) -> None:
        """Sets all users, and ends the connections of those that are no more.

        Args:
            rights: What each may do.
            last: A client that is still to be answered, if it is one of them.
        """
        for user in self.users.replace(rights):
            self.end_connections_of(user, last=last)
        for user in self.users:
            self.end_forbidden_subscriptions(user, last=last)

    def count_error(self, error: Error) -> None:
        """Counts an error by its code word; a line without one counts as `ERR`."""
        word = error.line.partition(" ")[0]
        code = word if word.isalpha() and word.isupper() else "ERR"
        self.counters[f"errorstat_{code}"] += 1


@dataclass(slots=True, eq=False)
class Transaction:
    """What a client wants done in one go, from MULTI to EXEC.

    Attributes:
        queue: The commands in order, each with a cursor at its first argument.
        failed: Whether a command was refused, so that none will be done.
        size: Bytes that the arguments take.
    """

    queue: list[tuple[Command, Args]] = field(default_factory=list)
    failed: bool = False
    size: int = 0


@dataclass(slots=True, eq=False)
class Client:
    """The state of one connection that commands may see and change.

    Attributes:
        id: Grows with each connection.
        server: The server.
        user: Who the client is.
        authenticated: Whether it has said so, or needed not to when it connected.
        keys: The keys of the selected database; of a remote store, what the command that is being
            done has read.
        address: The peer's `host:port`, or the path of the Unix socket.
        local_address: Our end's address.
        close: Closes the connection once what was answered has been sent; is told why.
        drop: Closes the connection at once, what was not sent yet is lost; is told why.
        push: Sends what answers no request, behind all that was answered so far: encoded pieces,
            and how many bytes they have.
        held: Returns how many bytes it holds.
        lent: What waits for it to read, as it lies: buffers that may be a stored value's memory.
        look: Looks whether time has made it break a limit; is told Unix time in seconds.
        limit_requests: Has its requests keep to `Server.limits`, as they are now.
        descriptor: Number of its socket; negative for none.
        database: Number of the selected database.
        version: RESP version spoken.
        name: Set by CLIENT SETNAME.
        library: Name and version set by CLIENT SETINFO.
        muted: CLIENT REPLY OFF was said.
        skips: Replies still to be left out because of CLIENT REPLY SKIP.
        touches: Whether reading a key counts as use of it (CLIENT NO-TOUCH).
        evictable: Whether it may lose its connection for the memory that it holds.
        blocked: Whether a reply is being waited for.
        storing: Whether what its command has done is on its way to a remote store.
        subscribed: Whether it is subscribed to anything.
        transaction: What is to be done at EXEC; None outside of MULTI.
        watch: The keys that must not change before EXEC.
        session: The way to a remote store; None where the store is local.
        dags: The DAGs that it has sent.
        connected_at: Unix time in seconds.
        active_at: Unix time of the last command.
        last_command: Name of the last command, lower case.
        commands_done: Number of commands.
    """

    id: int
    server: Server
    user: User
    authenticated: bool
    keys: LocalKeys
    address: str
    local_address: str
    close: Callable[[str], None]
    drop: Callable[[str], None]
    push: Callable[[Sequence[Blob], int], None]
    held: Callable[[], Held]
    look: Callable[[float], None]
    limit_requests: Callable[[], None]
    descriptor: int = -1
    lent: list[Blob] = field(default_factory=list)
    database: int = 0
    version: Version = 2
    name: str = ""
    library: dict[str, str] = field(default_factory=dict)
    muted: bool = False
    skips: int = 0
    touches: bool = True
    evictable: bool = True
    blocked: bool = False
    storing: bool = False
    subscribed: bool = False
    transaction: Transaction | None = None
    watch: Watch = field(default_factory=Watch)
    session: Session | None = None
    dags: DagMemory = field(default_factory=DagMemory)
    connected_at: float = field(default_factory=time.time)
    active_at: float = field(default_factory=time.time)
    last_command: str = ""
    commands_done: int = 0

    def select(self, database: int) -> None:
        """Selects a database by number."""
        self.database = database
        self.keys = self.server.databases[database]

    def unwatch(self) -> None:
        """Watches no key any more, and forgets whether one was changed."""
        self.watch.end()
        self.watch = Watch()

    def discard(self) -> None:
        """Drops what was to be done at EXEC, and the watched keys."""
        self.transaction = None
        self.unwatch()

    def leave(self) -> None:
        """Lets go of the connection, which is closed: what still works for the client goes on.

        The two refer to each other, and would wait for the garbage collector.
        """
        self.close = self.drop = self.push = self.look = self.limit_requests = _ignore
        self.held = Held

    def end(self, why: str, *, answered: bool) -> None:
        """Ends the connection.

        Args:
            why: Why, for the log.
            answered: Whether what was answered is to be sent first.
        """
        (self.close if answered else self.drop)(why)

    def become(self, user: User | None) -> None:
        """Becomes a user.

        Args:
            user: The user; None for whom a client is that has not said who it is.
        """
        users = self.server.users
        self.user = users.default if user is None else user
        self.authenticated = user is not None or users.first() is not None
        self.limit_requests()

    def hear_nothing(self) -> None:
        """Ends all subscriptions, and MONITOR."""
        server = self.server
        server.subscriptions.forget(self)
        self.subscribed = False
        if self in server.monitors:
            del server.monitors[self]
            server.observe()


def _ignore(*_: object) -> None:
    """Does nothing: there is no connection any more."""
