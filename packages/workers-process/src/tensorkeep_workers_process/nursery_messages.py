"""What the server and a nursery say to each other."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from tensorkeep_workers_process.messages import Failure, Message


class Settings(msgspec.Struct, frozen=True):
    """What a nursery is told when it is started.

    Attributes:
        backend: Name of the backend.
        plugin: Where its plugin is, `module:attribute`; empty for the entry point of that name.
        path: Where modules are looked for.
        memory: Bytes that a worker may take; 0 for any number.
        sandbox: `WorkerOptions.sandbox`.
        log_level: Level below which log records are of no use.
        late: Whether workers import the plugin, for that starts threads.
    """

    backend: str
    plugin: str
    path: list[str]
    memory: int
    sandbox: bool
    log_level: int
    late: bool = False


class Fork(Message):
    """Asks for a worker; with its channel, its way of being cancelled and its standard error."""

    number: int


class Kill(Message):
    """Asks for a worker's end."""

    number: int


ToNursery: TypeAlias = Fork | Kill


class Imported(Message):
    """The plugin was imported: workers may be asked for."""


class ForkFailed(Message):
    """There is no worker."""

    number: int
    text: bytes


class Ended(Message):
    """A worker ended; with the status that `os.waitpid` gave."""

    number: int
    status: int


FromNursery: TypeAlias = Imported | Failure | ForkFailed | Ended

_to_nursery: Final = msgspec.msgpack.Decoder(ToNursery)
_from_nursery: Final = msgspec.msgpack.Decoder(FromNursery)


def decode_to_nursery(packet: memoryview) -> ToNursery:
    """Returns a message to a nursery."""
    message: ToNursery = _to_nursery.decode(packet)
    return message


def decode_from_nursery(packet: memoryview) -> FromNursery:
    """Returns a message from a nursery."""
    message: FromNursery = _from_nursery.decode(packet)
    return message
