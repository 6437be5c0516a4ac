"""AI.DAGEXECUTE, AI.DAGRUN and their read-only forms: several operations as one request.

A request becomes one graph of model runs. What goes from one operation to the next is never stored;
what PERSIST names is stored when everything ended well. The original stores some of it when one
of the keys turns out to hold another type: here it is all or nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from tensorkeep.commands.args import Args, keyword, parse_integer
from tensorkeep.commands.command import (
    DENYOOM,
    MODULE,
    MOVABLE,
    READONLY,
    WRITE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import OK, Simple
from tensorkeep.commands.set_options import ALWAYS, SYNTAX_OF_STORING
from tensorkeep.errors import TensorkeepError
from tensorkeep.graph import GraphRun
from tensorkeep_server.commands.ai import access, wanted
from tensorkeep_server.commands.ai.deprecated_models import read_model_run
from tensorkeep_server.commands.ai.deprecated_scripts import read_script_run
from tensorkeep_server.commands.ai.execute import (
    OF_RUNS,
    read_model_execute,
    run_graph,
    too_few_arguments,
)
from tensorkeep_server.commands.ai.models import stored_model
from tensorkeep_server.commands.ai.script_execute import read_script_execute, script_call
from tensorkeep_server.commands.ai.scripts import stored_script
from tensorkeep_server.commands.ai.tensors import (
    OF_OPTIONS,
    let_go,
    store_tensors,
    stored_tensor,
)
from tensorkeep_server.dag_plan import SEPARATOR, Dialect, Draft, read_dag
from tensorkeep_server.errors import error_reply
from tensorkeep_server.later import Later, in_steps
from tensorkeep_server.wire_tensor import (
    LONG_REQUEST,
    read_form,
    read_tensor,
    read_tensor_in_steps,
    show_tensor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from tensorkeep.commands.args import Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep.model import Model
    from tensorkeep.tensor import Tensor
    from tensorkeep_server.commands.ai.execute import ModelExecute
    from tensorkeep_server.commands.ai.script_execute import ScriptExecute
    from tensorkeep_server.dag_plan import Place, Plan, Reader, Ready
    from tensorkeep_server.state import Client
    from tensorkeep_server.wire_tensor import Form

NOT_AVAILABLE: Final = Simple("NA")

_NO_TIMEOUT: Final = "ERR TIMEOUT not allowed within a DAG command"
_NO_OPTIONS: Final = (
    "ERR NX, XX, EX, PX, EXAT, PXAT and KEEPTTL not allowed within a DAG command,"
    " but behind the keys of its PERSIST"
)


# --------------------------------------------------------------------------- reading operations
def _read_tensor_set(op: Sequence[Argument], draft: Draft[Client]) -> None:
    if len(op) < 4:  # noqa: PLR2004 - the operation, name, type, and a size or data
        raise CommandError("wrong number of arguments for 'AI.TENSORSET' command")
    ready = draft.ready.get((draft.end, len(op)))
    tensor = ready() if ready else _read_tensor(op, draft.store.server.most_bytes)
    # VALUES may be followed by any word, so the tensor itself must tell.
    ends_in_data = keyword(op[-2]) == b"BLOB" and tensor.blob is op[-1]
    draft.put(bytes(op[1]), tensor, ends_in_data=ends_in_data)


def _read_tensor(op: Sequence[Argument], max_bytes: int) -> Tensor:
    args = Args(op, 2)
    tensor = read_tensor(args, max_bytes)
    _refuse_options(args)
    return tensor


def _refuse_options(args: Args) -> None:
    """Refuses what is left behind a tensor: what is stored under a key, PERSIST alone decides."""
    if len(args):
        raise CommandError(_NO_OPTIONS)


def _read_tensor_get(op: Sequence[Argument], draft: Draft[Client]) -> None:
    if not 2 <= len(op) <= 4:  # noqa: PLR2004 - the operation, name, and two words
        raise CommandError("wrong number of arguments for 'AI.TENSORGET' command")
    draft.get(bytes(op[1]), read_form(op[2:]))


def _model_run(
    name: str, at_least: int, read: Callable[[Args, Model], ModelExecute]
) -> Reader[Client]:
    def read_op(op: Sequence[Argument], draft: Draft[Client]) -> None:
        if len(op) < at_least:
            raise too_few_arguments(name)
        key = bytes(op[1])
        model = stored_model(draft.store, key)
        request = read(Args(op, 2), model)
        _refuse_of_commands(request)
        draft.execute(key, model, request.inputs, request.outputs)

    return read_op


def _script_run(name: str, read: Callable[[Args], ScriptExecute]) -> Reader[Client]:
    def read_op(op: Sequence[Argument], draft: Draft[Client]) -> None:
        if len(op) < 3:  # noqa: PLR2004 - the operation, key and function
            raise too_few_arguments(name)
        key = bytes(op[1])
        script = stored_script(draft.store, key)
        request = read(Args(op, 2))
        _refuse_of_commands(request)
        call = script_call(draft.store, request)
        draft.execute(key, script, request.inputs, request.outputs, call)

    return read_op


def _refuse_of_commands(request: ModelExecute | ScriptExecute) -> None:
    """Refuses what only a command of its own may say."""
    if request.timeout_ms:
        raise CommandError(_NO_TIMEOUT)
    if request.storing != ALWAYS:
        raise CommandError(_NO_OPTIONS)


def _refused(line: str) -> Reader[Client]:
    def read_op(_: Sequence[Argument], __: Draft[Client]) -> None:
        raise CommandError(line)

    return read_op


_TENSOR_OPS: Final[dict[Argument, Reader[Client]]] = {
    b"AI.TENSORSET": _read_tensor_set,
    b"AI.TENSORGET": _read_tensor_get,
}
_OPS: Final[dict[Argument, Reader[Client]]] = {
    **_TENSOR_OPS,
    b"AI.MODELEXECUTE": _model_run("AI.MODELEXECUTE", 8, read_model_execute),
    b"AI.SCRIPTEXECUTE": _script_run("AI.SCRIPTEXECUTE", read_script_execute),
    b"AI.MODELRUN": _refused("Deprecated AI.MODELRUN cannot be used in AI.DAGEXECUTE command"),
    b"AI.SCRIPTRUN": _refused("Deprecated AI.SCRIPTRUN cannot be used in AI.DAGEXECUTE command"),
}
_READ_ONLY_OPS: Final[dict[Argument, Reader[Client]]] = {
    **_OPS,
    b"AI.SCRIPTEXECUTE": _refused(
        "ERR AI.SCRIPTEXECUTE command cannot be specified in a read-only DAG"
    ),
}
_DEPRECATED_OPS: Final[dict[Argument, Reader[Client]]] = {
    **_TENSOR_OPS,
    b"AI.MODELRUN": _model_run("AI.MODELRUN", 6, read_model_run),
    b"AI.SCRIPTRUN": _script_run("AI.SCRIPTRUN", read_script_run),
    b"AI.MODELEXECUTE": _refused(
        "AI.MODELEXECUTE cannot be used in a deprecated AI.DAGRUN command"
    ),
    b"AI.SCRIPTEXECUTE": _refused(
        "AI.SCRIPTEXECUTE cannot be used in a deprecated AI.DAGRUN command"
    ),
}

_DAGEXECUTE: Final = Dialect(
    name="ai.dagexecute",
    arity="ERR missing arguments for 'AI.DAGEXECUTE' command",
    at_least=5,
    read_only=False,
    needs_key_option=True,
    load=stored_tensor,
    readers=_OPS,
)
_DAGEXECUTE_RO: Final = Dialect(
    name="ai.dagexecute_ro",
    arity="ERR missing arguments for 'AI.DAGEXECUTE_RO' command",
    at_least=5,
    read_only=True,
    needs_key_option=True,
    load=stored_tensor,
    readers=_READ_ONLY_OPS,
)
_DAGRUN: Final = Dialect(
    name="ai.dagrun",
    arity="ERR wrong number of arguments for 'AI.DAGRUN' command",
    at_least=3,
    read_only=False,
    needs_key_option=False,
    load=stored_tensor,
    readers=_DEPRECATED_OPS,
)
_DAGRUN_RO: Final = Dialect(
    name="ai.dagrun_ro",
    arity="ERR wrong number of arguments for 'AI.DAGRUN_RO' command",
    at_least=3,
    read_only=True,
    needs_key_option=False,
    load=stored_tensor,
    readers=_DEPRECATED_OPS,
)


# --------------------------------------------------------------------------- the commands
def check_arity(dialect: Dialect[Client], args: Args) -> Args:
    """Parses no more than the number of arguments: what they say hangs on what is stored."""
    if len(args) < dialect.at_least:
        raise CommandError(dialect.arity)
    return args


def run_dag(dialect: Dialect[Client], client: Client, args: Args) -> Reply | Later:
    """Runs a DAG and stores what it was asked to."""
    if len(args) < LONG_REQUEST:
        return _run(dialect, client, args, {})
    running: Later | None = None
    abandoned = False

    def abandon() -> None:
        nonlocal abandoned
        abandoned = True
        if running is not None:
            running.abandon()

    later = Later(abandon)

    def begin(result: Callable[[], dict[Place, Ready]]) -> None:
        nonlocal running
        if abandoned:
            return
        try:
            reply = _run(dialect, client, args, result())
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            reply = error_reply(error)
        let_go(args)
        if not isinstance(reply, Later):
            made = reply
            later.resolve(lambda: made)
        elif reply.resolved:
            later.resolve(reply.finish)
        else:
            running = reply
            reply.then(partial(later.resolve, reply.finish))

    in_steps(client.server.engine.soon, _read_ahead(args, client.server.most_bytes), begin)
    return later


def _read_ahead(args: Args, max_bytes: int) -> Generator[None, None, dict[Place, Ready]]:
    """Reads the tensors that a DAG brings, in steps, before anything stored is looked at.

    What else is in the DAG may be wrong, and then comes to nothing.
    """
    found: dict[Place, Ready] = {}
    items = [*args.items, SEPARATOR]
    end = items.index(SEPARATOR)
    yield
    while end < len(items) - 1:
        begin, end = end + 1, items.index(SEPARATOR, end + 1)
        if end - begin < 4 or keyword(items[begin]) != b"AI.TENSORSET":  # noqa: PLR2004 - as below
            continue
        try:
            op = Args(items[begin:end], 2)
            tensor = yield from read_tensor_in_steps(op, max_bytes)
            _refuse_options(op)
        except Exception as error:  # noqa: BLE001 - raised when it is the first
            found[end, end - begin] = partial(_raise, error)
        else:
            found[end, end - begin] = partial(_same, tensor)
        yield
    return found


def _raise(error: Exception) -> Tensor:
    raise error


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _run(
    dialect: Dialect[Client], client: Client, args: Args, ready: Mapping[Place, Ready]
) -> Reply | Later:
    plan = client.dags.recall(args.items, client.keys.get)
    if plan is None:
        plan, origins = read_dag(args, dialect, client, ready)
        client.dags.note(args.items, plan, origins)
    engine = client.server.engine
    expires_at = engine.time() + plan.timeout_ms / 1000 if plan.timeout_ms > 0 else None
    run = GraphRun(plan.graph, plan.given, expires_at)
    return run_graph(engine, run, lambda: _answer(client, plan, run))


def _answer(client: Client, plan: Plan, run: GraphRun) -> Reply:
    """Stores what is to be stored, and makes one element per operation."""
    elements: list[Reply] = [OK] * plan.size
    for place, slot, form in plan.shown:
        elements[place] = _shown(run.values[slot], form)
    if run.failed:
        for operation, place in enumerate(plan.ran):
            elements[place] = _outcome(run, operation)
    elif plan.persisted:
        stored = _persist(client, plan, run)
        if stored is not OK:
            elements.append(stored)
    return elements


def _shown(tensor: Tensor | None, form: Form) -> Reply:
    return NOT_AVAILABLE if tensor is None else show_tensor(tensor, form)


def _outcome(run: GraphRun, operation: int) -> Reply:
    if run.ran[operation]:
        return OK
    error = run.errors[operation]
    return NOT_AVAILABLE if error is None else error_reply(error)


def _persist(client: Client, plan: Plan, run: GraphRun) -> Reply:
    """Stores all that PERSIST names, or none; returns OK, or what is told instead."""
    tensors = [(key, cast("Tensor", run.values[slot])) for key, slot in plan.persisted]
    try:
        return store_tensors(client, tensors, plan.storing)
    except (TensorkeepError, CommandError) as error:
        return error_reply(error)


def keys_of_dag(request: Sequence[Argument]) -> list[Argument]:
    """Returns the keys of LOAD, PERSIST and ROUTING, and those of models and scripts.

    Nothing when a list cannot be followed, or ends the request.
    """
    keys: list[Argument] = []
    at = 1
    while at < len(request):
        word = keyword(request[at])
        at += 1
        if word in {b"LOAD", b"PERSIST"}:
            count = parse_integer(request[at]) if at < len(request) else None
            if count is None or not 0 < count < len(request) - at - 1:
                return []
            keys += request[at + 1 : at + 1 + count]
            at += 1 + count
        elif word in {b"ROUTING", b"AI.MODELEXECUTE", b"AI.SCRIPTEXECUTE"}:
            keys += request[at : at + 1]
            at += 1
    return keys


_READING: Final = "[LOAD count key ...] [ROUTING tag] [TIMEOUT ms] |> op [|> op ...]"
_WRITING: Final = _READING.replace(
    "[ROUTING", f"[PERSIST count key ... {SYNTAX_OF_STORING}] [ROUTING"
)


_OF_DAGS: Final = (
    Difference(
        "Any number of operations, and of keys behind LOAD and PERSIST.",
        "At most 10,000 of each; beyond that an error.",
        "A DAG of 100,000 operations kept all other clients waiting for half a second.",
    ),
    Difference(
        "DAGs on several devices whose batches differ in shape may wait for each other for ever.",
        "They do not.",
        "A lock is not given back there; here there is none.",
    ),
)
_OF_PERSISTING: Final = (
    OF_OPTIONS,
    Difference(
        "If a key of PERSIST holds something else, those before it are stored, those behind not.",
        "None is stored. The reply is the same, with one more element for the error.",
        "All or nothing can be repeated.",
    ),
)


def _command(name: str, dialect: Dialect[Client], summary: str) -> Command:
    return command(
        name,
        partial(check_arity, dialect),
        partial(run_dag, dialect),
        summary=summary,
        group="module",
        flags=(*((READONLY,) if dialect.read_only else (WRITE, DENYOOM)), MODULE, MOVABLE),
        keys=keys_of_dag,
        categories=("run",),
        wanted=wanted.dag,
        access=access.dag,
        inner=access.commands_in_dag,
        shown_keys=(3, 3, 1),
        syntax=_READING if dialect.read_only else _WRITING,
        runs=True,
        differences=(*_OF_DAGS, *(() if dialect.read_only else _OF_PERSISTING), *OF_RUNS),
    )


COMMANDS: Final[tuple[Command, ...]] = (
    _command(
        "ai.dagexecute",
        _DAGEXECUTE,
        "Does AI.TENSORSET, AI.TENSORGET, AI.MODELEXECUTE and AI.SCRIPTEXECUTE as one request.",
    ),
    _command(
        "ai.dagexecute_ro",
        _DAGEXECUTE_RO,
        "Does AI.TENSORSET, AI.TENSORGET and AI.MODELEXECUTE as one request that stores nothing.",
    ),
    _command(
        "ai.dagrun",
        _DAGRUN,
        "Does AI.TENSORSET, AI.TENSORGET, AI.MODELRUN and AI.SCRIPTRUN as one request."
        " Deprecated: use AI.DAGEXECUTE.",
    ),
    _command(
        "ai.dagrun_ro",
        _DAGRUN_RO,
        "Does what AI.DAGRUN does, as one request that stores nothing."
        " Deprecated: use AI.DAGEXECUTE_RO.",
    ),
)
