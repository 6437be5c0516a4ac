"""AI.MODELEXECUTE: running a stored model on stored tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import Args, keyword, parse_integer, text
from tensorkeep.commands.command import (
    DENYOOM,
    MODULE,
    MOVABLE,
    WRITE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import Simple
from tensorkeep.commands.set_options import ALWAYS, SYNTAX_OF_STORING, read_options
from tensorkeep.errors import RunExpired
from tensorkeep.graph import run_of
from tensorkeep_server.commands.ai import access, wanted
from tensorkeep_server.commands.ai.models import OfModel, stored_model
from tensorkeep_server.commands.ai.tensors import OF_OPTIONS, store_tensors, stored_tensor
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep.commands.set_options import Storing
    from tensorkeep.engine import Engine
    from tensorkeep.graph import GraphRun
    from tensorkeep.model import Model
    from tensorkeep_server.state import Client

TIMED_OUT: Final = Simple("TIMEDOUT")


class ModelExecute(NamedTuple):
    """What a run of a model needs: keys, and how long it may wait.

    Attributes:
        inputs: Names of the inputs, as many as the model takes.
        outputs: Names for the outputs, as many as the model has.
        timeout_ms: Milliseconds after which the run is not started any more; 0 for never.
        storing: On what terms the outputs are stored.
    """

    inputs: Sequence[bytes]
    outputs: Sequence[bytes]
    timeout_ms: int
    storing: Storing = ALWAYS


def parse_model_execute(args: Args) -> OfModel:
    """Parses the model's key."""
    return parse_run(args, 7, "AI.MODELEXECUTE")


def parse_run(args: Args, at_least: int, name: str) -> OfModel:
    """Parses the key of the model that is to run.

    Args:
        args: Stands at the key.
        at_least: Fewest arguments.
        name: The command's name, which errors show in this spelling however it was typed.

    Raises:
        CommandError: There are fewer arguments.
    """
    if len(args) < at_least:
        raise too_few_arguments(name)
    return OfModel(args.take(), args)


def too_few_arguments(name: str) -> CommandError:
    """Returns the error for too few arguments of a command that runs models."""
    return CommandError(f"ERR wrong number of arguments for '{name}' command")


