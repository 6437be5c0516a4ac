"""A reply that is not there yet: what a command returns when its work goes on elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep_server.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep_server.reply import Reply


class Later:
    """A reply to come. The client's next commands wait for it, other clients do not.

    It comes in two steps, so that a transaction can wait for the first and put the second in its
    place among its commands: work elsewhere that changes nothing that clients see, and then the
    making of the reply, in which what is to change does.

    Args:
        abandon: Called when the client went away before the work was done.

    Attributes:
        resolved: Whether the work is done.
    """

    __slots__ = ("_abandon", "_listener", "_make", "resolved")

    def __init__(self, abandon: Callable[[], None] | None = None) -> None:
        self._abandon = abandon
        self._listener: Callable[[], object] | None = None
        self._make: Callable[[], Reply] | None = None
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
            listener()

    def then(self, listener: Callable[[], object]) -> None:
        """Sets who is told once the work is done; it is not done yet."""
        self._listener = listener

    def finish(self) -> Reply:
        """Makes the reply, once the work is done."""
        make, self._make = self._make, None
        try:
            if make is None:
                raise AssertionError("there is no reply yet, or there was one")
            return make()
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            return error_reply(error)

    def abandon(self) -> None:
        """Lets go of the reply: nobody waits for it any more.

        If the work goes on nevertheless, what it was for is done in the end.
        """
        self._listener = self.finish
        if self._abandon is not None:
            self._abandon()
