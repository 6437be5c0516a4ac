"""A reply that is not there yet: what a command returns when its work goes on elsewhere."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from tensorkeep_server.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tensorkeep.commands.reply import Reply

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


def _no_reply() -> Reply:
    raise AssertionError("a reply is made once, after the work is done")


class Later:
    """A reply to come. The client's next commands wait for it, other clients do not.

    It comes in two steps, so that a transaction can wait for the first and put the second in its
    place among its commands: work elsewhere that changes nothing that clients see, and then the
    making of the reply, in which what is to change does.

    Args:
        abandon: Ends the work, called when the client went away. Without it the work goes on, and
            what it was for is done although nobody waits for the reply.

    Attributes:
        ended: Called with the reply once it was made, None for nothing.
        resolved: Whether the work is done.
    """

    __slots__ = ("_abandon", "_listener", "_make", "ended", "resolved")

    def __init__(self, abandon: Callable[[], None] | None = None) -> None:
        self.ended: Callable[[Reply], object] | None = None
        self._abandon = abandon
        self._listener: Callable[[], object] | None = None
        self._make = _no_reply
        self.resolved = False

    def resolve(self, make: Callable[[], Reply]) -> None:
        """Says that the work is done.

        Args:
            make: Makes the reply, and the changes that go with it. Called once or, when nobody
                wants the reply any more, never; what it raises becomes an error reply.
        """
        self._make = make
        self.resolved = True
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                listener()
            except Exception:  # noqa: BLE001 - logged; whoever did the work has others to tell
                _log.exception("a reply that was to come went wrong")

    def then(self, listener: Callable[[], object]) -> None:
        """Sets who is told once the work is done; it is not done yet."""
        self._listener = listener

    def finish(self) -> Reply:
        """Makes the reply, once the work is done."""
        make, self._make = self._make, _no_reply
        self._abandon = None  # it may refer to whoever has this reply
        try:
            reply = make()
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            reply = error_reply(error)
        self._end(reply)
        return reply

    def _end(self, reply: Reply) -> None:
        ended, self.ended = self.ended, None
        if ended is not None:
            try:
                ended(reply)
            except Exception:  # noqa: BLE001 - logged; the reply is there all the same
                _log.exception("the end of a command was not noted")

    @property
    def can_be_abandoned(self) -> bool:
        """Whether the work is of no use to anybody when the client has gone away."""
        return self._abandon is not None

    def abandon(self) -> None:
        """Lets go of the reply: nobody waits for it any more."""
        if self._abandon is None:
            self._listener = self.finish
        else:
            self._listener = None
            self._abandon()


def in_steps(
    soon: Callable[[Callable[[], None]], object],
    steps: Generator[None, None, _T],
    done: Callable[[Callable[[], _T]], None],
) -> None:
    """Does work step by step, each in a turn of the loop of its own.

    Args:
        soon: Calls back in the loop's next turn.
        steps: The work; what it returns or raises is its result.
        done: Called when it is done, with what returns the result or raises the error.
    """

    def go() -> None:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            done(lambda: result)
        except Exception as error:  # noqa: BLE001 - raised again by whoever wants the result
            failure = error
            done(lambda: _raise(failure))
        else:
            soon(go)

    soon(go)


def _raise(error: Exception) -> Any:  # noqa: ANN401 - stands for any result
    raise error
