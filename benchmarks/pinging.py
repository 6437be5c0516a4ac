"""How long a client that only says PING waits, while others ask a server for whatever they like.

The client is a process of its own: beside a load in the same process, it would wait for that one.
"""

from __future__ import annotations

import multiprocessing
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep_server.testing import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection

PAUSE: Final = 0.002  # seconds from a reply to the next PING
_PATIENCE: Final = 120.0  # seconds that one PING may take before all is given up


class Wait(NamedTuple):
    """One PING.

    Attributes:
        sent: When it was sent, by `time.monotonic`.
        seconds: How long its reply took.
    """

    sent: float
    seconds: float


class Pinging:
    """Processes that say PING to servers, one for each, until the block ends.

    Args:
        ports: The servers' ports by their names.
    """

    def __init__(self, ports: Mapping[str, int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: dict[str, Connection] = {}
        self._processes = []
        for name, port in ports.items():
            ours, theirs = context.Pipe()
            process = context.Process(target=_ping, args=(port, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes[name] = ours
            self._processes.append(process)
        for pipe in self._pipes.values():
            pipe.recv()  # it has begun

    def take(self) -> dict[str, list[Wait]]:
        """Returns the waits since it was last asked, by the server's name."""
        for pipe in self._pipes.values():
            pipe.send("take")
        return {name: pipe.recv() for name, pipe in self._pipes.items()}

    def end(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.terminate()
            process.join()


@contextmanager
def pinging(ports: Mapping[str, int]) -> Iterator[Pinging]:
    """Says PING to servers for the length of a `with` block."""
    made = Pinging(ports)
    try:
        yield made
    finally:
        made.end()


def _ping(port: int, pipe: Connection) -> None:
    waits: list[Wait] = []
    with Wire(port) as wire:
        wire.socket.settimeout(_PATIENCE)
        wire.ask("PING")
        pipe.send("begun")
        while True:
            began = time.monotonic()
            wire.ask("PING")
            waits.append(Wait(began, time.monotonic() - began))
            if pipe.poll(PAUSE):
                pipe.recv()
                pipe.send(waits)
                waits = []
