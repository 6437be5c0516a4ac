"""Wiring: builds the server from its settings, runs it, and ends it cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.command import CommandTable
from tensorkeep.engine import Engine
from tensorkeep.errors import StoreError
from tensorkeep.headroom import HEADROOM
from tensorkeep.leftovers import sweep
from tensorkeep.rights.users import Users
from tensorkeep.store import Host, is_remote
from tensorkeep.stores import DIRECTORY_STORE, open_store
from tensorkeep_server.audit import AuditLog
from tensorkeep_server.client_watch import watch_clients
from tensorkeep_server.commands import commands_over
from tensorkeep_server.connection import RECEIVE_SIZE, TOO_MANY_CLIENTS, Connection
from tensorkeep_server.file_limit import clients_possible
from tensorkeep_server.garbage import collect_now_and_then
from tensorkeep_server.hangups import look_after
from tensorkeep_server.listening import Listener, close_unix, open_tcp, open_unix
from tensorkeep_server.memory_look import MemoryLook
from tensorkeep_server.protected_mode import is_elsewhere
from tensorkeep_server.relaying import RelayingConnection
from tensorkeep_server.state import Server
from tensorkeep_server.tls import Tls
from tensorkeep_server.tls_transport import TlsEntrance
from tensorkeep_server.turn import Turn
from tensorkeep_server.user_file import read_users

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable

    from tensorkeep.backend import Backend
    from tensorkeep.backends import Backends
    from tensorkeep.errors import TensorkeepError
    from tensorkeep.store import LocalStore, RemoteStore
    from tensorkeep_server.settings import Settings

_log = logging.getLogger(__name__)

_NOT_OURS: Final = (
    "ERR maxmemory cannot be set here: the values are an engine's, whose own maxmemory and"
    " maxmemory-policy hold (CONFIG SET maxmemory)"
)

_EXPIRY_INTERVAL: Final = 0.1  # seconds between two looks for keys whose time has come
_EXPIRY_LIMIT: Final = 200  # keys removed before clients get their turn
_HANGUP_INTERVAL: Final = 0.5  # seconds between two looks for clients that went away unseen
_SWEEP_LIMIT: Final = 2000  # entries of large values freed before clients get their turn
_SWEEP_FOR: Final = 0.002  # seconds of a turn in which they are


async def serve(
    settings: Settings,
    ready: Callable[[Server], None] = lambda _: None,
    backends: Backends | None = None,
    signals: Iterable[int] = (),
    renewals: Iterable[int] = (),
) -> bool:
    """Serves until a signal or SHUTDOWN ends it.

    Asked to end a second time, it waits no longer for what runs.

    Args:
        settings: What the server is told.
        ready: Called once clients can connect.
        backends: The backends; by default the installed ones.
        signals: Signals that end the server; they can only be caught on the main thread.
        renewals: Signals upon which the certificates of TLS are read anew; without TLS they change
            nothing.

    Returns:
        Whether no thread is at work any more: none is left inside a framework.

    Raises:
        OSError: An address cannot be listened on.
        BackendUnavailable: A backend that was to be loaded at the start cannot be.
        TlsError: TLS cannot be set up as it is set.
        StoreError: The store cannot be opened or reached, or a setting is not for it.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    grace = settings.shutdown_grace

    idle = asyncio.Event()

    def shut_down(wait: bool) -> None:  # noqa: FBT001 - a callback
        nonlocal grace
        grace = grace if wait else 0.0
        if ended.is_set() and not wait:
            server.engine.close(0.0, idle.set)
        ended.set()

    def end_by_signal() -> None:
        if ended.is_set():
            _log.info("told again to end: what runs is not waited for")
        shut_down(not ended.is_set())

    _catch(signals, end_by_signal)
    tls = Tls(settings.tls)
    for number in renewals:
        _catch([number], partial(_renew, tls, signal.Signals(number).name))
    sys.setswitchinterval(settings.switch_interval)
    HEADROOM.begin()
    engine = Engine(loop, replace(settings.engine, cores=_usable_cores()), backends)
    store = open_store(
        DIRECTORY_STORE if settings.directory else settings.store,
        Host(
            engine,
            settings.directory,
            {
                "fsync": settings.fsync,
                "program": settings.store_program,
                "preload": "yes" if settings.store_preload else "no",
                "password": settings.password,
                "users": settings.user_file,
            },
        ),
    )
    if is_remote(store) and settings.max_memory:
        raise StoreError(_NOT_OURS)
    commands = CommandTable(commands_over(store))
    server = Server(
        settings=settings,
        engine=engine,
        commands=commands,
        shut_down=shut_down,
        run_id=secrets.token_hex(20),
        address="",
        store=store,
        users=Users(commands),
        password=settings.password,
        protected=settings.protected,
        clients={},
        model_chunk_size=settings.model_chunk_size,
        max_clients=_max_clients(settings.max_clients),
        tls=tls,
    )
    _add_users(server)
    _open_audit_log(server)
    turn = Turn(loop, engine.dispatcher)
    async with _reached(store, ended):
        await _load(engine, settings.load, ended)
        if ended.is_set():
            _log.info("told to end before it was ready")
            return not engine.working
        listeners = await _listen(server, turn)
        tasks = (_expire, collect_now_and_then, watch_clients)
        upkeep = [asyncio.create_task(each(server)) for each in tasks]
        upkeep.append(asyncio.create_task(_notice_hangups(turn)))
        upkeep.append(asyncio.create_task(MemoryLook(server).go_on()))
        ready(server)
        await ended.wait()
        _log.info("shutting down, once what runs has ended, in %g s at most", grace)
        for listener in listeners:
            listener.close()
        engine.close(grace, idle.set)
        await idle.wait()
        for task in upkeep:
            task.cancel()
        await _until(lambda: not any(c.storing for c in server.clients.values()), limit=grace)
        await _say_goodbye(server)
    return not engine.working


