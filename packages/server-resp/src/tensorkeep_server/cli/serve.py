"""`tensorkeep serve`: the settings, and the process around the server.

A setting is named once, as a parameter of `serve`. Its flag, its environment variable and its key
in a file follow from that name (`sources`), its default from `Settings`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, TypeVar

import typer

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.errors import BackendUnavailable, StoreError, StoreUnavailable
from tensorkeep.eviction import MOST_SAMPLES, POLICIES, Eviction
from tensorkeep.placement import Isolate
from tensorkeep.rights.users import FileError
from tensorkeep.stores import DEFAULT_STORE, DIRECTORY_STORE, find_store, without_password
from tensorkeep_server import IMPORTED_AT, app
from tensorkeep_server.cli.client import URL_VARIABLE
from tensorkeep_server.cli.log_writing import LogWriter
from tensorkeep_server.cli.sources import place, read_file, unknown_variables
from tensorkeep_server.client_limits import LEAST_QUERY, MOST_SECONDS, ClientLimits, read_share
from tensorkeep_server.codec import Limits
from tensorkeep_server.garbage import collector_waits, set_aside
from tensorkeep_server.identity import tensorkeep_version
from tensorkeep_server.output_limit import read_limits
from tensorkeep_server.settings import LEAST_CHUNK_SIZE, MEGABYTE, Settings
from tensorkeep_server.sizes_of_memory import read_size
from tensorkeep_server.tls import TlsError, TlsSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorkeep_server.state import Server

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_DEFAULTS: Final = Settings()
_ENGINE: Final = _DEFAULTS.engine
_EVICTION: Final = _DEFAULTS.eviction
_LIMITS: Final = _DEFAULTS.limits
_CLIENTS: Final = _DEFAULTS.client_limits
_TLS: Final = _DEFAULTS.tls
_SECRET: Final = frozenset({"requirepass", "tls_key_file_pass"})
_MILLISECONDS: Final = 1000  # in a second
_MICROSECONDS: Final = 1_000_000

# One sentence of the help says how the variables are called.
_setting: Final = partial(typer.Option, show_envvar=False)


class EvictionPolicy(StrEnum):
    """Which keys are evicted, as Redis names it; see `tensorkeep.eviction`."""

    NOEVICTION = "noeviction"
    ALLKEYS_LRU = "allkeys-lru"
    ALLKEYS_LFU = "allkeys-lfu"
    ALLKEYS_RANDOM = "allkeys-random"
    VOLATILE_LRU = "volatile-lru"
    VOLATILE_LFU = "volatile-lfu"
    VOLATILE_RANDOM = "volatile-random"
    VOLATILE_TTL = "volatile-ttl"


class LogLevel(StrEnum):
    """What is logged: this and what is graver."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TlsAuthClients(StrEnum):
    """Whether clients must have a certificate."""

    YES = "yes"
    NO = "no"
    OPTIONAL = "optional"


class TlsAuthClientsUser(StrEnum):
    """What of a certificate names a user."""

    OFF = "off"
    CN = "CN"


class Fsync(StrEnum):
    """When a change is on the disk."""

    ALWAYS = "always"
    EVERYSEC = "everysec"
    NO = "no"


_LOG_LEVEL: Final = LogLevel(_DEFAULTS.log_level)
_POLICY: Final = EvictionPolicy(_EVICTION.policy.name)
_AUTH_CLIENTS: Final = TlsAuthClients(_TLS.auth_clients)
_AUTH_CLIENTS_USER: Final = TlsAuthClientsUser(_TLS.auth_clients_user)
_FSYNC: Final = Fsync(_DEFAULTS.fsync)


def _installed(context: typer.Context, names: Iterable[str], setting: str) -> tuple[str, ...]:
    """Refuses backends that are not installed."""
    installed = Backends().names() if names else []
    for name in names:
        if name.upper() not in installed:
            known = ", ".join(installed) or "none"
            raise typer.BadParameter(
                f"{name} is not an installed backend (installed: {known})",
                param_hint=place(context, setting),
            )
    return tuple(name.upper() for name in names)


def _isolated(context: typer.Context, text: str) -> str:
    """Refuses what is no setting of isolation, and backends in it that are not installed."""
    try:
        names = Isolate.parse(text).names
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=place(context, "isolate")) from error
    _installed(context, sorted(names), "isolate")
    return text


