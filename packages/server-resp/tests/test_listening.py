"""Listening: many connections in one turn, and going on when no more can be taken for a while."""

import asyncio
import errno
import logging
import os
import socket
import sys

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
    """Cannot take a connection at first."""

    def accept(self):
        if self.failures:
            number = self.failures.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


def exhausted(*numbers):
    made = Exhausted()
    made.failures = list(numbers)
    made.bind(("127.0.0.1", 0))
    made.listen()
    made.settimeout(0)
    return made


async def test_when_there_is_no_memory_for_a_connection_it_waits(monkeypatch, caplog):
    monkeypatch.setattr(listening, "_PAUSE", 0.01)
    made = exhausted(errno.ENOBUFS)
    listener = Listener(made, Greeting)
    with caplog.at_level(logging.WARNING):
        assert await asyncio.to_thread(ask, made.getsockname()) == b"hello"
    listener.close()
    assert "No buffer space available" in caplog.text


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_when_no_more_files_can_be_opened_a_connection_is_told_so(number, caplog):
    made = exhausted(number)
    listener = Listener(made, Greeting, refusal=b"too many")
    with caplog.at_level(logging.WARNING):
        assert await asyncio.to_thread(ask, made.getsockname()) == b"too m"
        assert await asyncio.to_thread(ask, made.getsockname()) == b"hello"
    listener.close()
    assert "cannot take a connection" in caplog.text


async def test_without_a_file_to_give_up_connections_wait(monkeypatch):
    monkeypatch.setattr(listening, "_PAUSE", 0.01)
    monkeypatch.setattr(listening, "_spare_file", lambda: None)
    made = exhausted(errno.EMFILE)
    listener = Listener(made, Greeting, refusal=b"too many")
    assert await asyncio.to_thread(ask, made.getsockname()) == b"hello"
    listener.close()


@pytest.mark.parametrize("seconds", [0, 1, 60, 2**31 - 1])
async def test_peers_that_vanish_without_a_word_are_looked_for(seconds):
    taken = []

    class Kept(asyncio.Protocol):
        def connection_made(self, transport):
            sock = transport.get_extra_info("socket")
            taken.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            if seconds and sys.platform == "linux":
                taken.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
            transport.close()

    (made,) = await open_tcp(["127.0.0.1"], 0)
    listener = Listener(made, Kept, keepalive=lambda: seconds)
    assert await asyncio.to_thread(ask, made.getsockname()) == b""
    listener.close()
    idle = [min(seconds, 32767)] if seconds and sys.platform == "linux" else []
    assert taken == [bool(seconds), *idle]


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
