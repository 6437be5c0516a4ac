"""For tests: a real server on a thread of this process, and a raw client to talk to it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, Self

import uvloop

from tensorkeep_server.app import serve
from tensorkeep_server.settings import Settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from tensorkeep.backends import Backends
    from tensorkeep_server.state import Server

_PATIENCE: Final = 30.0  # seconds before a test that waits has failed


@contextmanager
def running_server(
    settings: Settings | None = None, backends: Backends | None = None
) -> Iterator[Server]:
    """Runs a server on a free port until the block ends.

    Args:
        settings: What the server is told; the port is replaced by a free one.
        backends: The backends; by default the installed ones.

    Yields:
        The server's state; `port_of` gives its port. Only to be looked at: the server's own
        thread owns it.
    """
    settings = replace(settings or Settings(), port=0)
    up = Event()
    state: list[Server] = []
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    def ready(server: Server) -> None:
        state.append(server)
        loops.append(asyncio.get_running_loop())
        up.set()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve(settings, ready, backends))
        except BaseException as error:  # noqa: BLE001 - raised again on the test's thread
            failures.append(error)
        finally:
            up.set()

    thread = Thread(target=run, name="tensorkeep-server", daemon=True)
    thread.start()
    up.wait(_PATIENCE)
    if not state:
        raise failures[0] if failures else TimeoutError("the server did not start")
    server = state[0]
    try:
        yield server
    finally:
        with suppress(RuntimeError):  # it may have ended
            loops[0].call_soon_threadsafe(server.shut_down, True)  # noqa: FBT003 - by position only
        thread.join(_PATIENCE)
        if failures:
            raise failures[0]
        if thread.is_alive():
            raise TimeoutError("the server did not end")


def port_of(server: Server) -> int:
    """Returns the TCP port that a server listens on."""
    return int(server.address.partition(" ")[0].rpartition(":")[2])


class Wire:
    """A client that shows bytes: what is sent and what comes back, as it is.

    Args:
        address: TCP port on this machine, or path of a Unix socket.
        tls: Whom to trust, and what certificate to show, to speak TLS; None not to.
    """

    def __init__(self, address: int | str, tls: ssl.SSLContext | None = None) -> None:
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), timeout=_PATIENCE)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(_PATIENCE)
            self.socket.connect(address)
        if tls is not None:
            # A request is many records, which the system would hold back one by one.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._file.close()
        self.socket.close()

    def send(self, *arguments: str | bytes | float) -> None:
        """Sends a command without waiting for its reply."""
        self.socket.sendall(request(*arguments))

    def ask(self, *arguments: str | bytes | float) -> bytes:
        """Sends a command and returns its reply's bytes."""
        self.send(*arguments)
        return self.reply()

    def reply(self) -> bytes:
        """Returns the bytes of the next reply.

        Raises:
            EOFError: The server closed the connection.
        """
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(line)
        mark, rest = line[:1], line[1:-2]
        if mark in b"$=" and int(rest) >= 0:
            return line + self._file.read(int(rest) + 2)
        if mark in b"*~>" and int(rest) > 0:
            return line + b"".join(self.reply() for _ in range(int(rest)))
        if mark == b"%":
            return line + b"".join(self.reply() for _ in range(2 * int(rest)))
        return line

    def read(self, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - any reply
        """Sends a command and returns its reply as a value; an error as a `WireError`."""
        return read_value(self.ask(*arguments))


class WireError(str):
    """An error line as a value, without its mark."""

    __slots__ = ()


def request(*arguments: str | bytes | float) -> bytes:
    """Returns the bytes of a request."""
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


def read_value(reply: bytes) -> Any:  # noqa: ANN401 - any reply
    """Returns a reply as a value: bytes, str (status), int, float, bool, None, list or dict."""
    value, rest = _read(reply)
    if rest:
        raise ValueError(f"more than one reply: {rest!r}")
    return value


_SCALARS: Final[dict[bytes, Callable[[str], Any]]] = {
    b"+": str,
    b"-": WireError,
    b":": int,
    b"(": int,
    b",": float,
    b"#": lambda text: text == "t",
    b"_": lambda _: None,
}


def _read(data: bytes) -> tuple[Any, bytes]:
    line, _, rest = data.partition(b"\r\n")
    mark, text = line[:1], line[1:].decode("utf-8", "surrogateescape")
    if mark in _SCALARS:
        return _SCALARS[mark](text), rest
    size = int(text)
    if size < 0:
        return None, rest
    if mark in {b"$", b"="}:
        return rest[:size], rest[size + 2 :]
    if mark not in {b"*", b"~", b">", b"%"}:
        raise ValueError(f"not a reply: {data!r}")
    items = []
    for _ in range(2 * size if mark == b"%" else size):
        item, rest = _read(rest)
        items.append(item)
    if mark == b"%":
        return dict(zip(items[::2], items[1::2], strict=True)), rest
    return items, rest
