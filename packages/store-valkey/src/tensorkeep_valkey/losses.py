"""The errors of an engine that is not there, or was lost: each says whether anything was done."""

from __future__ import annotations

from tensorkeep.errors import StoreError


class Unreachable(StoreError):
    """The engine cannot be reached, so nothing was done.

    Clients take its code word for that of a server which will soon be there, and try again.
    """

    def __init__(self, shown: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"LOADING the engine at {shown} cannot be reached, nothing was done: {why}"
        )


class Untrusted(Unreachable):
    """TLS is not spoken there, or not by whom we trust: waiting does not help."""


class Refuses(StoreError):
    """The engine is there, but refuses what a connection begins with, such as a password."""


class Lost(StoreError):
    """The connection was lost, or the engine took too long, with requests on their way."""

    def __init__(self, shown: str, why: str) -> None:
        super().__init__(
            f"ERR the connection to the engine at {shown} was lost; the command may have been"
            f" done: {why}"
        )


def ended_by(error: Exception | None) -> str:
    """Returns why a connection ended, for people; an event loop names no error if it was closed."""
    return "the engine closed it" if error is None else (str(error) or type(error).__name__)
