"""How contenders are asked: what each needs beforehand, and what drives it.

Which are compared stands in plan.py, sharing.py and frameworks.py. Nothing starts before `prepare`
is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from figures import ONNX_RUNTIME
from load import by_benchmark, by_calling, by_rounds, by_socket, directly, session_of, twice
from models import heavy, models
from servers import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from figures import Load
    from load import Repetition
    from models import Model
    from servers import Servers

    from tensorkeep_server.testing import Wire

    Command = Sequence[str | bytes | int]

TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Asked:
    """A server that is asked over the wire.

    Attributes:
        who: Its name in the tables.
        ready: Stores what is needed, and returns the command that is measured.
        by_socket: Whether one socket asks, instead of redis-benchmark.
        server: The server, where `who` is the name of something else.
    """

    who: str
    ready: Callable[[Wire], Command]
    by_socket: bool = False
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A server that is sent some commands at once; what is measured is all of them.

    Attributes:
        who: Its name in the tables.
        ready: Stores what is needed, and returns the commands.
        server: The server.
    """

    who: str
    ready: Callable[[Wire], Sequence[Command]]
    server: str


@dataclass(frozen=True, slots=True)
class Called:
    """ONNX Runtime in the process that measures, called with some rows at once."""

    model: str
    who: str = ONNX_RUNTIME
    rows: int = 1


@dataclass(frozen=True, slots=True)
class CalledTwice:
    """The heavy model, called twice in the process that measures, on all cores.

    Attributes:
        who: Its name in the tables.
        threads: 1 for one call after the other, 2 for both at the same time.
    """

    who: str
    threads: int


@dataclass(frozen=True, slots=True)
class Direct:
    """Anything that is called in the process that measures.

    Attributes:
        who: Its name in the tables.
        ready: Makes it ready, and returns what is called.
    """

    who: str
    ready: Callable[[], Callable[[], object]]


Contender: TypeAlias = Asked | Round | Called | CalledTwice | Direct


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders that are measured in turn, under one load."""

    family: str
    name: str
    load: Load
    contenders: tuple[Contender, ...]

    @property
    def title(self) -> str:
        """What `--only` is compared with."""
        return f"{self.name}, {self.load.text}"


def prepare(contender: Contender, load: Load, servers: Servers, seconds: float) -> Repetition:
    """Make a contender ready; what is returned measures it for about so many seconds.

    Raises:
        BenchError: It does not answer as it should.
    """
    if isinstance(contender, Called):
        return directly(models()[contender.model], contender.rows, seconds)
    if isinstance(contender, CalledTwice):
        return twice(heavy(), contender.threads, servers.cores.all, seconds)
    if isinstance(contender, Direct):
        return by_calling(contender.ready(), seconds)
    server = servers[contender.server or contender.who]
    try:
        if isinstance(contender, Round):
            with server.connect() as wire:
                commands = contender.ready(wire)
            return by_rounds(server, commands, load.clients, seconds)
        with server.connect() as wire:
            command = contender.ready(wire)
        if contender.by_socket:
            return by_socket(server, command, seconds)
        return by_benchmark(server, command, load, seconds)
    except BenchError as error:
        raise BenchError(f"{contender.who}: {error}") from error


def execute(name: str) -> Command:
    """Return the command that runs a stored model."""
    return ("AI.MODELEXECUTE", name, "INPUTS", 1, f"{name}:x", "OUTPUTS", 1, f"{name}:y")


def store(wire: Wire, model: Model, key: str = "", *options: str | int) -> None:
    """Store a model and its input, run it, and compare the answer with ONNX Runtime's own.

    Args:
        wire: Where to.
        model: The model.
        key: Its key; the model's name if empty.
        options: Words of AI.MODELSTORE between device and blob.

    Raises:
        BenchError: The answer is another one.
    """
    key = key or model.name
    x = ("AI.TENSORSET", f"{key}:x", "FLOAT", *model.x.shape, "BLOB", model.x.tobytes())
    send(wire, ("AI.MODELSTORE", key, "ONNX", "CPU", *options, "BLOB", model.blob))
    send(wire, x)
    send(wire, execute(key))
    reply = wire.read("AI.TENSORGET", f"{key}:y", "BLOB")
    expected = session_of(model).run(["y"], {"x": model.x})[0].ravel()
    if not np.allclose(np.frombuffer(reply, np.float32), expected, atol=TOLERANCE):
        raise BenchError(f"{key} answers something else than ONNX Runtime")


def send(wire: Wire, command: Command) -> None:
    """Send a command whose answer must be OK.

    Raises:
        BenchError: It was another one, or there was none.
    """
    try:
        reply = wire.ask(*command)
    except (OSError, EOFError) as error:
        raise BenchError(f"{command[0]!r} is not answered: {error!r}") from error
    if reply != b"+OK\r\n":
        raise BenchError(f"{command[0]!r} is answered {reply[:300].decode(errors='replace')!r}")
