"""AI.MODELSTORE, AI.MODELGET, AI.MODELDEL, and what every other command shares of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from tensorkeep.batching import Batching
from tensorkeep.commands.args import Args, keyword, text
from tensorkeep.commands.command import (
    DENYOOM,
    MODULE,
    READONLY,
    WRITE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.numerals import parse_count
from tensorkeep.commands.reply import BLOCK, OK, LongArray
from tensorkeep.device import Device
from tensorkeep.errors import InvalidDevice, KeyMissing, WrongType
from tensorkeep.model import Model, ModelSpec
from tensorkeep.store import Record, record_of
from tensorkeep_server.bounds import check_names
from tensorkeep_server.commands.ai import wanted
from tensorkeep_server.commands.ai.building import store_when_built

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep.model import Script
    from tensorkeep_server.later import Later
    from tensorkeep_server.state import Client

NO_BLOB: Final = "ERR Insufficient arguments, missing model BLOB"
UNKNOWN_BACKEND: Final = "ERR unsupported backend"
INVALID_DEVICE: Final = "ERR Invalid DEVICE"

# What the original knew, whether it is installed or not, and whether its models are stored with
# the names of their inputs and outputs. For other backends the names may be given or not.
NEEDS_NAMES: Final = {"TF": True, "TFLITE": False, "TORCH": False, "ONNX": False}
_ZIP: Final = b"PK\x03\x04"  # what an archive begins with; a GraphDef cannot


class OfModel(NamedTuple):
    """A command about a model whose further arguments are read by the handler.

    What they mean, or whether they are looked at, hangs on the model or on the installed backends.
    """

    key: bytes
    content: Args


class NewModel(NamedTuple):
    """A model to be built.

    Attributes:
        spec: What is said of it.
        pieces: Its blob, in one piece or more.
    """

    spec: ModelSpec
    pieces: Sequence[Argument]


# --------------------------------------------------------------------------- AI.MODELSTORE
def parse_model_store(args: Args) -> OfModel:
    """Parses the key."""
    if len(args) < 5:  # noqa: PLR2004 - key, backend, device, BLOB and one more
        raise args.wrong_arity()
    return OfModel(args.take(), args)


def read_model_store(args: Args, installed: Iterable[str]) -> NewModel:
    """Reads what follows the key of AI.MODELSTORE.

    Args:
        args: Stands behind the key.
        installed: Names of the installed backends.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    backend = read_backend(args, installed)
    try:
        device = Device.parse(text(args.take()))
    except InvalidDevice as error:
        raise CommandError(INVALID_DEVICE) from error
    tag = text(args.take()) if args.optional(b"TAG") else ""
    batching = _read_batching(args)
    if not len(args):
        raise CommandError(NO_BLOB)
    signature = _read_signature(args)
    if not len(args):
        raise CommandError(NO_BLOB)
    inputs, outputs = _read_names(args, backend)
    if not args.optional(b"BLOB"):
        raise CommandError("ERR Invalid argument, expected BLOB")
    spec = ModelSpec(backend, device, tag, batching, inputs, outputs, signature)
    return NewModel(spec, read_pieces(args))


def _read_batching(args: Args) -> Batching:
    size = read_option(args, b"BATCHSIZE")
    minimum = read_option(args, b"MINBATCHSIZE")
    if minimum and not size:
        raise CommandError("ERR MINBATCHSIZE specified without BATCHSIZE")
    timeout_ms = read_option(args, b"MINBATCHTIMEOUT")
    if timeout_ms and not minimum:
        raise CommandError("ERR MINBATCHTIMEOUT specified without MINBATCHSIZE")
    return Batching(size, minimum, timeout_ms)


def _read_signature(args: Args) -> str:
    """Reads the extension SIGNATURE, empty when it is absent."""
    if not args.optional(b"SIGNATURE"):
        return ""
    name = text(args.take()) if len(args) else ""
    if not name:
        raise CommandError("ERR Invalid argument for SIGNATURE")
    return name