def _store(context: typer.Context, url: str) -> str:
    """Refuses the URL of a store that is not installed."""
    try:
        find_store(url)
    except StoreUnavailable as error:
        raise typer.BadParameter(str(error), param_hint=place(context, "store")) from error
    return url


def _directory(context: typer.Context, path: str) -> str:
    """Refuses a directory beside another store, or without the package that keeps data in one."""
    if not path:
        return path
    if context.params["store"] != DEFAULT_STORE:
        raise typer.BadParameter("cannot be given beside --store", param_hint=place(context, "dir"))
    try:
        find_store(DIRECTORY_STORE)
    except StoreUnavailable as error:
        raise typer.BadParameter(str(error), param_hint=place(context, "dir")) from error
    return path


def _query_limit(word: str) -> int:
    size = read_size(word)
    if size < LEAST_QUERY:
        raise ValueError(f"must be at least {LEAST_QUERY}, not {size}")
    return size


def _read(context: typer.Context, setting: str, word: str, reader: Callable[[str], _T]) -> _T:
    """Reads the text of a setting, and refuses what is none of its values."""
    try:
        return reader(word)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=place(context, setting)) from error


def _user_of_certificate(context: typer.Context, what: TlsAuthClientsUser) -> str:
    """Refuses users of certificates beside a store that has its own users."""
    if what is not TlsAuthClientsUser.OFF and (
        context.params["store"] != DEFAULT_STORE or context.params["dir"]
    ):
        raise typer.BadParameter(
            "cannot be given beside --store or --dir: there the engine has users and passwords",
            param_hint=place(context, "tls_auth_clients_user"),
        )
    return what.value


def _password(context: typer.Context, password: str) -> str:
    """Refuses a password beside a store that has its own."""
    if password and context.params["store"] != DEFAULT_STORE:
        raise typer.BadParameter(
            "cannot be given beside --store: the engine there has users and passwords",
            param_hint=place(context, "requirepass"),
        )
    return password


