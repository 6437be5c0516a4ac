"""AI.CONFIG: the few settings of RedisAI that can be changed while it runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import Args, parse_integer, text
from tensorkeep.commands.command import MODULE, WRITE, Command, Difference, command
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Error
from tensorkeep_server.commands.ai.models import encoded, read_backend
from tensorkeep_server.later import Later
from tensorkeep_server.settings import LEAST_CHUNK_SIZE
from tensorkeep_server.state import BACKENDS_PATH

if TYPE_CHECKING:
    from tensorkeep.commands.reply import Reply
    from tensorkeep.errors import TensorkeepError
    from tensorkeep_server.state import Client

_log = logging.getLogger(__name__)

_CANNOT_LOAD: Final = "ERR error loading backend"
_INVALID_CHUNK_SIZE: Final = "ERR MODEL_CHUNK_SIZE: invalid chunk size"


class LoadBackend(NamedTuple):
    """AI.CONFIG LOADBACKEND name path; backends are installed, so the path means nothing.

    The name is judged by the handler, which knows the installed backends.
    """

    rest: Args


class SetBackendsPath(NamedTuple):
    """AI.CONFIG BACKENDSPATH path."""

    path: str


class SetChunkSize(NamedTuple):
    """AI.CONFIG MODEL_CHUNK_SIZE size."""

    size: int


class GetSetting(NamedTuple):
    """AI.CONFIG GET name."""

    name: bytes


def parse_config(args: Args) -> LoadBackend | SetBackendsPath | SetChunkSize | GetSetting:
    """Parses AI.CONFIG; arguments beyond those that it needs mean nothing."""
    match args.take_keyword():
        case b"LOADBACKEND":
            if len(args) < 2:  # noqa: PLR2004 - name and path
                raise args.wrong_arity()
            return LoadBackend(args)
        case b"BACKENDSPATH":
            if not len(args):
                raise CommandError("ERR BACKENDSPATH: missing path argument")
            return SetBackendsPath(text(args.take()))
        case b"MODEL_CHUNK_SIZE":
            if not len(args):
                raise CommandError("ERR MODEL_CHUNK_SIZE: missing chunk size")
            size = parse_integer(args.take())
            if size is None or size <= 0:
                raise CommandError(_INVALID_CHUNK_SIZE)
            if size < LEAST_CHUNK_SIZE:
                raise CommandError(f"{_INVALID_CHUNK_SIZE}, it must be at least {LEAST_CHUNK_SIZE}")
            return SetChunkSize(size)
        case b"GET":
            return GetSetting(args.take_keyword())
        case _:
            raise CommandError("ERR unsupported subcommand")


def config(
    client: Client, request: LoadBackend | SetBackendsPath | SetChunkSize | GetSetting
) -> Reply | Later:
    """Loads a backend, or changes or returns a setting."""
    server = client.server
    match request:
        case LoadBackend(rest):
            return _load(client, rest)
        case SetBackendsPath(path):
            server.backends_path = path or BACKENDS_PATH
        case SetChunkSize(size):
            server.model_chunk_size = size
        case GetSetting(b"BACKENDSPATH"):
            return encoded(server.backends_path)
        case GetSetting(b"MODEL_CHUNK_SIZE"):
            return server.model_chunk_size
        case _:  # any other setting
            return None
    return OK


def prepare_config(
    client: Client, request: LoadBackend | SetBackendsPath | SetChunkSize | GetSetting
) -> Later | None:
    """Begins to load a backend, if that is what is asked for."""
    return _load(client, request.rest) if isinstance(request, LoadBackend) else None


def _load(client: Client, rest: Args) -> Later:
    engine = client.server.engine
    name = read_backend(rest, engine.backends.names())
    if engine.places.is_loaded(name):
        raise CommandError(_CANNOT_LOAD)
    later = Later()

    def loaded(_: object, error: TensorkeepError | None) -> None:
        if error is not None:
            _log.warning("%s", error)
        later.resolve(lambda: OK if error is None else Error(_CANNOT_LOAD))

    engine.load_backend(name, loaded)
    return later


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.config",
        parse_config,
        config,
        summary="Loads a backend, or changes or returns a setting.",
        group="module",
        flags=(WRITE, MODULE),
        categories=("admin", "dangerous"),
        syntax=(
            "LOADBACKEND name path | BACKENDSPATH path | MODEL_CHUNK_SIZE bytes"
            " | GET BACKENDSPATH | GET MODEL_CHUNK_SIZE"
        ),
        prepare=prepare_config,
        differences=(
            Difference(
                "LOADBACKEND loads the library at the path.",
                "Loads the installed backend of that name, of any backend; the path means nothing.",
                "Backends are plugins, found by name. No client can have code loaded from a path.",
            ),
            Difference(
                "BACKENDSPATH sets where libraries are looked for.",
                "Is kept and shown, and means nothing. An empty one sets it back.",
                "As above.",
            ),
            Difference(
                "MODEL_CHUNK_SIZE is any number from 1 on.",
                f"From {LEAST_CHUNK_SIZE} on.",
                "In pieces of one byte, a model takes hundreds of times its size in memory, and"
                " millions of replies.",
            ),
        ),
    ),
)
