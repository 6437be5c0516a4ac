"""INFO: what the operating system says of the process, and what `info` writes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import text
from tensorkeep.commands.command import (
    LOADING,
    STALE,
    Command,
    Difference,
    command,
)
from tensorkeep.commands.reply import Verbatim
from tensorkeep_server.info import info_text
from tensorkeep_server.memory_look import look
from tensorkeep_server.process import this_process

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client


def parse_info(args: Args) -> list[str]:
    """Parses INFO [section…]."""
    return [text(word).lower() for word in args.take_rest()]


def info(client: Client, words: list[str]) -> Reply:
    """Describes the server."""
    look(client.server)
    return Verbatim(info_text(words, client.server, this_process()))


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "info",
        parse_info,
        info,
        summary="Describes the server, in sections.",
        differences=(
            Difference(
                "`ai_TensorFlowLite_version` and `ai_Torch_version` are `NA`.",
                "The version.",
                "It is known.",
            ),
            Difference(
                "`ai_onnxruntime_memory` is what ONNX Runtime's allocator holds, and beside"
                " it stands how often it was asked.",
                "The bytes of the models' weights, and no such count.",
                "ONNX Runtime does not tell Python.",
            ),
            Difference(
                "Has many fields of what Redis does in C: allocator, persistence,"
                " replication, statistics of commands.",
                "Has those that mean something here, and beside them sections `backends` and"
                " `devices`.",
                "A made-up number is worse than none.",
            ),
        ),
        group="server",
        flags=(LOADING, STALE),
        syntax="[section ...]",
        categories=("dangerous",),
        tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    ),
)