def serve(  # noqa: PLR0913 - one parameter for each setting is the point
    context: typer.Context,
    *,
    config: Annotated[
        Path | None,
        _setting(
            is_eager=True,
            callback=read_file,
            help="TOML file with settings: keys are spelled as the flags, without dashes before.",
        ),
    ] = None,
    bind: Annotated[
        list[str] | None,
        _setting(
            metavar="<address>",
            help="Address to listen on; may be given several times."
            f"  [default: {' '.join(_DEFAULTS.bind)}]",
        ),
    ] = None,
    port: Annotated[
        int,
        _setting(
            min=0,
            max=65535,
            help="TCP port to listen on; 0 takes a free one, or beside --tls-port none.",
        ),
    ] = _DEFAULTS.port or 0,
    tcp: Annotated[
        bool,
        _setting(
            help="Whether to listen on a TCP port, or on the Unix socket and the port for TLS only."
        ),
    ] = True,
    unix_socket: Annotated[
        str, _setting(help="Path of a Unix socket to listen on as well.")
    ] = _DEFAULTS.unix_socket,
    tls_port: Annotated[
        int,
        _setting(min=0, max=65535, help="TCP port to listen on for TLS as well; 0 for none."),
    ] = 0,
    tls_cert_file: Annotated[
        str,
        _setting(
            metavar="<file>",
            help="The server's certificate, in PEM. It, and the files below, are read anew on"
            " SIGHUP.",
        ),
    ] = _TLS.cert_file,
    tls_key_file: Annotated[
        str, _setting(metavar="<file>", help="The private key of the certificate, in PEM.")
    ] = _TLS.key_file,
    tls_key_file_pass: Annotated[
        str,
        _setting(
            metavar="<password>",
            help="What the private key is encrypted with. Others see the command line: rather use"
            " TENSORKEEP_TLS_KEY_FILE_PASS, or a file.",
        ),
    ] = _TLS.key_file_pass,
    tls_ca_cert_file: Annotated[
        str,
        _setting(metavar="<file>", help="Certificates of those who sign clients', in PEM."),
    ] = _TLS.ca_cert_file,
    tls_ca_cert_dir: Annotated[
        str,
        _setting(
            metavar="<directory>",
            help="Directory of such certificates, with the names that `openssl rehash` gives.",
        ),
    ] = _TLS.ca_cert_dir,
    tls_auth_clients: Annotated[
        TlsAuthClients,
        _setting(help="Whether clients must have a certificate, may, or are not asked for one."),
    ] = _AUTH_CLIENTS,
    tls_auth_clients_user: Annotated[
        TlsAuthClientsUser,
        _setting(
            case_sensitive=False,
            help="Whether a client is logged in as the user that its certificate's common name (CN)"
            " says.",
        ),
    ] = _AUTH_CLIENTS_USER,
    tls_protocols: Annotated[
        str,
        _setting(
            metavar="<versions>",
            help="Versions of TLS, with blanks between them.  [default: TLSv1.2 TLSv1.3]",
        ),
    ] = _TLS.protocols,
    tls_ciphers: Annotated[
        str,
        _setting(metavar="<list>", help="Ciphers up to TLSv1.2, as OpenSSL lists them."),
    ] = _TLS.ciphers,
    tls_ciphersuites: Annotated[
        str,
        _setting(metavar="<list>", help="Ciphers of TLSv1.3, where Python can set them (3.15)."),
    ] = _TLS.ciphersuites,
    store: Annotated[
        str,
        _setting(
            metavar="<url>",
            help="Where keys and their values are; `tensorkeep plugins` lists the schemes of the"
            " stores that are installed.",
        ),
    ] = _DEFAULTS.store,
    dir: Annotated[  # noqa: A002 - the option's name
        str,
        _setting(
            metavar="<directory>",
            help="Directory in which the data is kept, so that it is there after a restart: by a"
            " Valkey that the server starts for itself, in place of --store.",
        ),
    ] = _DEFAULTS.directory,
    fsync: Annotated[
        Fsync,
        _setting(
            help="With --dir, when a change is on the disk: before its reply, once a second,"
            " or when the system likes."
        ),
    ] = _FSYNC,
    store_program: Annotated[
        str,
        _setting(
            metavar="<program>",
            help="With --dir, the valkey-server or redis-server to start, in place of the one that"
            " comes with the package.",
        ),
    ] = _DEFAULTS.store_program,
    store_preload: Annotated[
        bool,
        _setting(
            help="With --dir, or with --store and a Valkey or Redis, whether all models and scripts"
            " are built before the server is ready, or each when it is first needed."
        ),
    ] = _DEFAULTS.store_preload,
    requirepass: Annotated[
        str,
        _setting(
            metavar="<password>",
            help="Password that clients have to say before anything else. Others see the command"
            " line: rather use TENSORKEEP_REQUIREPASS, or a file.",
        ),
    ] = _DEFAULTS.password,
    aclfile: Annotated[
        str,
        _setting(
            metavar="<file>",
            help="File that describes users and their rights, one line each, as Redis' has them.",
        ),
    ] = _DEFAULTS.user_file,
    protected_mode: Annotated[
        bool,
        _setting(
            help="Whether clients of other machines are turned away as long as everybody is let in"
            " without a password."
        ),
    ] = _DEFAULTS.protected,
    audit_log: Annotated[
        str,
        _setting(
            metavar="<file>",
            help="File to which is added, one JSON object a line, who stored, deleted or ran what,"
            " and what was refused.",
        ),
    ] = _DEFAULTS.audit_log,
    load: Annotated[
        list[str] | None,
        _setting(
            metavar="<backend>",
            help="Backend to load before the server is ready; may be given several times."
            " Others are loaded when they are first needed.",
        ),
    ] = None,
    threads_per_queue: Annotated[
        int,
        _setting(min=1, help="Worker threads of each device."),
    ] = _ENGINE.threads_per_queue,
    intra_op_parallelism: Annotated[
        int,
        _setting(
            min=0,
            help="Threads inside one operator; 0 shares the machine's cores out among the workers"
            " of a device.",
        ),
    ] = _ENGINE.intra_op_parallelism,
    inter_op_parallelism: Annotated[
        int,
        _setting(
            min=0,
            help="Threads across operators; 0 leaves it to the backend.",
        ),
    ] = _ENGINE.inter_op_parallelism,
    model_execution_timeout: Annotated[
        int,
        _setting(
            min=1000,
            help="Milliseconds after which a running model is cancelled.",
        ),
    ] = round(_ENGINE.model_execution_timeout * _MILLISECONDS),
    backend_memory_limit: Annotated[
        int,
        _setting(
            min=0,
            help="Megabytes (of 1,000,000 bytes) that each backend may allocate on the CPU for the"
            " weights of its models, and for runs where its framework can; 0 sets no limit.",
        ),
    ] = _ENGINE.backend_memory_limit // MEGABYTE,
    isolate: Annotated[
        str,
        _setting(
            metavar="<auto|all|none|backend,...>",
            help="Which backends run in processes of their own, where a model that crashes costs"
            " one error: auto for scripts and all models that are not known to be harmless, all,"
            " none, or names of backends with commas between.",
        ),
    ] = _ENGINE.isolate,
    worker_memory: Annotated[
        int | None,
        _setting(
            min=0,
            help="Megabytes (of 1,000,000 bytes) of memory that such a process may take; 0 sets no"
            " limit. Unset, it is half of the memory that the machine or the container has.",
        ),
    ] = _ENGINE.worker_memory,
    recycle_workers_after: Annotated[
        int,
        _setting(
            min=0,
            help="Runs after which such a process is replaced, for models that leak memory; 0 for"
            " never.",
        ),
    ] = _ENGINE.recycle_workers_after,
    store_timeout: Annotated[
        int,
        _setting(
            min=1000,
            help="Milliseconds after which the storing of a model or script ends with an error:"
            " its building is ended in such a process, and given up in the server's own.",
        ),
    ] = round(_ENGINE.store_timeout * _MILLISECONDS),
    max_models: Annotated[
        int,
        _setting(min=1, help="Models and scripts that may be stored."),
    ] = _ENGINE.max_models,
    sandbox: Annotated[
        bool,
        _setting(
            help="Whether such processes are kept from files and the network, where the system"
            " can.",
        ),
    ] = _ENGINE.sandbox,
    model_chunk_size: Annotated[
        int,
        _setting(
            min=LEAST_CHUNK_SIZE,
            help="Bytes of the pieces in which AI.MODELGET hands out a model.",
        ),
    ] = _DEFAULTS.model_chunk_size,
    inline_limit: Annotated[
        float,
        _setting(
            min=0,
            help="Microseconds: a run that is known to take less needs no worker thread while"
            " its device is idle; 0 sends every run to one.",
        ),
    ] = round(_ENGINE.inline_limit * _MICROSECONDS, 3),
    overtake_after: Annotated[
        int,
        _setting(
            min=0,
            help="Milliseconds after which a run that goes on no longer keeps other models of its"
            " device waiting: they run beside it. 0 keeps the order, as RedisAI does.",
        ),
    ] = round(_ENGINE.overtake_after * _MILLISECONDS),
    deadline_ends_runs: Annotated[
        bool,
        _setting(
            help="Whether a request with a TIMEOUT is answered TIMEDOUT also while it runs, and"
            " its run is ended; otherwise TIMEOUT only counts until the run starts, as in RedisAI.",
        ),
    ] = _ENGINE.deadline_ends_runs,
    strict_batching: Annotated[
        bool,
        _setting(
            help="Whether AI.MODELSTORE with BATCHSIZE is an error for a model whose requests are"
            " known not to be able to share runs; otherwise it is stored, and they run alone.",
        ),
    ] = _ENGINE.strict_batching,
    max_waiting: Annotated[
        int,
        _setting(
            min=0,
            help="Runs that may wait for one device; more are refused. 0 sets no limit.",
        ),
    ] = _ENGINE.max_waiting,
    max_clients: Annotated[
        int,
        _setting(min=1, help="Connections beyond it are refused."),
    ] = _DEFAULTS.max_clients,
    client_query_buffer_limit: Annotated[
        str,
        _setting(
            metavar="<size>",
            help="Bytes of requests, such as 100mb, that one client may have sent and that were not"
            " done; who goes beyond it is disconnected.",
        ),
    ] = "1gb",
    client_output_buffer_limit: Annotated[
        str,
        _setting(
            metavar="<class hard soft seconds ...>",
            help="How much may wait for a client that does not read: of each class (normal,"
            " replica, pubsub) bytes that may never wait, bytes that may wait for so many seconds,"
            " and these; 0 for no limit.",
        ),
    ] = str(_CLIENTS.output),
    maxmemory_clients: Annotated[
        str,
        _setting(
            metavar="<size|percent>",
            help="Bytes that the requests and replies of all clients may take together, or how"
            " much of maxmemory, such as 5%; those that hold the most are disconnected. 0 sets no"
            " limit.",
        ),
    ] = str(_CLIENTS.memory),
    timeout: Annotated[
        int,
        _setting(
            min=0,
            max=MOST_SECONDS,
            help="Seconds after which a client that neither sends nor reads anything is"
            " disconnected; 0 for never.",
        ),
    ] = _CLIENTS.timeout,
    tcp_keepalive: Annotated[
        int,
        _setting(
            min=0,
            max=MOST_SECONDS,
            help="Seconds of silence after which the system asks whether a client's machine is"
            " still there; 0 for never.",
        ),
    ] = _CLIENTS.keepalive,
    maxmemory: Annotated[
        str,
        _setting(
            metavar="<size>",
            help="Memory that the server may take, such as 500mb or 4gb; what is beyond it is"
            " refused, or other keys are evicted. 0 sets no limit.",
        ),
    ] = str(_DEFAULTS.max_memory),
    maxmemory_policy: Annotated[
        EvictionPolicy,
        _setting(help="Which keys are evicted when --maxmemory is reached, as Redis names it."),
    ] = _POLICY,
    maxmemory_samples: Annotated[
        int,
        _setting(min=1, max=MOST_SAMPLES, help="Keys that are looked at to choose one of them."),
    ] = _EVICTION.samples,
    evict_models: Annotated[
        bool, _setting(help="Whether models and scripts may be evicted as well.")
    ] = _EVICTION.models,
    max_argument_bytes: Annotated[
        int,
        _setting(min=1, help="Bytes of one argument of a request."),
    ] = _LIMITS.max_bulk,
    max_arguments: Annotated[
        int, _setting(min=1, help="Arguments of one request.")
    ] = _LIMITS.max_arguments,
    max_inline_bytes: Annotated[
        int,
        _setting(min=64, help="Bytes of one inline command."),
    ] = _LIMITS.max_inline,
    max_request_bytes: Annotated[
        int, _setting(min=1, help="Bytes of one request.")
    ] = _LIMITS.max_request,
    shutdown_grace: Annotated[
        float,
        _setting(min=0, help="Seconds that running work may take when the server ends."),
    ] = _DEFAULTS.shutdown_grace,
    log_level: Annotated[
        LogLevel, _setting(help="What is logged to stderr: this and what is graver.")
    ] = _LOG_LEVEL,
) -> None:
    """Start the server.

    It stays until SIGTERM, Ctrl-C or SHUTDOWN ends it. A second signal ends it at once, without
    waiting for what runs.

    Each setting may also stand in an environment variable, such as TENSORKEEP_MAX_CLIENTS for
    --max-clients, or in a TOML file. A flag wins over the environment, and that over the file.
    """
    if not tcp and not unix_socket and not tls_port:
        raise typer.BadParameter(
            "needs --unix-socket or --tls-port: there is nothing to listen on",
            param_hint=place(context, "tcp"),
        )
    settings = Settings(
        bind=tuple(bind or _DEFAULTS.bind),
        port=port if tcp and (port or not tls_port) else None,
        unix_socket=unix_socket,
        tls=TlsSettings(
            port=tls_port or None,
            cert_file=tls_cert_file,
            key_file=tls_key_file,
            key_file_pass=tls_key_file_pass,
            ca_cert_file=tls_ca_cert_file,
            ca_cert_dir=tls_ca_cert_dir,
            auth_clients=tls_auth_clients.value,
            auth_clients_user=_user_of_certificate(context, tls_auth_clients_user),
            protocols=tls_protocols,
            ciphers=tls_ciphers,
            ciphersuites=tls_ciphersuites,
        ),
        store=_store(context, store),
        directory=_directory(context, dir),
        fsync=fsync.value,
        store_program=store_program,
        store_preload=store_preload,
        password=_password(context, requirepass),
        user_file=aclfile,
        protected=protected_mode,
        audit_log=audit_log,
        load=_installed(context, load or [], "load"),
        engine=EngineConfig(
            threads_per_queue=threads_per_queue,
            intra_op_parallelism=intra_op_parallelism,
            inter_op_parallelism=inter_op_parallelism,
            model_execution_timeout=model_execution_timeout / _MILLISECONDS,
            backend_memory_limit=backend_memory_limit * MEGABYTE,
            inline_limit=inline_limit / _MICROSECONDS,
            max_waiting=max_waiting,
            overtake_after=overtake_after / _MILLISECONDS,
            deadline_ends_runs=deadline_ends_runs,
            strict_batching=strict_batching,
            isolate=_isolated(context, isolate),
            worker_memory=None if worker_memory is None else worker_memory * MEGABYTE,
            recycle_workers_after=recycle_workers_after,
            store_timeout=store_timeout / _MILLISECONDS,
            max_models=max_models,
            sandbox=sandbox,
        ),
        model_chunk_size=model_chunk_size,
        limits=Limits(
            max_bulk=max_argument_bytes,
            max_arguments=max_arguments,
            max_inline=max_inline_bytes,
            max_request=max_request_bytes,
        ),
        client_limits=ClientLimits(
            query=_read(
                context, "client_query_buffer_limit", client_query_buffer_limit, _query_limit
            ),
            output=_CLIENTS.output._replace(
                **_read(
                    context, "client_output_buffer_limit", client_output_buffer_limit, read_limits
                )
            ),
            memory=_read(context, "maxmemory_clients", maxmemory_clients, read_share),
            timeout=timeout,
            keepalive=tcp_keepalive,
        ),
        max_clients=max_clients,
        max_memory=_read(context, "maxmemory", maxmemory, read_size),
        eviction=Eviction(POLICIES[maxmemory_policy.value], maxmemory_samples, models=evict_models),
        shutdown_grace=shutdown_grace,
        log_level=log_level.value,
        config_file=str(config.resolve()) if config else "",
    )
    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[LogWriter(sys.stderr)],
    )
    with _killed_by_ctrl_c():
        for line in unknown_variables(context, known=[URL_VARIABLE]):
            _log.warning(line)
        _log_changed(context)
        set_aside()
        _run(settings)


