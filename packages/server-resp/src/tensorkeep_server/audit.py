"""The audit log: who stored, deleted or ran what, and what was refused; one JSON object a line.

Passwords, tensors and models are in none of them: of a request there are the command and its keys.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from tensorkeep.commands.args import text
from tensorkeep.commands.command import ADMIN, MODULE, TO_CHANGE, WRITE
from tensorkeep.commands.keys import access_of
from tensorkeep.commands.reply import Error
from tensorkeep.rights.categories import categories_of
from tensorkeep_server.secret_words import without_quotes, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tensorkeep.commands.args import Request
    from tensorkeep.commands.command import Command
    from tensorkeep.commands.reply import Reply
    from tensorkeep_server.state import Client

_log = logging.getLogger(__name__)

_MOST_KEYS: Final = 64  # of one request
_LONGEST: Final = 256  # characters of a key, and of a reason: an error may repeat a whole argument


def is_audited(command: Command) -> bool:
    """Returns whether the log tells of a command.

    It does of AI commands that change or run something, and of those that administrate the server
    or are dangerous.
    """
    if MODULE in command.flags and (WRITE in command.flags or command.runs):
        return True
    return ADMIN in command.flags or "dangerous" in categories_of(command)


class AuditLog:
    """Appends to a file what is noted; a file that was moved away is made anew.

    Args:
        path: The file.
        soon: Calls back in the loop's next turn: the lines of a turn are written together.
        may_warn: Whether a warning of some kind is to be logged, which could come very often.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        soon: Callable[[Callable[[], None]], object],
        may_warn: Callable[[str], bool],
    ) -> None:
        self._path = path
        self._soon = soon
        self._may_warn = may_warn
        self._lines: list[str] = []
        self._file = _open(path)

    def noting(
        self, client: Client, command: Command, request: Request, *, user: bytes
    ) -> Callable[[Reply], None]:
        """Returns what notes the reply to a request, when it is there; it keeps no blob till then.

        Args:
            client: Who sent it.
            command: The command, or the subcommand.
            request: The whole request.
            user: The name of the user that the client is.
        """
        if not is_audited(command):
            return _nothing
        keys: dict[str, list[str]] = {}
        for key, access in islice(access_of(command, request), _MOST_KEYS):
            keys.setdefault("changes" if access & TO_CHANGE else "reads", []).append(_shown(key))
        what: dict[str, object] = {"command": command.full_name, **keys}
        has_secrets = without_secrets(command, request) is not request

        def note(reply: Reply) -> None:
            error = _first_error(reply)
            what["outcome"] = "ok" if error is None else "error"
            if error is not None:
                error = without_quotes(error) if has_secrets else error
                what["reason"] = error[:_LONGEST]
            self._add(client, user, what)

        return note

    def refused(self, client: Client, what: str, reason: str, *, user: bytes) -> None:
        """Notes what was not allowed.

        Args:
            client: Who asked for it.
            what: The command that was asked for.
            reason: Why it was not allowed.
            user: The name of the user that the client is, or says that it is.
        """
        self._add(client, user, {"command": what, "outcome": "refused", "reason": reason})

    def let_in(self, client: Client, what: str) -> None:
        """Notes that a client was let in as its user.

        Args:
            client: The client.
            what: The command by which it was, empty if it was by a certificate.
        """
        self._add(client, client.user.name, {"command": what, "outcome": "ok"})

    def _add(self, client: Client, user: bytes, what: dict[str, object]) -> None:
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
            "user": _shown(user),
            "client": client.address,
            "client_id": client.id,
            "database": client.database,
            **what,
        }
        if not self._lines:
            self._soon(self._write)
        self._lines.append(json.dumps(entry, ensure_ascii=True))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            if not _is_at(self._file, self._path):
                before, self._file = self._file, _open(self._path)
                os.close(before)
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            if self._may_warn("audit"):
                _log.error("the audit log %s cannot be written: %s", self._path, error.strerror)

    def close(self) -> None:
        """Writes what is left."""
        if self._lines:
            self._write()
        os.close(self._file)


def noting(client: Client, command: Command, request: Request) -> Callable[[Reply], None] | None:
    """Returns what notes the reply to a request; None if there is no audit log.

    Args:
        client: Who sent it.
        command: The command, or the subcommand.
        request: The whole request.
    """
    audit, session = client.server.audit, client.session
    if audit is None:
        return None
    user = client.user.name if session is None else session.user
    return audit.noting(client, command, request, user=user)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_at(descriptor: int, path: str) -> bool:
    """Returns whether an open file is still the one at a path."""
    try:
        there = os.stat(path)  # noqa: PTH116 - of a path that is opened by its name, too
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _nothing(_: Reply) -> None:
    """Notes nothing."""


def _first_error(reply: Reply) -> str | None:
    if type(reply) is Error:
        return reply.line
    parts: Iterable[Reply] = reply if isinstance(reply, list | tuple) else ()
    return next((each.line for each in parts if type(each) is Error), None)


def _shown(name: bytes | bytearray | memoryview) -> str:
    return text(bytes(name[:_LONGEST])).encode("utf-8", "backslashreplace").decode()
