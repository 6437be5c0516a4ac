"""AI.SCRIPTEXECUTE: calling a function of a stored script."""

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
from tensorkeep.commands.set_options import ALWAYS, SYNTAX_OF_STORING, is_option, read_options
from tensorkeep.graph import call_of
from tensorkeep.hookspecs import ScriptCall
from tensorkeep_server.bounds import check_names
from tensorkeep_server.commands.ai import access, wanted
from tensorkeep_server.commands.ai.execute import (
    OF_RUNS,
    OF_SINGLE_RUNS,
    read_timeout,
    run_graph,
    store_outputs,
    too_few_arguments,
)
from tensorkeep_server.commands.ai.from_scripts import access_of
from tensorkeep_server.commands.ai.scripts import c_string, stored_script
from tensorkeep_server.commands.ai.tensors import OF_OPTIONS, stored_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep.commands.set_options import Storing
    from tensorkeep.model import Script
    from tensorkeep_server.later import Later
    from tensorkeep_server.state import Client


_NAME: Final = "ai.scriptexecute"


class ScriptExecute(NamedTuple):
    """A call of a function.

    Attributes:
        function: Its name.
        keys: Keys that it may touch.
        inputs: Names of the tensors that it is given.
        arguments: Plain arguments.
        outputs: Names for the tensors that it returns; none if what it returns is ignored.
        timeout_ms: Milliseconds after which it is not called any more; 0 for never.
        storing: On what terms the outputs are stored.
    """

    function: str
    keys: Sequence[bytes]
    inputs: Sequence[bytes]
    arguments: Sequence[bytes]
    outputs: Sequence[bytes]
    timeout_ms: int
    storing: Storing = ALWAYS


class OfScript(NamedTuple):
    """A command about a script whose further arguments are read once the script was found."""

    key: bytes
    content: Args


# --------------------------------------------------------------------------- reading
def parse_script_execute(args: Args) -> OfScript:
    """Parses the script's key."""
    return parse_call(args, "AI.SCRIPTEXECUTE")


def parse_call(args: Args, name: str) -> OfScript:
    """Parses the key of the script that is to run.

    Args:
        args: Stands at the key.
        name: The command's name, which errors show in this spelling however it was typed.

    Raises:
        CommandError: The key or the function is missing.
    """
    if len(args) < 2:  # noqa: PLR2004 - key and function
        raise too_few_arguments(name)
    return OfScript(args.take(), args)


def read_single_call(args: Args) -> ScriptExecute:
    """Reads what follows the key where the call is a command of its own.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    scope = args.items[args.at + 1 : args.at + 2]
    if not scope or keyword(scope[0]) not in {b"KEYS", b"INPUTS"}:
        raise CommandError(
            "ERR KEYS or INPUTS scope must be provided first for AI.SCRIPTEXECUTE command"
        )
    return read_script_execute(args)


def read_script_execute(args: Args) -> ScriptExecute:
    """Reads function, KEYS, INPUTS, ARGS, OUTPUTS, and at last TIMEOUT and the options of storing.

    Args:
        args: Stands behind the script's key.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    function = c_string(args.take())
    found: dict[bytes, Sequence[bytes]] = {}
    timeout_ms, storing = 0, ALWAYS
    while len(args):
        word = args.take_keyword()
        if word == b"TIMEOUT":
            timeout_ms, storing = _read_timeout(args, with_options=b"OUTPUTS" in found)
            break
        read = _SCOPES.get(word)
        if read is None:
            args.at -= 1
            if b"OUTPUTS" in found and is_option(word):
                timeout_ms, storing = _read_options(args)
                break
            raise _unexpected(args)
        values = read(args)
        if word in found:
            raise CommandError(
                f"ERR Already Encountered {word.decode()} scope in AI.SCRIPTEXECUTE command"
            )
        found[word] = values
    keys, inputs, arguments, outputs = (found.get(word, ()) for word in _SCOPES)
    return ScriptExecute(function, keys, inputs, arguments, outputs, timeout_ms, storing)


def _read_timeout(args: Args, *, with_options: bool) -> tuple[int, Storing]:
    """Reads what follows the word TIMEOUT: the time, and perhaps the options of storing."""
    if not len(args):
        raise CommandError("ERR No value provided for TIMEOUT in AI.SCRIPTEXECUTE")
    timeout_ms = read_timeout(args)
    options = read_options(args) if with_options else None
    if len(args):
        raise CommandError("ERR Encountered problem parsing AI.SCRIPTEXECUTE")
    return timeout_ms, ALWAYS if options is None else options.storing(_NAME)


def _read_options(args: Args) -> tuple[int, Storing]:
    """Reads the options of storing, and perhaps TIMEOUT behind them."""
    options = read_options(args)
    timeout_ms = 0
    if args.optional(b"TIMEOUT"):
        timeout_ms, _ = _read_timeout(args, with_options=False)
    if len(args):
        raise _unexpected(args)
    return timeout_ms, options.storing(_NAME)


def _unexpected(args: Args) -> CommandError:
    return CommandError(
        f"ERR Invalid AI.SCRIPTEXECUTE command. Unexpected argument: {text(args.take())}"
    )


def _read_keys(args: Args) -> Sequence[bytes]:
    if len(args) < 2:  # noqa: PLR2004 - the count and one key
        raise CommandError("ERR Missing arguments after KEYS keyword")
    count = parse_integer(args.take())
    if count is None or count <= 0:
        raise CommandError("ERR Invalid or negative value found in number of KEYS")
    if count > len(args):
        raise CommandError(
            "ERR Number of pre declared KEYS to be used in the command does not match"
            " the number of given arguments"
        )
    check_names(count, "KEYS")
    return [args.take() for _ in range(count)]