def _log_changed(context: typer.Context) -> None:
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        source = context.get_parameter_source(name)
        if source is None or source.name == "DEFAULT" or value == parameter.default:
            continue
        shown = ", ".join(value) if isinstance(value, list) else value
        if name == "store":
            shown = without_password(str(value))
        if name in _SECRET:
            shown = "(redacted)"
        _log.info("Setting %s parameter to: %s", name.upper(), shown)


def _run(settings: Settings) -> None:
    """Serves; an error that a person can do something about becomes one line."""
    ends = (signal.SIGTERM, signal.SIGINT)
    # As with Redis: a terminal that is closed does not end a server.
    renewals = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            backends = Backends(around_import=collector_waits)
            at_rest = runner.run(
                app.serve(settings, _say_ready, backends, signals=ends, renewals=renewals)
            )
    except (
        *(OSError, BackendUnavailable, StoreUnavailable, StoreError),
        *(FileError, TlsError),
    ) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix("ERR ")
        for handler in logging.getLogger().handlers:
            handler.flush()  # the line is the last of all: the log is written by another thread
        typer.echo(f"tensorkeep: {reason}", err=True)
        raise typer.Exit(1) from error
    if not at_rest:
        _leave()


@contextmanager
def _killed_by_ctrl_c() -> Iterator[None]:
    """Lets Ctrl-C end the process at once, until the server has a handler of its own.

    Python's own handler raises, and where it happens to do so in a callback of the garbage
    collector, nobody hears of it.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave() -> NoReturn:
    """Ends the process although threads are at work inside a framework.

    The interpreter's own end would take away what they use, and then ends in an abort now and then.
    """
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Returns uvloop's where it can be installed."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - it is not there on Windows

    return uvloop.new_event_loop


def _say_ready(server: Server) -> None:
    """Tells people, and programs that wait for it, that clients can connect."""
    backends = ", ".join(server.engine.backends.names()) or "none"
    took = (time.perf_counter() - IMPORTED_AT) * _MILLISECONDS
    typer.echo(
        f"Tensorkeep {tensorkeep_version()} is ready on {server.address}"
        f" (pid {os.getpid()}, backends: {backends}, started in {took:.0f} ms)"
    )
    sys.stdout.flush()