def _read_names(args: Args, backend: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    given = args.optional(b"INPUTS")
    needed = NEEDS_NAMES.get(backend, given)
    if given and not needed:
        raise CommandError("ERR INPUTS argument should not be specified for this backend")
    if not needed or brings_names(args, backend):
        return (), ()
    if not given:
        raise CommandError(f"ERR INPUTS not specified for {backend}")
    inputs = _read_counted(args, "input")
    if not args.optional(b"OUTPUTS"):
        raise CommandError(f"ERR OUTPUTS not specified for {backend}")
    return inputs, _read_counted(args, "output")


def _read_counted(args: Args, kind: str) -> tuple[str, ...]:
    count = parse_count(args.take()) if len(args) else None
    if not count:
        raise CommandError(f"ERR Invalid argument for {kind}_count")
    if count > len(args):
        raise CommandError(
            f"ERR number of model {kind}s does not match the number of given arguments"
        )
    check_names(count, f"{kind.upper()}S")
    return tuple(text(args.take()) for _ in range(count))


# --------------------------------------------------------------------------- what MODELSET shares
def brings_names(args: Args, backend: str) -> bool:
    """Returns whether next comes a model of TF that names its inputs and outputs itself.

    That is a SavedModel, packed as an archive; the original knew none.
    """
    if backend != "TF" or args.peek() != b"BLOB" or len(args) == 1:
        return False
    return bytes(args.items[args.at + 1][: len(_ZIP)]) == _ZIP


def read_backend(args: Args, installed: Iterable[str]) -> str:
    """Reads the name of a backend that is known, though perhaps not installed.

    Raises:
        CommandError: Nobody knows it.
    """
    name = text(args.take_keyword())
    if name not in NEEDS_NAMES and name not in installed:
        raise CommandError(UNKNOWN_BACKEND)
    return name


def read_option(args: Args, word: bytes) -> int:
    """Reads a batch option, 0 when it is absent.

    Raises:
        CommandError: Its value is no count, or missing.
    """
    if not args.optional(word):
        return 0
    count = parse_count(args.take()) if len(args) else None
    if count is None:
        raise CommandError(f"ERR Invalid argument for {word.decode()}")
    return count


def read_pieces(args: Args) -> Sequence[Argument]:
    """Reads all that is left as the pieces of one blob, of which there may be any number.

    Raises:
        CommandError: Nothing is left.
    """
    if not len(args):
        raise CommandError(NO_BLOB)
    return args.items[args.at :]


def model_store(client: Client, request: OfModel) -> Later:
    """Builds a model and stores it."""
    installed = client.server.engine.backends.names()
    return build_model(client, request.key, read_model_store(request.content, installed))


def build_model(client: Client, key: bytes, new: NewModel) -> Later:
    """Builds a model and stores it."""
    engine = client.server.engine
    return store_when_built(
        client, key, Model, lambda done: engine.create_model(new.spec, new.pieces, done)
    )


# --------------------------------------------------------------------------- AI.MODELGET
class ModelGet(NamedTuple):
    """AI.MODELGET key [META] [BLOB]; other words mean nothing.

    Attributes:
        key: The model's key.
        meta: Whether META was said.
        blob: Whether BLOB was said.
    """

    key: bytes
    meta: bool
    blob: bool


def parse_model_get(args: Args) -> ModelGet:
    """Parses AI.MODELGET."""
    if not 1 <= len(args) <= 3:  # noqa: PLR2004 - key and two words
        raise args.wrong_arity()
    key = args.take()
    words = [keyword(word) for word in args.items[args.at :]]
    return ModelGet(key, b"META" in words, b"BLOB" in words)


def model_get(client: Client, request: ModelGet) -> Reply:
    """Returns what is known of a model, its blob, or both."""
    record = stored_record(client, request.key, Model)
    chunk_size = client.server.model_chunk_size
    if request.blob and not request.meta:
        return _blob(chunk_size, record)
    spec = cast("ModelSpec", record.spec)
    meta: list[Reply] = [
        b"backend",
        encoded(spec.backend),
        b"device",
        encoded(spec.device.name),
        b"tag",
        encoded(spec.tag),
        b"batchsize",
        spec.batching.size,
        b"minbatchsize",
        spec.batching.minimum,
        b"inputs",
        [encoded(name) for name in record.inputs],
        b"outputs",
        [encoded(name) for name in record.outputs],
        b"minbatchtimeout",
        spec.batching.timeout_ms,
    ]
    if request.meta and not request.blob:
        return meta
    return [*meta, b"blob", _blob(chunk_size, record)]


def _blob(size: int, record: Record) -> Reply:
    """Returns a model's blob, in pieces when it is larger than one may be.

    The last piece is empty when the size is a multiple of the pieces', as in the original.
    """
    content = record.content
    blob = memoryview(content[0] if len(content) == 1 else b"".join(content))
    if len(blob) < size:
        return blob
    pieces = range(0, len(blob) + 1, size)

    def cut() -> Iterator[list[Reply]]:
        for first in range(0, len(pieces), BLOCK):
            yield [blob[start : start + size] for start in pieces[first : first + BLOCK]]

    return LongArray(len(pieces), cut)


def stored_record(client: Client, key: bytes, kind: type[Model | Script]) -> Record:
    """Returns what is stored of the model or script under a key, whether it is built here or not.

    Raises:
        KeyMissing: There is no such key.
        WrongType: It holds something else.
    """
    if client.session is None:
        return record_of(client.keys.typed(key, kind))
    found = client.keys.get(key)
    if found is None:
        raise KeyMissing(key, kind)
    if not isinstance(found, Record) or not found.is_of(kind):
        raise WrongType(key)
    return found


def encoded(name: str) -> bytes:
    """Returns text as it was received; the way back of `args.text`."""
    return name.encode("utf-8", "surrogateescape")


# --------------------------------------------------------------------------- AI.MODELDEL
def parse_model_del(args: Args) -> bytes:
    """Parses AI.MODELDEL key."""
    if len(args) != 1:
        raise args.wrong_arity()
    return args.take()


def model_del(client: Client, key: bytes) -> Reply:
    """Deletes a model; what runs of it goes on."""
    model = client.keys.drop(key, Model)
    if model is not None:
        client.server.engine.retire(key, model)
    return OK


# --------------------------------------------------------------------------- for other commands
def stored_model(client: Client, key: bytes) -> Model:
    """Returns the model under a key of the client's database.

    Raises:
        KeyMissing: There is no such key.
        WrongType: It holds something else.
    """
    return client.keys.typed(key, Model)


OF_DEVICES: Final = Difference(
    "Each device name gets a queue with threads of its own, however many there are.",
    "64 devices may have queues at a time (twice the number of cores, where that is more); a store"
    " for one more is an error. A device without models and scripts makes room.",
    "One client could start threads without end.",
)

OF_BUILDING: Final = Difference(
    "A model or script that its framework crashes over while it is loaded ends the server; one"
    " whose loading has no end keeps all others from being stored.",
    "An error with the cause, or after `--store-timeout` (60 s); the key keeps what it had,"
    " and others are stored meanwhile.",
    "No request may end the server.",
)

OF_NUMBERS: Final = Difference(
    "Stores any number of models and scripts, and takes any number of names.",
    "At most 10,000 models and scripts (`--max-models`) unless one is replaced, and 10,000 names"
    " behind INPUTS, OUTPUTS or ENTRY_POINTS; beyond that an error.",
    "One client could fill the memory, and keep others waiting.",
)

OF_STORING: Final = (
    OF_DEVICES,
    OF_BUILDING,
    OF_NUMBERS,
    Difference(
        "`BACKEND_MEMORY_LIMIT` holds for `ONNX` alone, for weights and runs together.",
        "For the weights of models of every backend, and apart from them for what runs of `ONNX`"
        " take.",
        "Weights can be counted whatever the framework; what runs take only ONNX Runtime limits.",
    ),
    Difference(
        "Onto a key that holds something else, a valid model ends the server.",
        "`WRONGTYPE`, and the key stays as it was.",
        "No request may end the server.",
    ),
    Difference(
        "Knows `TF`, `TFLITE`, `TORCH` and `ONNX`.",
        "Also every other backend that is installed; INPUTS and OUTPUTS are as it likes.",
        "Backends are plugins.",
    ),
    Difference(
        "`TF` takes frozen graphs, `TORCH` takes TorchScript.",
        "`TF` also takes SavedModels as one zip archive, `TORCH` archives of `torch.export`.",
        "Frameworks have moved on; both are told apart from the old forms by their first bytes.",
    ),
    Difference(
        "Probabilities of a classifier of `ONNX` that `ZipMap` makes maps of, as converters of"
        " scikit-learn do, are no tensor: their key is left as it was.",
        "They are a tensor of [rows, classes], in the order of the class labels in the model.",
        "The labels are the same in all rows.",
    ),
    Difference(
        "A model of `ONNX` whose weights lie in files of their own is refused.",
        "It is taken as one zip archive of the model and these files, stored as they are"
        " (`zip -0`); `tensorkeep store-model` makes it. Without them it is refused, and"
        " told what to do.",
        "Models beyond 2 GB cannot be one file of the format.",
    ),
    Difference(
        "Of a model, one graph can be run.",
        "`SIGNATURE name`, before INPUTS or BLOB, chooses one of the signatures that a SavedModel"
        " or a model of TFLITE brings; without it, its default. Only AI.MODELSTORE has the option.",
        "Models of TensorFlow 2 have several.",
    ),
    Difference(
        "A graph may have any operation that its framework has.",
        "Operations that reach files, devices or Python beyond the model are refused, with their"
        " names.",
        "A mistake shall not reach further than its model. It is no wall: see"
        " [whom to trust](operations.md#whom-to-trust).",
    ),
    Difference(
        "Memory that a `TORCH` model or script made room for and did not write to (`torch.empty`)"
        " shows what others left there.",
        "It is zero.",
        "What one client stores is not for another.",
    ),
    Difference(
        "`print` in TorchScript writes to the server's standard output.",
        "It is left out, as are warnings.",
        "A pipe that nobody reads would hold up the run, and a loop fill the disk.",
    ),
    Difference(
        "Runs of a `TORCH` module that changes itself take place side by side, and can end the"
        " server.",
        "They come one at a time, and never share a batch.",
        "No request may end the server.",
    ),
    Difference(
        "Stores `TORCH` models that take or return a dict, a number, a string or None, or a list"
        " or tuple within another; each of their runs fails.",
        "Tensors in dicts, lists and tuples are outputs, those of a dict with the names of its"
        " keys. What is optional in `forward` may be left out behind the other INPUTS, and a"
        " parameter that no tensor can be keeps its default. All others are refused with what is"
        " in the way.",
        "What is stored can be run.",
    ),
)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.modelstore",
        parse_model_store,
        model_store,
        summary="Stores a model.",
        group="module",
        flags=(WRITE, DENYOOM, MODULE),
        categories=("model",),
        keys=(1, 1, 1),
        syntax=(
            "key backend device [TAG tag] [BATCHSIZE n] [MINBATCHSIZE n] [MINBATCHTIMEOUT ms]"
            " [SIGNATURE name] [INPUTS count name ... OUTPUTS count name ...] BLOB data ..."
        ),
        prepare=model_store,
        differences=OF_STORING,
    ),
    command(
        "ai.modelget",
        parse_model_get,
        model_get,
        summary="Returns what is known of a stored model, and its blob.",
        wanted=wanted.record,
        group="module",
        flags=(READONLY, MODULE),
        categories=("model",),
        keys=(1, 1, 1),
        syntax="key [META] [BLOB]",
    ),
    command(
        "ai.modeldel",
        parse_model_del,
        model_del,
        summary="Deletes a stored model.",
        group="module",
        flags=(WRITE, MODULE),
        categories=("model",),
        keys=(1, 1, 1),
        syntax="key",
    ),
)
