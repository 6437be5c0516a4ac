"""Listening: many connections in one turn, and going on when no more can be taken for a while."""

import asyncio
import errno
import logging
import socket

import pytest

from tensorkeep_server import listening
from tensorkeep_server.listening import Listener, close_unix, open_tcp, open_unix


class Greeting(asyncio.Protocol):
    """Says hello, and goes."""

    def connection_made(self, transport):
        transport.write(b"hello")
        transport.close()


def ask(address, family=socket.AF_INET):
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(address)
        return client.recv(5)


async def test_connections_that_wait_are_all_taken():
    (made,) = await open_tcp(["127.0.0.1"], 0)
    address = made.getsockname()
    waiting = [socket.create_connection(address) for _ in range(200)]
    listener = Listener(made, Greeting)
    try:
        for client in waiting:
            assert await asyncio.to_thread(client.recv, 5) == b"hello"
    finally:
        listener.close()
        for client in waiting:
            client.close()


async def test_a_name_with_several_addresses_gets_one_port(monkeypatch):
    async def both(*_, **__):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0)),
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    first, second = await open_tcp(["somewhere"], 0)
    with first, second:
        assert first.getsockname()[1] == second.getsockname()[1]


class Exhausted(socket.socket):
    """Cannot open a file at first."""

    tried = False

    def accept(self):
        if not self.tried:
            self.tried = True
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_when_no_more_files_can_be_opened_connections_wait(monkeypatch, caplog):
    monkeypatch.setattr(listening, "_PAUSE", 0.01)
    made = Exhausted()
    made.bind(("127.0.0.1", 0))
    made.listen()
    made.settimeout(0)
    listener = Listener(made, Greeting)
    with caplog.at_level(logging.WARNING):
        assert await asyncio.to_thread(ask, made.getsockname()) == b"hello"
    listener.close()
    assert "Too many open files" in caplog.text


async def test_a_connection_that_breaks_as_it_comes_harms_nobody(caplog):
    class Broken(asyncio.Protocol):
        def __init__(self):
            raise RuntimeError("no protocol today")

    (made,) = await open_tcp(["127.0.0.1"], 0)
    listener = Listener(made, Broken)
    with caplog.at_level(logging.WARNING):
        assert await asyncio.to_thread(ask, made.getsockname()) == b""  # it was closed
    listener.close()
    assert "no protocol today" in caplog.text


async def test_a_unix_socket_of_a_killed_server_is_replaced_and_a_live_one_is_not(tmp_path):
    path = str(tmp_path / "keep.sock")
    open_unix(path).close()  # as if it had been killed
    made = open_unix(path)
    listener = Listener(made, Greeting)
    assert await asyncio.to_thread(ask, path, socket.AF_UNIX) == b"hello"
    with pytest.raises(OSError, match=r"cannot listen on .*keep\.sock"):
        open_unix(path)
    listener.close()
    close_unix(path)
    close_unix(path)


async def test_an_address_in_use_is_named():
    (made,) = await open_tcp(["127.0.0.1"], 0)
    with made, pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already"):
        await open_tcp(["127.0.0.1"], made.getsockname()[1])