def _read_counted(name: str, counted: str) -> Callable[[Args], Sequence[bytes]]:
    """Returns what reads a count and as many arguments.

    Args:
        name: What errors call the arguments.
        counted: What the error for a bad count calls them.
    """

    def read(args: Args) -> Sequence[bytes]:
        if not len(args):
            raise CommandError("ERR Invalid arguments provided to AI.SCRIPTEXECUTE")
        count = args.take_integer(f"ERR Invalid argument for {counted} count in AI.SCRIPTEXECUTE")
        if not 0 <= count <= len(args):
            raise CommandError(
                f"ERR number of {name} to AI.SCRIPTEXECUTE command does not match"
                " the number of given arguments"
            )
        if name != "args":  # each costs next to nothing
            check_names(count, name.upper())
        return [args.take() for _ in range(count)]

    return read


# In the order of the fields of ScriptExecute.
_SCOPES: Final[dict[bytes, Callable[[Args], Sequence[bytes]]]] = {
    b"KEYS": _read_keys,
    b"INPUTS": _read_counted("inputs", "inputs"),
    b"ARGS": _read_counted("args", "keys"),  # sic
    b"OUTPUTS": _read_counted("outputs", "outputs"),
}


# --------------------------------------------------------------------------- running
def script_execute(client: Client, request: OfScript) -> Reply | Later:
    """Calls a function and stores what it returns."""
    script = stored_script(client, request.key)
    return call_script(client, script, read_single_call(request.content))


def call_script(client: Client, script: Script, request: ScriptExecute) -> Reply | Later:
    """Calls a function and stores what it returns."""
    engine = client.server.engine
    inputs = [stored_tensor(client, key) for key in request.inputs]
    expires_at = engine.time() + request.timeout_ms / 1000 if request.timeout_ms else None
    graph = call_of(script, inputs, script_call(client, request), expires_at)
    return run_graph(
        engine, graph, lambda: store_outputs(client, request.outputs, request.storing, graph)
    )


def script_call(client: Client, request: ScriptExecute) -> ScriptCall:
    """Returns what a script is asked for, in the name of a client, without the tensors."""
    return ScriptCall(
        function=request.function,
        tensors=(),
        keys=request.keys,
        arguments=request.arguments,
        outputs=len(request.outputs) or None,
        commands=client.server.engine.commands(access_of(client)),
    )


def keys_of_script_execute(request: Sequence[Argument]) -> list[Argument]:
    """Returns the script's key, and those of KEYS, INPUTS and OUTPUTS up to another word.

    Nothing for a request that is too short.
    """
    if len(request) < 6:  # noqa: PLR2004 - key, function, and one scope with one key
        return []
    keys = [request[1]]
    at = 3
    while at + 1 < len(request) and keyword(request[at]) in {b"KEYS", b"INPUTS", b"OUTPUTS"}:
        count = parse_integer(request[at + 1])
        if count is None or not 0 <= count <= len(request) - at - 2:
            break
        keys += request[at + 2 : at + 2 + count]
        at += 2 + count
    return keys


OF_SCRIPTS: Final = (
    Difference(
        "Commands of a script are done in database 0.",
        "In the client's database, and with its rights.",
        "As for the script's inputs and outputs.",
    ),
    Difference(
        "Keys, arguments and replies are cut at the first NUL.",
        "They are any bytes, and whole, in both directions.",
        "A script that was given `k\\0z` deleted the key `k`.",
    ),
    Difference(
        "An integer that `redis.execute` returns is cut to 32 bits.",
        "It has 64.",
        "Counters, times and sizes go beyond.",
    ),
    Difference(
        "Of a command that is refused, a script learns `Invalid argument`.",
        "The reason follows in parentheses.",
        "So that it can be found; those who look for the words still find them.",
    ),
    Difference(
        "A list of more tensors than OUTPUTS overruns memory.",
        "The error for a wrong number of outputs.",
        "No request may end the server.",
    ),
    Difference(
        "A script that goes on after its time goes on.",
        "It is ended with its worker when `MODEL_EXECUTION_TIMEOUT` is over.",
        "It would keep its device for ever.",
    ),
)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.scriptexecute",
        parse_script_execute,
        script_execute,
        summary="Calls a function of a stored script.",
        wanted=wanted.script_execute,
        group="module",
        flags=(WRITE, DENYOOM, MODULE, MOVABLE),
        categories=("run",),
        keys=keys_of_script_execute,
        access=access.script_execute,
        shown_keys=(5, 5, 1),
        syntax=(
            "key function [KEYS count key ...] [INPUTS count input ...] [ARGS count arg ...]"
            f" [OUTPUTS count output ...] [TIMEOUT ms] {SYNTAX_OF_STORING}"
        ),
        runs=True,
        differences=(
            OF_OPTIONS,
            Difference(
                "With three arguments, reads beyond them.",
                "The error for scopes that are missing.",
                "No request may end the server.",
            ),
            Difference(
                "Small negative counts of INPUTS, ARGS and OUTPUTS mean 0.",
                "They are refused, as large ones are.",
                "Nobody means 0 by -1.",
            ),
            *OF_SCRIPTS,
            *OF_RUNS,
            *OF_SINGLE_RUNS,
        ),
    ),
)
