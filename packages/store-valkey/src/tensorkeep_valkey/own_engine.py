"""An engine of our own: started, watched, started again when it dies, and ended last."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import random
import signal
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from tensorkeep.errors import StoreError
from tensorkeep_valkey.backoff import pause_after
from tensorkeep_valkey.data_directory import SETTINGS
from tensorkeep_valkey.engine_program import arguments, read_line
from tensorkeep_valkey.engine_users import EngineUsers

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from tensorkeep_valkey.data_directory import DataDirectory
    from tensorkeep_valkey.engine_program import Fsync

_log = logging.getLogger(__name__)
_engine_log = logging.getLogger("tensorkeep_valkey.engine")

_STEP: Final = 0.05  # seconds between two looks whether something has happened
_TELL_EVERY: Final = 5.0  # seconds between two lines about data that is being loaded
_EARLIER_ENGINE: Final = 30.0  # seconds that an engine whose server was killed gets to end
_END: Final = 60.0  # seconds that the engine gets to end; its last fsync may take long
_WORKED: Final = 10.0  # seconds after which an engine is held to have worked
_STARTS: Final = 10  # how often an engine that is killed as it starts is started again
_LAST_LINES: Final = 5
_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl(2)


_NO_USERS: Final = EngineUsers()


class OwnEngine:
    """The engine in a folder of data.

    Args:
        directory: The folder, which this server has for itself.
        program: Path of the engine's program.
        fsync: When what was changed is on the disk, as `appendfsync` has it.
        users: Its users.

    Attributes:
        restarts: How often it was started again.
    """

    def __init__(
        self,
        directory: DataDirectory,
        program: str,
        fsync: Fsync,
        users: EngineUsers = _NO_USERS,
    ) -> None:
        self._directory = directory
        self._users = users
        self._command = arguments(program, fsync, SETTINGS if users.credentials else "")
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.restarts = 0

    async def start(self) -> None:
        """Starts the engine and waits until it has loaded its data.

        One that is killed meanwhile is started again, after a pause that grows.

        Raises:
            StoreError: It ended at once by itself, or was killed too often, or an earlier one does
                not end.
        """
        failures = 0
        while True:
            await self._await_earlier()
            process = await self._spawn()
            try:
                await self._until_ready(process)
                break
            except BaseException as error:
                await self._end()
                killed = (process.returncode or 0) < 0
                if not killed or not isinstance(error, StoreError) or failures == _STARTS:
                    raise
            failures += 1
            await self._pause(process.returncode or 0, failures)
        self._watching = asyncio.create_task(self._watch(process))

    async def close(self) -> None:
        """Ends the engine, once it has written what it was told."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await self._end()

    # ------------------------------------------------------------------ one process
    async def _await_earlier(self) -> None:
        """Waits for an engine whose server was killed: the system has told it to end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _EARLIER_ENGINE
        told = False
        while (descriptor := self._directory.engine_lock()) is None:
            number = self._directory.earlier_engine()
            if not told:
                told = True
                _log.warning("an earlier engine (process %s) is at work: it has to end", number)
            if loop.time() >= until:
                raise StoreError(
                    f"ERR an earlier engine (process {number}) is still at work in"
                    f" {self._directory.path}: end it"
                )
            await asyncio.sleep(_STEP)
        os.close(descriptor)

    async def _spawn(self) -> Process:
        descriptor = self._directory.engine_lock()
        if descriptor is None:
            raise StoreError("ERR another engine was started in the same directory")
        try:
            if self._users.credentials is not None:
                self._directory.write_settings(self._users.lines())
            process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._directory.path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(descriptor,),
                start_new_session=True,  # Ctrl-C is for the server, which ends its engine last
                preexec_fn=_begin_engine,  # uvloop has no `umask`
            )
        except OSError as error:
            raise StoreError(f"ERR {self._command[0]} cannot be started: {error}") from error
        finally:
            os.close(descriptor)
        self._process = process
        self._directory.note_engine(process.pid)
        self._reading = asyncio.create_task(self._read(process))
        _log.info("the engine is process %d, its data is in %s", process.pid, self._directory.path)
        return process

    async def _read(self, process: Process) -> None:
        """Writes what the engine says to our log."""
        assert process.stdout is not None  # noqa: S101 - a pipe, as it was asked for
        async for line in process.stdout:
            level, text = read_line(line.decode(errors="replace").rstrip())
            if text:
                self._lines.append(text)
                _engine_log.log(logging.getLevelName(level.upper()), "%s", text)

    async def _until_ready(self, process: Process) -> None:
        """Waits until the engine has loaded its data, and tells the log how far it is."""
        loop = asyncio.get_running_loop()
        tell_at = loop.time() + _TELL_EVERY
        who = self._users.credentials
        client = Redis(
            unix_socket_path=self._directory.socket,
            username=None if who is None else (who.user or b"").decode(),
            password=None if who is None else who.password.decode(),
            protocol=2,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            while process.returncode is None:
                with suppress(BusyLoadingError, RedisError, OSError):
                    if await client.ping():
                        return
                if loop.time() >= tell_at:
                    tell_at = loop.time() + _TELL_EVERY
                    with suppress(RedisError, OSError):
                        told = await client.info("persistence")
                        _log.info("%s %% of the data is loaded", told.get("loading_loaded_perc"))
                await asyncio.sleep(_STEP)
        finally:
            await client.aclose()
        if self._reading is not None:
            await self._reading  # its last words say why
        raise StoreError(
            f"ERR the engine in {self._directory.path} ended at once"
            f" (exit status {process.returncode}): {' / '.join(self._lines)}"
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _END)
            except TimeoutError:
                _log.error("the engine does not end within %g s: it is killed", _END)
                process.kill()
                await process.wait()
        if self._reading is not None:
            await self._reading

    # ------------------------------------------------------------------ watching
    @staticmethod
    async def _pause(status: int, failures: int) -> None:
        pause = pause_after(failures, random.random())  # noqa: S311 - no secret
        _log.error(
            "the engine has ended (%s): it is started again in %.2f s", _ended_by(status), pause
        )
        await asyncio.sleep(pause)

    async def _watch(self, process: Process) -> None:
        """Starts the engine again whenever it dies, after a pause that grows."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            status = await process.wait()
            failures = 1 if loop.time() - began >= _WORKED else failures + 1
            await self._pause(status, failures)
            try:
                await self._await_earlier()  # its children may be at work
                process = await self._spawn()
            except StoreError as error:
                _log.error("the engine was not started: %s", error)
                continue
            self.restarts += 1


def _ended_by(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def _begin_engine() -> None:  # pragma: no cover - runs in the engine's process
    """Lets nobody else read the data, and has the system end the engine when the server dies."""
    os.umask(0o077)
    if _LIBC is not None:
        _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