def _add_users(server: Server) -> None:
    """Adds the users that the settings name; those of an engine are its own.

    Raises:
        FileError: Their file cannot be used.
    """
    settings, users = server.settings, server.users
    if settings.password and not is_remote(server.store):
        users.set_password(settings.password.encode("utf-8", "surrogateescape"))
    if settings.user_file and is_remote(server.store):
        server.engine_rights = read_users(settings.user_file, None)
    elif settings.user_file:
        users.replace(read_users(settings.user_file, server.commands))


def _open_audit_log(server: Server) -> None:
    """Opens the audit log, if the settings name one.

    Raises:
        OSError: It cannot be written.
    """
    path = server.settings.audit_log
    if path:
        server.audit = AuditLog(path, asyncio.get_running_loop().call_soon, server.may_warn)
        server.observe()


@asynccontextmanager
async def _reached(store: LocalStore | RemoteStore, ended: asyncio.Event) -> AsyncIterator[None]:
    """Reaches the engine of a remote store, unless the server is to end; lets go of it last."""
    if not is_remote(store):
        yield
        return
    starting = asyncio.ensure_future(store.start())
    ending = asyncio.ensure_future(ended.wait())
    await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
    if not starting.cancelled():
        starting.result()
    try:
        yield
    finally:
        await store.close()


async def _say_goodbye(server: Server) -> None:
    """Closes the connections, once what was answered has been sent, and the audit log."""
    for client in list(server.clients.values()):
        client.close("the server ends")
    if server.settings.unix_socket:
        close_unix(server.settings.unix_socket)
    await _until(lambda: not server.clients, limit=1.0)
    if server.audit is not None:
        server.audit.close()


def _renew(tls: Tls, signal_name: str) -> None:
    if tls.context is None:
        _log.info("%s is ignored: there is no TLS", signal_name)
    else:
        tls.read_anew()


def _catch(signals: Iterable[int], react: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, react)


