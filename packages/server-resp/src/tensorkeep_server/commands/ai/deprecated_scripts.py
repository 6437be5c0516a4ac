"""AI.SCRIPTSET and AI.SCRIPTRUN: older spellings, read into the requests of their successors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import Args, keyword, text
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
from tensorkeep_server.commands.ai import access, wanted
from tensorkeep_server.commands.ai.execute import (
    OF_RUNS,
    OF_SINGLE_RUNS,
    read_timeout,
)
from tensorkeep_server.commands.ai.models import OF_BUILDING
from tensorkeep_server.commands.ai.script_execute import (
    OF_SCRIPTS,
    OfScript,
    ScriptExecute,
    call_script,
    parse_call,
)
from tensorkeep_server.commands.ai.scripts import (
    OF_SIZE,
    NewScript,
    c_string,
    read_source,
    script_store,
    stored_script,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.later import Later
    from tensorkeep_server.state import Client


# --------------------------------------------------------------------------- AI.SCRIPTSET
def parse_script_set(args: Args) -> NewScript:
    """Parses AI.SCRIPTSET; a TAG behind the source means nothing, as in the original."""
    if len(args) not in {4, 6}:  # without and with TAG
        raise args.wrong_arity()
    key, device = args.take(), text(args.take())
    tag = text(args.take()) if args.optional(b"TAG") else ""
    return NewScript(key, device, tag, (), read_source(args))


# --------------------------------------------------------------------------- AI.SCRIPTRUN
def parse_script_run(args: Args) -> OfScript:
    """Parses the script's key."""
    return parse_call(args, "AI.SCRIPTRUN")


def read_script_run(args: Args) -> ScriptExecute:  # noqa: C901, PLR0912 - one branch for each word
    """Reads function, TIMEOUT, INPUTS and OUTPUTS of AI.SCRIPTRUN.

    Args:
        args: Stands behind the script's key.

    Raises:
        CommandError: The first thing that is wrong, from left to right.
    """
    function = c_string(args.take())
    inputs: list[bytes] = []
    outputs: list[bytes] = []
    current: list[bytes] | None = None
    timeout_ms = 0
    variadic = False
    while len(args):
        argument = args.take()
        match keyword(argument):
            case b"TIMEOUT":
                if timeout_ms:
                    raise CommandError("ERR Already encountered an TIMEOUT section in SCRIPTRUN")
                if not len(args):
                    raise CommandError("ERR Invalid value for TIMEOUT")
                timeout_ms = read_timeout(args)
            case b"INPUTS":
                if current is outputs:
                    raise CommandError("ERR Already encountered an INPUTS section in SCRIPTRUN")
                if current is inputs:
                    raise CommandError("ERR Already encountered an INPUTS keyword in SCRIPTRUN")
                current = inputs
            case b"OUTPUTS":
                if current is outputs:
                    raise CommandError("ERR Already encountered an OUTPUTS keyword in SCRIPTRUN")
                current = outputs
            case b"$":  # checked for its place only: what follows is given like the other inputs
                if current is not inputs:
                    raise CommandError(
                        "ERR Encountered a variable size list of tensors outside of input section"
                    )
                if variadic:
                    raise CommandError("ERR Already encountered a variable size list of tensors")
                variadic = True
            case _:
                if current is None:
                    raise CommandError("ERR Unrecongnized parameter to SCRIPTRUN")  # sic
                current.append(argument)
    return ScriptExecute(function, (), inputs, (), outputs, timeout_ms)


def script_run(client: Client, request: OfScript) -> Reply | Later:
    """Calls a function and stores what it returns."""
    script = stored_script(client, request.key)
    return call_script(client, script, read_script_run(request.content))


def keys_of_script_run(request: Sequence[Argument]) -> list[Argument]:
    """Returns the script's key, and what follows INPUTS but the words that are no keys."""
    keys = [*request[1:2]]
    at = 5 if len(request) > 3 and keyword(request[3]) == b"TIMEOUT" else 3  # noqa: PLR2004
    if at < len(request) and keyword(request[at]) == b"INPUTS":
        keys += [key for key in request[at + 1 :] if keyword(key) not in {b"OUTPUTS", b"$"}]
    return keys


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.scriptset",
        parse_script_set,
        script_store,
        summary="Stores a script. Deprecated: use AI.SCRIPTSTORE.",
        group="module",
        flags=(WRITE, DENYOOM, MODULE),
        categories=("script",),
        keys=(1, 1, 1),
        syntax="key device [TAG tag] SOURCE source",
        prepare=script_store,
        differences=(OF_BUILDING, OF_SIZE),
    ),
    command(
        "ai.scriptrun",
        parse_script_run,
        script_run,
        summary="Calls a function of a stored script. Deprecated: use AI.SCRIPTEXECUTE.",
        wanted=wanted.script_run,
        group="module",
        flags=(WRITE, DENYOOM, MODULE, MOVABLE),
        categories=("run",),
        keys=keys_of_script_run,
        access=access.script_run,
        shown_keys=(4, 4, 1),
        syntax="key function [TIMEOUT ms] INPUTS input ... [$ input ...] OUTPUTS output ...",
        runs=True,
        differences=(
            Difference(
                "With TIMEOUT as the last argument, reads beyond it.",
                "The error for a TIMEOUT that is no number.",
                "No request may end the server.",
            ),
            *OF_SCRIPTS,
            *OF_RUNS,
            *OF_SINGLE_RUNS,
        ),
    ),
)
