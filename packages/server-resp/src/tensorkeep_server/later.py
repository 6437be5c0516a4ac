"""A reply that is not there yet: what a command returns when its work goes on elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorkeep_server.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep_server.reply import Reply


class Later:
    """A reply to come. The client's next commands wait for it, other clients do not.

    Args:
        abandon: Called when the client went away before the reply was there.
    """

    __slots__ = ("_abandon", "_listener", "reply", "resolved")

    def __init__(self, abandon: Callable[[], None] | None = None) -> None:
        self._abandon = abandon
        self._listener: Callable[[], None] | None = None
        self.reply: Reply = None
        self.resolved = False

    def resolve(self, make: Callable[[], Reply]) -> None:
        """Makes the reply; what `make` raises becomes an error reply."""
        try:
            self.reply = make()
        except Exception as error:  # noqa: BLE001 - the table names it, or logs it
            self.reply = error_reply(error)
        self.resolved = True
        if self._listener is not None:
            self._listener()

    def then(self, listener: Callable[[], None]) -> None:
        """Sets who is told once the reply is there; it is not there yet."""
        self._listener = listener

    def abandon(self) -> None:
        """Lets go of the reply: nobody waits for it any more."""
        self._listener = None
        if self._abandon is not None:
            self._abandon()