def read_model_execute(args: Args, model: Model) -> ModelExecute:
    """Reads INPUTS, OUTPUTS, TIMEOUT and the options of storing of AI.MODELEXECUTE.

    Args:
        args: Stands behind the model's key.
        model: The model, whose numbers of inputs and outputs must be met.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    loaded = model.loaded
    inputs = _read_names(args, b"INPUTS", "input", "Input", loaded.takes)
    outputs = _read_names(args, b"OUTPUTS", "output", "Output", len(loaded.outputs).__eq__)
    if args.at == len(args.items):
        return ModelExecute(inputs, outputs, 0)
    begin = args.at
    options = read_options(args)
    options_first = args.at > begin
    timeout = 0
    if args.optional(b"TIMEOUT"):
        if not len(args):
            raise CommandError("ERR No value provided for TIMEOUT")
        timeout = read_timeout(args)
        if not options_first:
            options = read_options(args)
    if len(args):
        raise CommandError(f"Invalid argument: {text(args.take())}")
    return ModelExecute(inputs, outputs, timeout, options.storing("ai.modelexecute"))


def read_timeout(args: Args) -> int:
    """Reads the milliseconds of a TIMEOUT, which must be positive."""
    timeout = parse_integer(args.take())
    if timeout is None or timeout <= 0:
        raise CommandError("ERR Invalid value for TIMEOUT")
    return timeout


def _read_names(
    args: Args, word: bytes, name: str, capital: str, fits: Callable[[int], bool]
) -> Sequence[bytes]:
    items = args.items
    at = args.at
    if at >= len(items) or (items[at] != word and keyword(items[at]) != word):
        raise CommandError(f"ERR {word.decode()} not specified")
    count = parse_integer(items[at + 1]) if at + 1 < len(items) else None
    if count is None:
        raise CommandError(f"ERR Invalid argument for {name}_count")
    if count <= 0:
        raise CommandError(f"ERR {capital} count must be a positive integer")
    if not fits(count):
        raise wrong_count(word.decode())
    args.at = at = at + 2 + count
    if at > len(items):
        raise CommandError(
            f"ERR number of {name} keys to AI.MODELEXECUTE command does not match"
            " the number of given arguments"
        )
    return list(map(bytes, items[at - count : at]))


def wrong_count(word: str) -> CommandError:
    """Returns the error for another number of keys after a word than the model needs."""
    return CommandError(f"Number of keys given as {word} here does not match model definition")


def model_execute(client: Client, request: OfModel) -> Reply | Later:
    """Runs a model and stores what it returns."""
    model = stored_model(client, request.key)
    return run_model(client, model, read_model_execute(request.content, model))


def run_model(client: Client, model: Model, request: ModelExecute) -> Reply | Later:
    """Runs a model; the reply may be there at once."""
    engine = client.server.engine
    inputs = [stored_tensor(client, key) for key in request.inputs]
    expires_at = engine.time() + request.timeout_ms / 1000 if request.timeout_ms else None
    graph = run_of(model, inputs, expires_at)
    return run_graph(
        engine, graph, lambda: store_outputs(client, request.outputs, request.storing, graph)
    )


def run_graph(engine: Engine, graph: GraphRun, finish: Callable[[], Reply]) -> Reply | Later:
    """Runs the models of a request; the reply may be there at once.

    Args:
        engine: Where they run.
        graph: The request.
        finish: Makes the reply once all has ended, unless the request was given up as a whole or
            its client went away.
    """
    engine.execute(graph)
    if graph.done:
        return _given_up(graph.error) if graph.error is not None else finish()

    def abandon() -> None:
        graph.on_done = None
        engine.abandon(graph)

    def done(_: GraphRun) -> None:
        error = graph.error
        later.resolve(finish if error is None else lambda: _given_up(error))

    later = Later(abandon)
    graph.on_done = done
    return later


def _given_up(error: Exception) -> Reply:
    return TIMED_OUT if type(error) is RunExpired else error_reply(error)


def store_outputs(
    client: Client, names: Sequence[bytes], storing: Storing, graph: GraphRun
) -> Reply:
    """Stores all outputs of a single run, or none."""
    error = graph.errors[0]
    if error is not None:
        # Not raised: its traceback would hold the graph, which holds the error; and with it the
        # model and all tensors, until the garbage collector comes by.
        return error_reply(error)
    outputs = graph.values[graph.graph.given :]
    named = zip(names, outputs, strict=True)
    return store_tensors(
        client, [(name, each) for name, each in named if each is not None], storing
    )


def keys_of_model_execute(request: Sequence[Argument]) -> list[Argument]:
    """Returns the model's key, and the counted inputs and outputs if they can be followed.

    Nothing for a request that is too short.
    """
    if len(request) < 4:  # noqa: PLR2004 - not even the head of a list
        return []
    keys = [request[1]]
    at = 2
    for word in (b"INPUTS", b"OUTPUTS"):
        if at + 1 >= len(request) or keyword(request[at]) != word:
            return keys[:1]
        count = parse_integer(request[at + 1])
        if count is None or not 0 < count <= len(request) - at - 2:
            return keys[:1]
        keys += request[at + 2 : at + 2 + count]
        at += 2 + count
    return keys


OF_RUNS: Final = (
    Difference(
        "Looks for models, scripts and inputs in database 0, whatever the client selected.",
        "Looks in the client's database.",
        "The outputs go there as well. Clients that stay in database 0 see no difference.",
    ),
    Difference(
        "`TIMEDOUT` comes when a worker takes up the run, perhaps long after the time is over.",
        "It comes when the time is over. What has begun goes on, as in the original, unless the"
        " server is told `--deadline-ends-runs`.",
        "Who gives a time waits no longer than that.",
    ),
    Difference(
        "A batch may be larger than `BATCHSIZE`: 2 and 3 rows make 5 where 4 are allowed.",
        "It never is.",
        "The size is often what a device or a model can take at most.",
    ),
    Difference(
        "Runs of one device go strictly one after another.",
        "After 0.1 s, and after as long as it usually takes itself, a run of another model goes"
        " beside one that goes on; `--overtake-after 0` keeps the order.",
        "One client's long run must not stop everybody else's models.",
    ),
    Difference(
        "Requests to every model that has `BATCHSIZE` share runs. Outputs that have as many rows as"
        " all requests together are cut among them: class labels, weights and transposed ones too.",
        "They share runs along axis 0 where nothing that the model declares speaks against it, and"
        " shared runs were compared with runs alone: rows must not change each other's outputs. To"
        " other models each runs alone, `BATCHSIZE` or not; the log and AI.INFO say why.",
        "One client would be given another's values.",
    ),
    Difference(
        "If outputs of a shared run do not have the expected rows: `Model did not generate the"
        " expected batch size` to all. What `TF` then returns without axes is left out silently.",
        "Each request runs alone, and no others share runs of this model any more.",
        "Alone, each is right.",
    ),
    Difference(
        "An output that is no tensor (nothing, a map, a sequence) is left out, and its key keeps"
        " what it had; in a DAG of an `ONNX` model, it ends the server.",
        "An error that names the output, and nothing of the run is stored.",
        "What stands under the key of an output must be of this run.",
    ),
    Difference(
        "Inputs of different types go into one batch, and are read as what they are not.",
        "They do not.",
        "The outputs would be wrong.",
    ),
    Difference(
        "`MODEL_EXECUTION_TIMEOUT` is 5000 where nothing else is said.",
        "4000.",
        "redis-py from version 8 on gives up after 5 s and sends the run again, ten times; now the"
        " error comes first.",
    ),
    Difference(
        "Runs of `ONNX` models alone are ended when `MODEL_EXECUTION_TIMEOUT` is over.",
        "Those of every backend, whatever they do; where nothing is isolated, of those that can.",
        "A model without an end would keep its device for ever.",
    ),
    Difference(
        "A model or script that its framework crashes over ends the server.",
        "It ends its own worker: each request of its batch gets an error that names the model and"
        " the cause. One that does so three times running is answered with an error at once, until"
        " it is stored again. See [isolation](operations.md#isolation).",
        "No request may end the server.",
    ),
    Difference(
        "A run whose client went away goes on to its end, and its outputs are not stored.",
        "Half a second later it is ended, if it is one of a model that no other client shares; it"
        " counts as an error then.",
        "Clients that send a run again, time after time, would keep a device busy with runs that"
        " nobody waits for.",
    ),
    Difference(
        "An output of a type that has no name there, such as float16, ends the server.",
        "Every type has a name, see `AI.TENSORSET`.",
        "No request may end the server.",
    ),
)
OF_SINGLE_RUNS: Final = (
    Difference(
        "If an output's key holds something else: `OK`, a second reply `WRONGTYPE`, and some"
        " outputs are stored.",
        "`WRONGTYPE` alone, and none is stored.",
        "After two replies to one command all later ones are taken for another's.",
    ),
)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.modelexecute",
        parse_model_execute,
        model_execute,
        summary="Runs a stored model on stored tensors.",
        wanted=wanted.model_execute,
        group="module",
        flags=(WRITE, DENYOOM, MODULE, MOVABLE),
        categories=("run",),
        keys=keys_of_model_execute,
        access=access.model_execute,
        shown_keys=(4, 4, 1),
        syntax=(
            f"key INPUTS count input ... OUTPUTS count output ... [TIMEOUT ms] {SYNTAX_OF_STORING}"
        ),
        runs=True,
        differences=(OF_OPTIONS, *OF_RUNS, *OF_SINGLE_RUNS),
    ),
)