def _usable_cores() -> int:
    """Returns the number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


async def _load(engine: Engine, names: Iterable[str], ended: asyncio.Event) -> None:
    """Loads backends, one after another, until the server is told to end.

    No client is served yet: an import that holds everything up does no harm.
    """
    ending = asyncio.ensure_future(ended.wait())
    for name in names if not ended.is_set() else ():
        loaded: asyncio.Future[Backend | None] = asyncio.get_running_loop().create_future()
        engine.load_backend(name, partial(_loaded, loaded), may_block=True)
        await asyncio.wait((loaded, ending), return_when=asyncio.FIRST_COMPLETED)
        if ended.is_set():
            return
        loaded.result()
    ending.cancel()


def _loaded(
    future: asyncio.Future[Backend | None], backend: Backend | None, error: TensorkeepError | None
) -> None:
    if error is None:
        future.set_result(backend)
    else:
        future.set_exception(error)


def _max_clients(wanted: int) -> int:
    """Returns how many clients can be let in, and says so if that is fewer than wanted."""
    possible = clients_possible(wanted)
    if possible < wanted:
        _log.warning(
            "max-clients is lowered from %d to %d: the limit on open files (ulimit -n) has no room"
            " for more",
            *(wanted, possible),
        )
    return possible


async def _listen(server: Server, turn: Turn) -> list[Listener]:
    """Opens the sockets and writes down where."""
    settings = server.settings
    kind = RelayingConnection if is_remote(server.store) else Connection
    receive = memoryview(bytearray(RECEIVE_SIZE))
    entrance = TlsEntrance(server.tls, server.may_warn)
    listener = partial(
        Listener,
        may_warn=server.may_warn,
        keepalive=lambda: server.client_limits.keepalive,
    )

    def connect() -> Connection:
        return kind(server, receive, turn)

    plain, secured = [], []
    if settings.port is not None:
        plain += await open_tcp(settings.bind, settings.port)
        server.port = plain[0].getsockname()[1]
    if settings.tls.port is not None:
        secured += await open_tcp(settings.bind, settings.tls.port)
        server.tls_port = secured[0].getsockname()[1]
    addresses = [
        *(_shown_address(each) for each in plain),
        *(f"{_shown_address(each)} (TLS)" for each in secured),
    ]
    if settings.unix_socket:
        plain.append(open_unix(settings.unix_socket))
        addresses.append(settings.unix_socket)
    server.address = " and ".join(addresses)
    if (plain or secured) and any(map(is_elsewhere, settings.bind)):
        _warn_of_strangers(server)
    return [
        *(listener(each, connect, TOO_MANY_CLIENTS) for each in plain),
        # Before a handshake nothing can be said.
        *(listener(each, lambda: entrance.let_in(connect())) for each in secured),
    ]


def _warn_of_strangers(server: Server) -> None:
    """Tells people that clients of other machines are turned away, or let in."""
    if is_remote(server.store) or server.users.first() is None:
        return
    if server.protected:
        _log.warning(
            "there is no password: clients of other machines are turned away (--requirepass sets"
            " one, --aclfile describes users, --no-protected-mode lets everybody in)"
        )
    else:
        _log.warning(
            "there is no password, and protected mode is off: whoever reaches %s may do everything",
            server.address,
        )


def _shown_address(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _expire(server: Server) -> None:
    """Removes keys whose time has come, and what large values left, in portions.

    Clients are served between them.
    """
    while True:
        await asyncio.sleep(_EXPIRY_INTERVAL)
        try:
            await _remove_expired(server)
            HEADROOM.look()
        except MemoryError:  # the next look may find some
            HEADROOM.relieve()


async def _remove_expired(server: Server) -> None:
    for keys in () if is_remote(server.store) else server.databases:
        while removed := keys.remove_expired(_EXPIRY_LIMIT):
            server.counters["expired_keys"] += len(removed)
            await asyncio.sleep(0)
    while sweep(_SWEEP_LIMIT, _for(_SWEEP_FOR)):  # noqa: ASYNC110 - nothing is waited for
        await asyncio.sleep(0)


def _for(seconds: float) -> Callable[[], bool]:
    """Returns what tells whether so many seconds are not over yet."""
    until = time.perf_counter() + seconds
    return lambda: time.perf_counter() <= until


async def _notice_hangups(turn: Turn) -> None:
    """Ends what clients wait for that went away while they were not read from."""
    while True:
        await asyncio.sleep(_HANGUP_INTERVAL)
        if turn.paused:
            try:
                look_after(tuple(turn.paused))
            except Exception:  # noqa: BLE001 - logged; the next look may succeed
                _log.exception("looking for clients that went away failed")


async def _until(condition: Callable[[], object], limit: float) -> None:
    """Waits for a condition, in small steps, up to `limit` seconds."""
    step = 0.01
    while not condition() and limit > 0:
        await asyncio.sleep(step)
        limit -= step
