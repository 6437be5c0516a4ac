"""What the server can be told at its start, as plain values.

Where a value comes from (a flag, the environment, a file) is the command line's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tensorkeep.config import EngineConfig
from tensorkeep.eviction import Eviction
from tensorkeep.stores import DEFAULT_STORE
from tensorkeep_server.client_limits import ClientLimits
from tensorkeep_server.codec import Limits
from tensorkeep_server.tls import TlsSettings

DEFAULT_CHUNK_SIZE: Final = 511 * 1024 * 1024  # RedisAI's: below Redis' limit for one argument
LEAST_CHUNK_SIZE: Final = 256  # a piece takes about as many bytes of memory, whatever it holds
MEGABYTE: Final = 1_000_000  # what RedisAI's memory limit counts in


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server, fixed for its life.

    Attributes:
        bind: Addresses to listen on.
        port: TCP port; 0 takes a free one, None listens elsewhere only.
        unix_socket: Path of a Unix socket to listen on as well, empty for none.
        tls: How TLS is set when the server starts.
        store: URL of the store, where keys and their values are.
        directory: Where a store of the server's own keeps its data, in place of `store`; empty for
            none.
        fsync: When what was changed there is on the disk: always, everysec or no.
        store_program: The program that keeps it; empty for the one that its package brings.
        store_preload: Whether a store that keeps models elsewhere builds all before the server is
            ready.
        password: What a client has to say to be the default user, empty for nothing.
        user_file: File that describes the users, empty for none.
        protected: Whether clients of other machines are turned away while anybody is let in.
        audit_log: File that is told who stored, deleted or ran what; empty for none.
        load: Backends to load before the server is ready.
        engine: Settings of the engine.
        model_chunk_size: Bytes of the pieces in which MODELGET hands out a blob; at least
            `LEAST_CHUNK_SIZE`.
        limits: How much one request may be.
        client_limits: What clients may hold.
        max_clients: Connections beyond it are refused.
        max_memory: Bytes of memory beyond which writes are refused or keys evicted; 0 for no limit.
        eviction: Which keys are evicted then.
        shutdown_grace: Seconds that running work may take when the server ends.
        switch_interval: Seconds after which a busy thread lets another one run.
        log_level: Lowest level that is logged.
        config_file: The file that the settings come from, empty for none.
    """

    bind: tuple[str, ...] = ("127.0.0.1",)
    port: int | None = 6379
    unix_socket: str = ""
    tls: TlsSettings = field(default_factory=TlsSettings)
    store: str = DEFAULT_STORE
    directory: str = ""
    fsync: str = "everysec"
    store_program: str = ""
    store_preload: bool = False
    password: str = ""
    user_file: str = ""
    protected: bool = True
    audit_log: str = ""
    load: tuple[str, ...] = ()
    engine: EngineConfig = field(default_factory=lambda: EngineConfig(isolate="auto"))
    model_chunk_size: int = DEFAULT_CHUNK_SIZE
    limits: Limits = field(default_factory=Limits)
    client_limits: ClientLimits = field(default_factory=ClientLimits)
    max_clients: int = 10_000
    max_memory: int = 0
    eviction: Eviction = field(default_factory=Eviction)
    shutdown_grace: float = 5.0
    switch_interval: float = 0.0005
    log_level: str = "info"
    config_file: str = ""
