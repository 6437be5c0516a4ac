"""CONFIG: the settings that clients and tools of Redis ask for, by Redis' names.

A table says what each one is and whether it can be changed. What Redis has and this server has
not is in the table only where a client needs the answer, with the value that is true here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tensorkeep.commands.args import SYNTAX, parse_integer, text
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
from tensorkeep.commands.databases import DATABASES
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.glob import compile_glob
from tensorkeep.commands.reply import OK, Map
from tensorkeep.eviction import MOST_SAMPLES, POLICIES
from tensorkeep_server.client_limits import LEAST_QUERY, MOST_SECONDS, read_share
from tensorkeep_server.client_watch import evict
from tensorkeep_server.file_limit import clients_possible
from tensorkeep_server.memory_look import warn_if_full
from tensorkeep_server.notifications import read_classes, show_classes
from tensorkeep_server.output_limit import read_limits
from tensorkeep_server.publishing import announce_events
from tensorkeep_server.sizes_of_memory import read_size
from tensorkeep_server.tls import AUTH_CLIENTS, AUTH_CLIENTS_USER, TlsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.client_limits import Share
    from tensorkeep_server.output_limit import OutputLimit
    from tensorkeep_server.state import Client, Server

_log = logging.getLogger(__name__)

_LEAST_BULK: Final = 1024 * 1024  # as in Redis
_ADMIN: Final = (ADMIN, NOSCRIPT, LOADING, STALE)


@dataclass(frozen=True, slots=True)
class _Setting:
    """How a setting is changed while the server runs.

    Attributes:
        read: Reads a value; raises ValueError with what is wrong.
        change: Makes the change.
        check: Raises ValueError when a value cannot be set just now.
    """

    read: Callable[[bytes], Any]
    change: Callable[[Server, Any], None]
    check: Callable[[Server, Any], None] = lambda _server, _value: None


def _integer(least: int, change: Callable[[Server, int], None], most: int = 2**63 - 1) -> _Setting:
    """Returns a setting that is an integer."""

    def read(value: bytes) -> int:
        number = parse_integer(value)
        if number is None:
            raise ValueError("argument couldn't be parsed into an integer")
        if not least <= number <= most:
            raise ValueError(f"argument must be between {least} and {most} inclusive")
        return number

    return _Setting(read, change)


def _size(least: int, change: Callable[[Server, int], None]) -> _Setting:
    """Returns a setting that is a number of bytes."""

    def read(value: bytes) -> int:
        size = read_size(text(value))
        if size < least:
            raise ValueError(f"argument must be between {least} and {2**63 - 1} inclusive")
        return size

    return _Setting(read, change)


def _set_max_clients(server: Server, value: int) -> None:
    server.max_clients = value


def _check_max_clients(server: Server, value: int) -> None:
    """Refuses what would keep everybody out, also whoever wants to set it back."""
    connected = len(server.clients)
    if value < connected:
        raise ValueError(
            f"{connected} clients are connected: with less than that, none could connect any more"
        )
    possible = clients_possible(value)
    if possible < value:
        raise ValueError(
            "The operating system is not able to handle the specified number of clients, try with"
            f" {possible}"
        )


def _set_lua_time_limit(server: Server, value: int) -> None:
    server.lua_time_limit = value


def _set_slow_threshold(server: Server, value: int) -> None:
    server.slow_log.threshold = value


def _set_slow_log_size(server: Server, value: int) -> None:
    server.slow_log.most = value


def _word(words: Collection[str], change: Callable[[Server, str], None]) -> _Setting:
    """Returns a setting that is one of some words, in any case."""

    def read(value: bytes) -> str:
        word = text(value).lower()
        if word not in words:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(words)}")
        return word

    return _Setting(read, change)


def _set_denials(server: Server, value: int) -> None:
    server.denials.most = value


def _set_protected(server: Server, value: bool) -> None:  # noqa: FBT001 - a setting's value
    server.protected = value


def _set_password(server: Server, value: bytes) -> None:
    server.users.set_password(value)
    server.password = text(value)


def _evict(server: Server, **changed: Any) -> None:  # noqa: ANN401 - attributes of `Eviction`
    server.memory.eviction = replace(server.memory.eviction, **changed)


def _set_max_memory(server: Server, value: int) -> None:
    server.memory.limit = value
    evict(server)  # clients, which may have a part of it
    warn_if_full(server)


def _set_output_limits(server: Server, value: dict[str, OutputLimit]) -> None:
    limits = server.client_limits
    server.client_limits = replace(limits, output=limits.output._replace(**value))


def _limit_clients(name: str) -> Callable[[Server, Any], None]:
    """Returns what sets one of the `ClientLimits`."""

    def change(server: Server, value: Any) -> None:  # noqa: ANN401 - what was read
        server.client_limits = replace(server.client_limits, **{name: value})

    return change


def _set_memory_of_clients(server: Server, value: Share) -> None:
    _limit_clients("memory")(server, value)
    evict(server)


def _set_most_bytes(server: Server, value: int) -> None:
    server.limits = replace(server.limits, max_bulk=value)
    for client in server.clients.values():
        client.limit_requests()


_YES_NO: Final = {"yes": True, "no": False}


def _tls_text() -> _Setting:
    """Returns a setting of TLS that is a text; all that are set at once are tried together."""
    return _Setting(text, _see_tls)


def _tls_word(words: Collection[str]) -> _Setting:
    """Returns a setting of TLS that is one of some words."""
    by_lower = {word.lower(): word for word in words}
    lower = _word(by_lower, _see_tls)
    return _Setting(lambda value: by_lower[lower.read(value)], _see_tls)


def _see_tls(_server: Server, _value: str) -> None:
    """Changes nothing, see `_prepare_tls`."""


_TLS: Final = {
    "tls-auth-clients": ("auth_clients", _tls_word(AUTH_CLIENTS)),
    "tls-auth-clients-user": ("auth_clients_user", _tls_word(AUTH_CLIENTS_USER)),
    "tls-ca-cert-dir": ("ca_cert_dir", _tls_text()),
    "tls-ca-cert-file": ("ca_cert_file", _tls_text()),
    "tls-cert-file": ("cert_file", _tls_text()),
    "tls-ciphers": ("ciphers", _tls_text()),
    "tls-ciphersuites": ("ciphersuites", _tls_text()),
    "tls-key-file": ("key_file", _tls_text()),
    "tls-key-file-pass": ("key_file_pass", _tls_text()),
    "tls-protocols": ("protocols", _tls_text()),
}

_LUA_TIME_LIMIT: Final = _integer(0, _set_lua_time_limit)
_MAX_CLIENTS: Final = replace(_integer(1, _set_max_clients, 2**32 - 1), check=_check_max_clients)


def _show_tls(attribute: str, server: Server) -> object:
    return getattr(server.tls.settings, attribute)


_Entry = tuple["Callable[[Server], object]", _Setting | None]

_TABLE: Final[dict[str, _Entry]] = {
    "aclfile": (lambda server: server.settings.user_file, None),
    "acllog-max-len": (lambda server: server.denials.most, _integer(0, _set_denials)),
    "appendonly": (lambda _: "no", None),
    "bind": (lambda server: " ".join(server.settings.bind), None),
    "busy-reply-threshold": (lambda server: server.lua_time_limit, _LUA_TIME_LIMIT),
    "client-output-buffer-limit": (
        lambda server: server.client_limits.output,
        _Setting(lambda value: read_limits(text(value)), _set_output_limits),
    ),
    "client-query-buffer-limit": (
        lambda server: server.client_limits.query,
        _size(LEAST_QUERY, _limit_clients("query")),
    ),
    "cluster-enabled": (lambda _: "no", None),
    "databases": (lambda _: DATABASES, None),
    "evict-models": (
        lambda server: "yes" if server.memory.eviction.models else "no",
        _word(_YES_NO, lambda server, word: _evict(server, models=_YES_NO[word])),
    ),
    "latency-monitor-threshold": (lambda _: 0, None),
    "lua-time-limit": (lambda server: server.lua_time_limit, _LUA_TIME_LIMIT),
    "maxclients": (lambda server: server.max_clients, _MAX_CLIENTS),
    "maxmemory": (
        lambda server: server.memory.limit,
        _Setting(lambda value: read_size(text(value)), _set_max_memory),
    ),
    "maxmemory-policy": (
        lambda server: server.memory.eviction.policy.name,
        _word(POLICIES, lambda server, name: _evict(server, policy=POLICIES[name])),
    ),
    "maxmemory-samples": (
        lambda server: server.memory.eviction.samples,
        _integer(1, lambda server, value: _evict(server, samples=value), MOST_SAMPLES),
    ),
    "maxmemory-clients": (
        lambda server: server.client_limits.memory,
        _Setting(lambda value: read_share(text(value)), _set_memory_of_clients),
    ),
    "notify-keyspace-events": (
        lambda server: show_classes(server.announced),
        _Setting(read_classes, announce_events),
    ),
    "port": (lambda server: server.port, None),
    "proto-max-bulk-len": (
        lambda server: server.limits.max_bulk,
        _size(_LEAST_BULK, _set_most_bytes),
    ),
    "protected-mode": (
        lambda server: "yes" if server.protected else "no",
        _word(_YES_NO, lambda server, word: _set_protected(server, _YES_NO[word])),
    ),
    "requirepass": (lambda server: server.password, _Setting(bytes, _set_password)),
    "save": (lambda _: "", None),
    "slowlog-log-slower-than": (
        lambda server: server.slow_log.threshold,
        _integer(-1, _set_slow_threshold),
    ),
    "slowlog-max-len": (lambda server: server.slow_log.most, _integer(0, _set_slow_log_size)),
    "tcp-keepalive": (
        lambda server: server.client_limits.keepalive,
        _integer(0, _limit_clients("keepalive"), MOST_SECONDS),
    ),
    "timeout": (
        lambda server: server.client_limits.timeout,
        _integer(0, _limit_clients("timeout"), MOST_SECONDS),
    ),
    **{
        name: (partial(_show_tls, attribute), setting)
        for name, (attribute, setting) in _TLS.items()
    },
    "tls-port": (lambda server: server.tls_port, None),
    "unixsocket": (lambda server: server.settings.unix_socket, None),
}


# --------------------------------------------------------------------------- CONFIG GET
def parse_get(args: Args) -> list[bytes]:
    """Parses CONFIG GET pattern…."""
    return [pattern.lower() for pattern in args.take_rest()]


def get(client: Client, patterns: list[bytes]) -> Reply:
    """Returns the settings whose names match one of the patterns."""
    matches = [compile_glob(pattern).fullmatch for pattern in patterns]
    return Map(
        tuple(
            (name.encode(), str(show(client.server)).encode())
            for name, (show, _) in _TABLE.items()
            if any(match(name.encode()) for match in matches)
        )
    )


# --------------------------------------------------------------------------- CONFIG SET
def parse_set(args: Args) -> list[tuple[str, bytes]]:
    """Parses CONFIG SET name value…; names that are not known are refused."""
    if len(args) % 2:
        raise CommandError(SYNTAX)
    pairs: list[tuple[str, bytes]] = []
    while len(args):
        name = text(args.take())
        if name.lower() not in _TABLE:
            raise CommandError(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )
        if name.lower() in dict(pairs):
            raise _failed(name, "duplicate parameter")
        pairs.append((name.lower(), args.take()))
    return pairs


def set_(client: Client, pairs: list[tuple[str, bytes]]) -> Reply:
    """Changes all the settings that are named, or none.

    A setting that cannot be changed may be set to what it is.
    """
    server = client.server
    changes = {name: change for name, value in pairs if (change := _change(server, name, value))}
    set_tls = _prepare_tls(server, {name: value for name, (_, value) in changes.items()})
    for setting, value in changes.values():
        setting.change(server, value)
    set_tls()
    return OK


def _prepare_tls(server: Server, values: dict[str, Any]) -> Callable[[], None]:
    """Tries the settings of TLS among some, together: a certificate fits its own key alone.

    Returns:
        What gives them to new connections.

    Raises:
        CommandError: They cannot be used.
    """
    changed = {_TLS[name][0]: value for name, value in values.items() if name in _TLS}
    tls = server.tls
    if not changed:
        return lambda: None
    settings = replace(tls.settings, **changed)
    try:
        context = tls.prepare(settings)
    except TlsError as error:
        _log.error("the settings of TLS stay as they are: %s", error)
        name = next(name for name in values if name in _TLS)
        raise _failed(name, "Unable to update TLS configuration. Check server logs.") from error
    return partial(tls.set, settings, context)


def _change(server: Server, name: str, value: bytes) -> tuple[_Setting, Any] | None:
    """Returns what is to be done, None for nothing."""
    show, setting = _TABLE[name]
    if setting is None:
        if str(show(server)).encode().lower() != value.lower():
            raise _failed(name, "can't set immutable config")
        return None
    try:
        read = setting.read(value)
        setting.check(server, read)
    except ValueError as error:
        raise _failed(name, str(error)) from error
    return setting, read


def _failed(name: str, why: str) -> CommandError:
    return CommandError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")


# --------------------------------------------------------------------------- the others
def reset_stat(client: Client, _: None) -> Reply:
    """Sets the counters that INFO shows to zero."""
    server = client.server
    server.counters.clear()
    server.memory.evicted = 0
    # Added again when the clients go.
    running = sum(other.commands_done for other in server.clients.values())
    server.counters["total_commands_processed"] = -running
    return OK


def rewrite(_client: Client, _request: None) -> Reply:
    """Refuses: what was changed lasts until the server ends."""
    raise CommandError("ERR The server is running without a config file")


COMMANDS: Final[tuple[Command, ...]] = (
    container(
        only_subcommands(
            "config", summary="Commands about settings.", group="server", since="2.0.0"
        ),
        (
            command(
                "get",
                parse_get,
                get,
                summary="Returns the settings whose names match a pattern.",
                differences=(
                    Difference(
                        "Has all of Redis' settings.",
                        "Has those that clients and tools ask for, with what is true here.",
                        "The others would say what is not so.",
                    ),
                ),
                group="server",
                arity=-3,
                flags=_ADMIN,
                syntax="parameter [parameter ...]",
                since="2.0.0",
            ),
            command(
                "resetstat",
                nothing,
                reset_stat,
                summary="Sets the counters that INFO shows to zero.",
                group="server",
                arity=2,
                flags=_ADMIN,
                since="2.0.0",
            ),
            command(
                "rewrite",
                nothing,
                rewrite,
                summary="Refuses: settings are kept in no file.",
                differences=(
                    Difference(
                        "Writes the changed settings into the file that Redis was started"
                        " with, and refuses if there was none.",
                        "Refuses always.",
                        "The file that `--config` names is its owner's.",
                    ),
                ),
                group="server",
                arity=2,
                flags=_ADMIN,
                since="2.8.0",
            ),
            command(
                "set",
                parse_set,
                set_,
                summary="Changes settings while the server runs.",
                differences=(
                    Difference(
                        "Changes most settings.",
                        "Changes those that can be: `CONFIG GET *` shows them all; a setting"
                        " may always be set to what it is.",
                        "`appendonly`, `save` and the like have nothing behind them here.",
                    ),
                    Difference(
                        "`tls-port` opens and closes the port for TLS; `tls-ciphersuites` sets the"
                        " ciphers of TLSv1.3; there are settings of sessions, of DH parameters and"
                        " of the server's own preference among ciphers.",
                        "`tls-port` is what the server was started with; `tls-ciphersuites` is"
                        " refused before Python 3.15; the others are not there.",
                        "Python's `ssl` has no such settings, and chooses well.",
                    ),
                    Difference(
                        "To `client-output-buffer-limit`, who has said MONITOR is of the class"
                        " `normal`, which has no limit at first.",
                        "It is of the class `pubsub`.",
                        "It is sent what others cause, and could fill the memory.",
                    ),
                    Difference(
                        "`maxclients` may be less than the number of connected clients.",
                        "It may not.",
                        "Nobody else could connect any more, also not to set it back.",
                    ),
                ),
                group="server",
                arity=-4,
                flags=_ADMIN,
                syntax="parameter value [parameter value ...]",
                since="2.0.0",
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
            ),
        ),
    ),
)
