"""AI.MODELSET and AI.MODELRUN: older spellings, read into the requests of their successors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.batching import Batching
from tensorkeep.commands.args import Args, keyword, text
from tensorkeep.commands.command import DENYOOM, MODULE, MOVABLE, WRITE, Command, command
from tensorkeep.commands.errors import CommandError
from tensorkeep.device import Device
from tensorkeep.errors import InvalidDevice
from tensorkeep.model import ModelSpec
from tensorkeep_server.commands.ai import access, wanted
from tensorkeep_server.commands.ai.building import refuse_device
from tensorkeep_server.commands.ai.execute import (
    OF_RUNS,
    OF_SINGLE_RUNS,
    ModelExecute,
    parse_run,
    read_timeout,
    run_model,
    wrong_count,
)
from tensorkeep_server.commands.ai.models import (
    INVALID_DEVICE,
    NEEDS_NAMES,
    NO_BLOB,
    OF_STORING,
    NewModel,
    OfModel,
    brings_names,
    build_model,
    read_backend,
    read_option,
    read_pieces,
    stored_model,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep.model import Model
    from tensorkeep_server.later import Later
    from tensorkeep_server.state import Client

_LONGEST_DEVICE: Final = 10
_NO_DEVICES: Final = frozenset(
    {b"INPUTS", b"OUTPUTS", b"TAG", b"BATCHSIZE", b"MINBATCHSIZE", b"MINBATCHTIMEOUT", b"BLOB"}
)


# --------------------------------------------------------------------------- AI.MODELSET
class ModelSet(NamedTuple):
    """A model to be built on a device that its backend judges, once all else was found right.

    Attributes:
        backend: The backend's name.
        device: The device as it was spelled.
        tag: The user's label.
        batching: Batch options.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        pieces: The serialized model, in one piece or more.
    """

    backend: str
    device: str
    tag: str
    batching: Batching
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    pieces: Sequence[Argument]

    def on(self, device: Device) -> NewModel:
        """Returns the same request as its successor would make it."""
        spec = ModelSpec(self.backend, device, self.tag, self.batching, self.inputs, self.outputs)
        return NewModel(spec, self.pieces)


def parse_model_set(args: Args) -> OfModel:
    """Parses the key."""
    if len(args) < 3:  # noqa: PLR2004 - key, backend and device
        raise args.wrong_arity()
    return OfModel(args.take(), args)


def read_model_set(args: Args, installed: Iterable[str]) -> ModelSet:
    """Reads what follows the key of AI.MODELSET.

    Args:
        args: Stands behind the key.
        installed: Names of the installed backends.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    backend = read_backend(args, installed)
    device = args.take()
    if len(device) > _LONGEST_DEVICE or keyword(device) in _NO_DEVICES:
        raise CommandError(INVALID_DEVICE)
    tag = text(args.take()) if args.optional(b"TAG") and len(args) else ""
    batching = _read_batching(args, backend)
    if not len(args):
        raise CommandError(NO_BLOB)
    inputs, outputs = _read_names(args, backend)
    if not args.optional(b"BLOB"):
        raise CommandError(NO_BLOB)
    return ModelSet(backend, text(device), tag, batching, inputs, outputs, read_pieces(args))


def _read_batching(args: Args, backend: str) -> Batching:
    if backend == "TFLITE" and args.peek() == b"BATCHSIZE":
        raise CommandError("ERR Auto-batching not supported by the TFLITE backend")
    size = read_option(args, b"BATCHSIZE")
    if args.peek() == b"MINBATCHSIZE" and not size:
        raise CommandError("ERR MINBATCHSIZE specified without BATCHSIZE")
    minimum = read_option(args, b"MINBATCHSIZE")
    if args.peek() == b"MINBATCHTIMEOUT":
        if not size:
            raise CommandError("ERR MINBATCHTIMEOUT specified without BATCHSIZE")
        if not minimum:
            raise CommandError("ERR MINBATCHTIMEOUT specified without MINBATCHSIZE")
    return Batching(size, minimum, read_option(args, b"MINBATCHTIMEOUT"))


