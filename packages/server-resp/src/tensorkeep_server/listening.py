"""Listening sockets: opened at an address, and emptied of waiting connections many at a time.

The event loop's own servers take one connection per turn. When many clients come at once, each
would wait for as many turns as stand before it, and turns of a busy server are long: the last of 50
waited 650 ms, here 70.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_log = logging.getLogger(__name__)

_QUEUE: Final = 1024  # connections that may wait to be taken
_AT_ONCE: Final = 16  # connections taken in one turn, before clients get theirs: about 1 ms
_PAUSE: Final = 0.5  # seconds to wait when the process can open no more files
_MOST_KEEPALIVE: Final = 32767  # seconds; Linux takes no more
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE})


async def open_tcp(bind: Sequence[str], port: int) -> list[socket.socket]:
    """Opens a socket for each address that some names stand for.

    Args:
        bind: Names or addresses.
        port: The port; 0 takes a free one, the same for every address.

    Raises:
        OSError: An address cannot be listened on; the error names it.
    """
    loop = asyncio.get_running_loop()
    opened: dict[tuple[int, str], socket.socket] = {}
    try:
        for name in bind:
            with _naming(f"{name}:{port}"):
                found = await loop.getaddrinfo(
                    name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )
                for family, address in [(info[0], str(info[4][0])) for info in found]:
                    if (family, address) not in opened:
                        made = socket.create_server(
                            (address, port), family=family, backlog=_QUEUE, reuse_port=False
                        )
                        port = made.getsockname()[1]
                        made.settimeout(0)
                        opened[family, address] = made
    except OSError:
        for each in opened.values():
            each.close()
        raise
    return list(opened.values())


def open_unix(path: str) -> socket.socket:
    """Opens a Unix socket, in the place of one that a killed server left behind.

    Raises:
        OSError: Another server listens there, or the path is something else.
    """
    with _naming(path):
        _remove_if_stale(path)
        made = socket.socket(socket.AF_UNIX)
        made.bind(path)
        made.listen(_QUEUE)
        made.settimeout(0)
        return made


def close_unix(path: str) -> None:
    """Removes what is left of a Unix socket."""
    Path(path).unlink(missing_ok=True)


class Listener:
    """Takes connections from a listening socket until it is closed.

    When the process can open no more files, a connection that comes is told so, instead of
    waiting for nobody knows what: one file is kept open to be given up for it.

    Args:
        listening: The socket.
        connect: Makes the protocol of a connection.
        refusal: What a connection is told for which there is no file.
        may_warn: Whether a warning is to be logged that may come very often.
        keepalive: Returns after how many seconds of silence peers are asked whether they are still
            there, 0 for never.
    """

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[], asyncio.BufferedProtocol],
        refusal: bytes = b"",
        may_warn: Callable[[str], bool] = lambda _: True,
        keepalive: Callable[[], int] = lambda: 0,
    ) -> None:
        self._keepalive = keepalive
        self._refusal = refusal
        self._may_warn = may_warn
        self._spare = _spare_file()
        self._loop = asyncio.get_running_loop()
        self._socket = listening
        self._connect = connect
        self._arriving: set[asyncio.Task[object]] = set()
        self._closed = False
        self._listen()

    def close(self) -> None:
        """Takes no more connections."""
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, self._take)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                taken, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no more files or memory
                if self._may_warn("accept"):
                    _log.warning("cannot take a connection: %s", error)
                if error.errno in _FULL and self._refuse():
                    continue
                self._loop.remove_reader(self._socket)  # they wait
                self._loop.call_later(_PAUSE, self._listen)
                return
            try:
                _set_options(taken, self._keepalive())
            except OSError:  # it is gone already
                taken.close()
                continue
            arrival = self._loop.create_task(
                self._loop.connect_accepted_socket(self._connect, taken)
            )
            self._arriving.add(arrival)
            arrival.add_done_callback(partial(self._arrived, taken))

    def _refuse(self) -> bool:
        """Turns one connection away with the file that is kept; returns whether that was done."""
        if self._spare is None:
            self._spare = _spare_file()
            return False
        os.close(self._spare)
        self._spare = None
        try:
            taken, _address = self._socket.accept()
            with taken:
                taken.settimeout(0)
                taken.send(self._refusal)
        except OSError:  # it went away, or somebody else has taken the file
            return False
        finally:
            self._spare = _spare_file()
        return True

    def _arrived(self, taken: socket.socket, arrival: asyncio.Task[object]) -> None:
        self._arriving.discard(arrival)
        if not arrival.cancelled() and (error := arrival.exception()) is not None:
            _log.warning("a connection was lost as it came: %s", error)
            taken.close()


def _set_options(taken: socket.socket, keepalive: int) -> None:
    """Prepares a connection: nothing blocks or is held back, and a vanished peer is noticed.

    Args:
        taken: The connection.
        keepalive: Seconds of silence after which the peer is asked, three times, whether it is
            still there, as in Redis; 0 for never.
    """
    taken.settimeout(0)
    if taken.family == socket.AF_UNIX:
        return
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not keepalive:
        return
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", min(keepalive, _MOST_KEEPALIVE)),
        ("TCP_KEEPINTVL", min(max(keepalive // 3, 1), _MOST_KEEPALIVE)),
        ("TCP_KEEPCNT", 3),
    ):
        option = getattr(socket, name, None)  # not on every system
        if option is not None:
            taken.setsockopt(socket.IPPROTO_TCP, option, value)


def _spare_file() -> int | None:
    """Opens a file that means nothing; None when there is none to be had."""
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


@contextmanager
def _naming(address: str) -> Iterator[None]:
    """Lets an error say at which address it happened."""
    try:
        yield
    except OSError as error:
        known = error.errno in errno.errorcode
        reason = os.strerror(error.errno or 0) if known else error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}") from error


def _remove_if_stale(path: str) -> None:
    if not os.path.lexists(path):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        # A file that is no socket cannot be connected to either, but for another reason.
        if probe.connect_ex(path) != errno.ECONNREFUSED or not Path(path).is_socket():
            raise OSError(errno.EADDRINUSE, "in use")
    close_unix(path)
