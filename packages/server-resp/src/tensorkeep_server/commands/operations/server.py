"""Commands about the server as a whole: SAVE, SHUTDOWN and TIME."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.commands.args import SYNTAX
from tensorkeep.commands.command import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    Command,
    Difference,
    command,
    nothing,
)
from tensorkeep.commands.errors import CommandError
from tensorkeep_server.later import Later

if TYPE_CHECKING:
    from tensorkeep.commands.args import Args
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client


_NOTHING_SAVED: Final = "ERR nothing was saved: this server keeps its data in memory only"


# --------------------------------------------------------------------------- SAVE
def save(_client: Client, _request: None) -> Reply:
    """Says that there is no storage: an OK would let somebody rely on what was not written."""
    raise CommandError(_NOTHING_SAVED)


# --------------------------------------------------------------------------- SHUTDOWN
class Shutdown(NamedTuple):
    """SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT].

    Attributes:
        now: Whether running work is not waited for.
        abort: Whether the server is asked not to end after all.
        save: Whether all data is to be written before, or the server not to end.
    """

    now: bool
    abort: bool
    save: bool


def parse_shutdown(args: Args) -> Shutdown:
    """Parses SHUTDOWN."""
    words = set()
    while len(args):
        words.add(args.take_keyword())
    if words - {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"}:
        raise CommandError(SYNTAX)
    if {b"NOSAVE", b"SAVE"} <= words or (b"ABORT" in words and len(words) > 1):
        raise CommandError(SYNTAX)
    save = b"SAVE" in words and b"FORCE" not in words
    return Shutdown(now=b"NOW" in words, abort=b"ABORT" in words, save=save)


def shutdown(client: Client, request: Shutdown) -> Later:
    """Ends the server; there is no reply, the connection is closed."""
    if request.abort:
        # While the server ends, no command is waited for that could be answered.
        raise CommandError("ERR No shutdown in progress.")
    if request.save:
        raise CommandError(_NOTHING_SAVED)
    client.server.shut_down(not request.now)
    return Later()


# --------------------------------------------------------------------------- TIME
def time_(_client: Client, _request: None) -> Reply:
    """Returns the time: seconds, and microseconds of the second."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return (b"%d" % seconds, b"%d" % (nanoseconds // 1000))


COMMANDS: Final[tuple[Command, ...]] = (
    command(
        "save",
        nothing,
        save,
        summary="Is refused: there is no storage yet.",
        differences=(
            Difference(
                "Writes all data to disk.",
                "Refuses.",
                "There is no storage yet, and an OK would let somebody rely on it.",
            ),
        ),
        group="server",
        arity=1,
        flags=(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI),
    ),
    command(
        "time",
        nothing,
        time_,
        summary="Returns the server's time in seconds and microseconds.",
        group="server",
        arity=1,
        flags=(LOADING, STALE, FAST),
        since="2.6.0",
        tips=("nondeterministic_output",),
    ),
    command(
        "shutdown",
        parse_shutdown,
        shutdown,
        summary="Ends the server after running work, or with NOW at once.",
        group="server",
        flags=(ADMIN, NOSCRIPT, LOADING, STALE, NO_MULTI, ALLOW_BUSY),
        syntax="[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        differences=(
            Difference(
                "SAVE writes all data to disk before.",
                "SAVE is refused, and the server stays; with FORCE it ends.",
                "As Redis does when it cannot write: who asks for SAVE must learn of it.",
            ),
            Difference(
                "Ends at once: who waits for a run loses the connection without a reply.",
                "What runs may end within `--shutdown-grace`; what is not done by then is answered"
                " `ERR the server is shutting down`.",
                "Who waits should learn what became of the run.",
            ),
        ),
    ),
)