def _read_names(args: Args, backend: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads the names up to BLOB; backends that take none have whatever stands there skipped."""
    names: list[bytes] = []
    while len(args) and args.peek() != b"BLOB":
        names.append(args.take())
    words = [*map(keyword, names)]
    if not NEEDS_NAMES.get(backend, words[:1] == [b"INPUTS"]):
        return (), ()
    if not words and brings_names(args, backend):
        return (), ()
    if not words:
        raise CommandError("ERR Insufficient arguments, INPUTS and OUTPUTS not specified")
    if words[0] != b"INPUTS":
        raise CommandError("ERR INPUTS not specified")
    if b"OUTPUTS" not in words:
        raise CommandError("ERR OUTPUTS not specified")
    middle = words.index(b"OUTPUTS")
    return tuple(map(text, names[1:middle])), tuple(map(text, names[middle + 1 :]))


def model_set(client: Client, request: OfModel) -> Later:
    """Builds a model and stores it."""
    engine = client.server.engine
    new = read_model_set(request.content, engine.backends.names())
    try:
        device = Device.parse_loosely(new.device)
    except InvalidDevice:
        return refuse_device(client, new.backend)
    return build_model(client, request.key, new.on(device))


# --------------------------------------------------------------------------- AI.MODELRUN
def parse_model_run(args: Args) -> OfModel:
    """Parses the model's key."""
    return parse_run(args, 5, "AI.MODELRUN")


def read_model_run(args: Args, model: Model) -> ModelExecute:
    """Reads TIMEOUT, INPUTS and OUTPUTS of AI.MODELRUN.

    Args:
        args: Stands behind the model's key.
        model: The model, whose numbers of inputs and outputs must be met.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    timeout = read_timeout(args) if args.optional(b"TIMEOUT") else 0
    if not args.optional(b"INPUTS"):
        raise CommandError("ERR INPUTS not specified")
    inputs = args.take_rest()
    outputs: list[bytes] = []
    words = [*map(keyword, inputs)]
    if b"OUTPUTS" in words:
        middle = words.index(b"OUTPUTS")
        inputs, outputs = inputs[:middle], inputs[middle + 1 :]
    if not model.loaded.takes(len(inputs)):
        raise wrong_count("INPUTS")
    if len(outputs) != len(model.loaded.outputs):
        raise wrong_count("OUTPUTS")
    return ModelExecute(inputs, outputs, timeout)


def model_run(client: Client, request: OfModel) -> Reply | Later:
    """Runs a model and stores what it returns."""
    model = stored_model(client, request.key)
    return run_model(client, model, read_model_run(request.content, model))


def keys_of_model_run(request: Sequence[Argument]) -> list[Argument]:
    """Returns the model's key, and what follows INPUTS but the words that are no keys."""
    keys = [*request[1:2]]
    at = 4 if len(request) > 2 and keyword(request[2]) == b"TIMEOUT" else 2  # noqa: PLR2004
    if at < len(request) and keyword(request[at]) == b"INPUTS":
        keys += [key for key in request[at + 1 :] if keyword(key) not in {b"OUTPUTS", b"$"}]
    return keys


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.modelset",
        parse_model_set,
        model_set,
        summary="Stores a model. Deprecated: use AI.MODELSTORE.",
        group="module",
        flags=(WRITE, DENYOOM, MODULE),
        categories=("model",),
        keys=(1, 1, 1),
        syntax=(
            "key backend device [TAG tag]"
            " [BATCHSIZE n [MINBATCHSIZE n [MINBATCHTIMEOUT ms]]]"
            " [INPUTS name ... OUTPUTS name ...] BLOB data ..."
        ),
        prepare=model_set,
        differences=OF_STORING,
    ),
    command(
        "ai.modelrun",
        parse_model_run,
        model_run,
        summary="Runs a stored model on stored tensors. Deprecated: use AI.MODELEXECUTE.",
        wanted=wanted.model_run,
        group="module",
        flags=(WRITE, DENYOOM, MODULE, MOVABLE),
        categories=("run",),
        keys=keys_of_model_run,
        access=access.model_run,
        shown_keys=(3, 3, 1),
        syntax="key [TIMEOUT ms] INPUTS input ... OUTPUTS output ...",
        runs=True,
        differences=(*OF_RUNS, *OF_SINGLE_RUNS),
    ),
)
