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
from tensorkeep.leftovers import leave
from tensorkeep.store import NEW
from tensorkeep.tensor import Tensor
from tensorkeep_server.commands.ai import wanted
from tensorkeep_server.later import Later, in_steps
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
    from tensorkeep_server.state import Client


# --------------------------------------------------------------------------- AI.TENSORSET
class TensorSet(NamedTuple):
    """AI.TENSORSET key type [dim…] [BLOB data | VALUES v…].

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
    client.keys.expect(request.key, Tensor)
    later = prepare_tensor_set(client, request)
    if later is not None:
        return later
    return _store(client, request.key, read_tensor(request.content, client.server.most_bytes))


def prepare_tensor_set(client: Client, request: TensorSet) -> Later | None:
    """Begins to read a tensor that brings many values; None if it does not."""
    content = request.content
    if len(content) < LONG_REQUEST:
        return None
    later = Later()

    def done(result: Callable[[], Tensor]) -> None:
        def store() -> Reply:
            let_go(content)
            client.keys.expect(request.key, Tensor)  # it may be another one now
            return _store(client, request.key, result())

        later.resolve(store)

    in_steps(
        client.server.engine.soon, read_tensor_in_steps(content, client.server.most_bytes), done
    )
    return later


def let_go(args: Args) -> None:
    """Has the arguments of a request that was done freed bit by bit, if they are many."""
    if isinstance(args.items, list):
        leave(args.items)


def _store(client: Client, key: bytes, tensor: Tensor) -> Reply:
    client.keys.set(key, tensor, None, NEW)
    return OK


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
def stored_tensor(client: Client, key: bytes) -> Tensor:
    """Returns the tensor under a key of the client's database.

    Raises:
        KeyMissing: There is no such key.
        WrongType: It holds something else.
    """
    return client.keys.typed(key, Tensor)


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
        keys=(1, 1, 1),
        syntax="key type [dim ...] [BLOB data | VALUES value ...]",
        prepare=prepare_tensor_set,
        differences=(
            *_OF_TENSORS,
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
        keys=(1, 1, 1),
        syntax="key [META] [BLOB | VALUES]",
        differences=_OF_TENSORS,
    ),
)
