"""AI.TENSORSET and AI.TENSORGET, and what every other command shares of stored tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.command import (
    DENYOOM,
    MODULE,
    READONLY,
    WRITE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.reply import OK
from tensorkeep.commands.set_options import SYNTAX_OF_STORING, read_options
from tensorkeep.errors import NotStored
from tensorkeep.leftovers import leave
from tensorkeep.store import NEW
from tensorkeep.tensor import Tensor
from tensorkeep_server.commands.ai import wanted
from tensorkeep_server.later import Later, in_steps
from tensorkeep_server.memory_room import check_value
from tensorkeep_server.wire_tensor import (
    LONG_REQUEST,
    read_form,
    read_tensor,
    read_tensor_in_steps,
    show_tensor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.commands.args import Args, Argument
    from tensorkeep.commands.reply import Reply
    from tensorkeep.commands.set_options import Storing
    from tensorkeep_server.state import Client


# --------------------------------------------------------------------------- AI.TENSORSET
class TensorSet(NamedTuple):
    """AI.TENSORSET key type [dim…] [BLOB data | VALUES v…] [option…].

    What follows the key is read only after the key was looked at: a key of another type wins over
    every other mistake.
    """

    key: bytes
    content: Args


def parse_tensor_set(args: Args) -> TensorSet:
    """Parses the key."""
    if len(args) < 3:  # noqa: PLR2004 - key, type, and a size or data
        raise args.wrong_arity()
    return TensorSet(args.take(), args)


def tensor_set(client: Client, request: TensorSet) -> Reply | Later:
    """Stores a tensor, replacing a tensor and its expiry."""
    key, content = request
    client.keys.expect(key, Tensor)
    later = prepare_tensor_set(client, request)
    if later is not None:
        return later
    tensor = read_tensor(content, client.server.most_bytes)
    if client.server.memory.limit:
        check_value(client, tensor.nbytes)
    if content.at == len(content.items):
        client.keys.set(key, tensor, event=NEW)
        return OK
    return store_tensors(client, ((key, tensor),), _read_storing(content))


def prepare_tensor_set(client: Client, request: TensorSet) -> Later | None:
    """Begins to read a tensor that brings many values; None if it does not."""
    content = request.content
    if len(content) < LONG_REQUEST:
        return None
    later = Later()

    def done(result: Callable[[], Tensor]) -> None:
        def store() -> Reply:
            client.keys.expect(request.key, Tensor)  # it may be another one now
            try:
                tensor, storing = result(), _read_storing(content)
            finally:
                let_go(content)
            check_value(client, tensor.nbytes)
            return store_tensors(client, ((request.key, tensor),), storing)

        later.resolve(store)

    in_steps(
        client.server.engine.soon, read_tensor_in_steps(content, client.server.most_bytes), done
    )
    return later


def let_go(args: Args) -> None:
    """Has the arguments of a request that was done freed bit by bit, if they are many."""
    if isinstance(args.items, list):
        leave(args.items)


def _read_storing(content: Args) -> Storing:
    options = read_options(content)
    content.end()
    return options.storing("ai.tensorset")


# --------------------------------------------------------------------------- AI.TENSORGET
class TensorGet(NamedTuple):
    """AI.TENSORGET key [META] [BLOB | VALUES]; the words are judged after the key."""

    key: bytes
    words: Sequence[Argument]


def parse_tensor_get(args: Args) -> TensorGet:
    """Parses the key, and keeps the words."""
    if not 1 <= len(args) <= 3:  # noqa: PLR2004 - key and two words
        raise args.wrong_arity()
    return TensorGet(args.take(), args.items[args.at :])


def tensor_get(client: Client, request: TensorGet) -> Reply:
    """Returns a stored tensor in the form that the words ask for."""
    return show_tensor(stored_tensor(client, request.key), read_form(request.words))


# --------------------------------------------------------------------------- for other commands
def store_tensors(
    client: Client, tensors: Sequence[tuple[bytes, Tensor]], storing: Storing
) -> Reply:
    """Stores all of some tensors, or none.

    Args:
        client: In whose database.
        tensors: Each with its key; of those with one key the last one stays.
        storing: On what terms.

    Returns:
        OK, or nothing if a key is not as it must be for that.

    Raises:
        WrongType: A key holds something that is no tensor.
        CommandError: There is no memory left for them.
    """
    keys = client.keys
    for key, _ in tensors:
        keys.expect(key, Tensor)
    if client.server.memory.limit:
        check_value(client, _more(client, tensors))
    try:
        if storing.present is not None:
            for key, _ in tensors:
                keys.expect(key, Tensor, present=storing.present)
    except NotStored:
        return None
    for key, tensor in tensors:
        keys.set_for(key, tensor, storing.lifetime, NEW)
    return OK


def _more(client: Client, tensors: Sequence[tuple[bytes, Tensor]]) -> int:
    """Returns how many bytes more tensors have than those that they replace, at least 0."""
    replaced = (client.keys.get(key) for key in {key for key, _ in tensors})
    before = sum(each.nbytes for each in replaced if isinstance(each, Tensor))
    return max(sum(tensor.nbytes for _, tensor in tensors) - before, 0)


def stored_tensor(client: Client, key: bytes) -> Tensor:
    """Returns the tensor under a key of the client's database.

    Raises:
        KeyMissing: There is no such key.
        WrongType: It holds something else.
    """
    return client.keys.typed(key, Tensor)


OF_OPTIONS: Final = Difference(
    "What is stored stays until it is deleted or told to expire, and replaces what is there.",
    "`EX`, `PX`, `EXAT`, `PXAT`, `KEEPTTL`, `NX` and `XX`, as SET has them, behind the data of"
    " `AI.TENSORSET`, the OUTPUTS of `AI.MODELEXECUTE` and `AI.SCRIPTEXECUTE`, and the keys of"
    " PERSIST. See [scratch tensors](scratch.md).",
    "A tensor for one moment would be forgotten in memory; a second command to let it expire"
    " may never come. Requests with these words are errors there.",
)
_OF_TENSORS: Final = (
    Difference(
        "Has ten types of elements.",
        "Also `FLOAT16`, `BFLOAT16`, `UINT32` and `UINT64`, here and in operations of DAGs.",
        "Models take and return them.",
    ),
)

COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "ai.tensorset",
        parse_tensor_set,
        tensor_set,
        summary="Stores a tensor.",
        group="module",
        flags=(WRITE, DENYOOM, MODULE),
        categories=("tensor",),
        keys=(1, 1, 1),
        syntax=f"key type [dim ...] [BLOB data | VALUES value ...] {SYNTAX_OF_STORING}",
        prepare=prepare_tensor_set,
        differences=(
            *_OF_TENSORS,
            OF_OPTIONS,
            Difference(
                "Refuses negative VALUES of `INT8`, `INT16`, `INT32` and `INT64`.",
                "Takes them.",
                "They can be stored through BLOB there, and are shown.",
            ),
            Difference(
                "Refuses an empty string among VALUES.",
                "Takes it.",
                "It can be stored through BLOB there, and is shown.",
            ),
            Difference(
                "Does not look at the last byte of a `BOOL` blob.",
                "Looks at each.",
                "What is neither 0 nor 1 must not be stored as a `BOOL`.",
            ),
            Difference(
                "A shape too large for the memory, without data, ends the server.",
                "An error, as for other shapes that cannot be; the most is `--max-argument-bytes`.",
                "No request may end the server.",
            ),
        ),
    ),
    command(
        "ai.tensorget",
        parse_tensor_get,
        tensor_get,
        summary="Returns a stored tensor.",
        wanted=wanted.tensor,
        group="module",
        flags=(READONLY, MODULE),
        categories=("tensor",),
        keys=(1, 1, 1),
        syntax="key [META] [BLOB | VALUES]",
        differences=_OF_TENSORS,
    ),
)
