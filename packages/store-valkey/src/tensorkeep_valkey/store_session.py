"""A client's session: its values are read and written over connections that clients share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from tensorkeep.commands.wanted import Wanted
from tensorkeep.errors import StoreError, TensorkeepError
from tensorkeep.model import Model, Script
from tensorkeep.store import Record
from tensorkeep_valkey.built_models import Place
from tensorkeep_valkey.reads import (
    UNCLEAR,
    Storing,
    decode_reads,
    decode_whole,
    encode_reads,
    encode_whole,
)
from tensorkeep_valkey.record_layout import StoredRecord
from tensorkeep_valkey.session import RelaySession, raising
from tensorkeep_valkey.values import DROPPED, StoredValues
from tensorkeep_valkey.writes import decode_writes, encode_writes, is_refused, knows_no_script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.model import Runnable
    from tensorkeep.store import Downstream, Result, Step, Values
    from tensorkeep.tensor import Blob
    from tensorkeep_valkey.known_models import KnownModels
    from tensorkeep_valkey.shared_connection import Reply
    from tensorkeep_valkey.shared_connections import SharedConnections
    from tensorkeep_valkey.upstream import Upstream
    from tensorkeep_valkey.writes import Writing

_NOT_BUILT: Final = StoreError("ERR what is stored under this key is not built in a transaction")


class StoreSession(RelaySession):
    """See `tensorkeep.store.Session`.

    Args:
        upstream: The engine.
        shared: The connections that clients share.
        downstream: The client.
        database: Number of the database that it begins in.
        known: The models and scripts that are built.
    """

    def __init__(
        self,
        upstream: Upstream,
        shared: SharedConnections,
        downstream: Downstream,
        database: int,
        known: KnownModels,
    ) -> None:
        super().__init__(upstream, shared, downstream, database)
        self._known = known
        self._beside = True  # the user may store under keys beside others, as far as is known

    # ------------------------------------------------------------------ reading
    def values(self) -> Values:
        """Returns values of which none was read, to take changes."""
        return StoredValues()

    def read(self, wanted: Sequence[Wanted], done: Callable[[Result[Values]], None]) -> None:
        """Reads values; builds models that are not built yet."""
        distinct, requests = encode_reads(wanted)
        if not requests:
            done(StoredValues)
            return
        database = self.database

        def came(replies: list[Reply]) -> None:
            found = decode_reads(distinct, replies)
            if self._completes(database, found):
                done(StoredValues(found).itself)
            else:
                _Completion(self, database, found, done).begin()

        self.exchange(requests, came, again=True)

    def built(self, key: bytes) -> Runnable | None:
        """Returns what is built of the model or script that a key was last seen to hold."""
        return self._known.at(Place(self.database, key))

    def _completes(self, database: int, found: dict[Wanted, Any]) -> bool:
        """Puts what is built in its place, and returns whether nothing else is missing."""
        complete = True
        for wanted, value in found.items():
            if type(value) is Storing:
                runnable = self._known.find(Place(database, wanted.key), value.id)
                if runnable is not None:
                    found[wanted] = runnable
                    continue
            elif value is not UNCLEAR and type(value) is not StoredRecord:
                continue
            complete = False
        return complete

    def complete(
        self,
        place: Place,
        kind: type,
        value: object,
        done: Callable[[object | None], None],
    ) -> None:
        """Makes what a command is given of what was read of a model or script.

        Args:
            place: Where it is.
            kind: What was wanted there.
            value: What was read.
            done: Takes it, or an error; perhaps at once, and not after `close`.
        """
        if value is UNCLEAR:
            self._read_again(place, kind, done)
            return
        if not isinstance(value, (Storing, StoredRecord)):
            done(value)
            return
        runnable = self._known.find(place, value.id)
        if isinstance(value, StoredRecord):
            if value.content is not None or runnable is not None:
                done(_record(value, runnable))
                return
            self.exchange(
                encode_whole(place.key),
                lambda replies: done(_whole_record(place.key, replies)),
                again=True,
            )
        elif runnable is not None:
            done(runnable)
        else:
            self._known.build(place, value, lambda outcome: None if self._closed else done(outcome))

    def _read_again(self, place: Place, kind: type, done: Callable[[object | None], None]) -> None:
        """Reads what was unclear, and whether there is anything, one right behind the other."""
        distinct, requests = encode_reads([Wanted(place.key, kind)], whole=True)

        def came(replies: list[Reply]) -> None:
            (value,) = decode_reads(distinct, replies, whole=True).values()
            self.complete(place, kind, value, done)

        self.exchange(requests, came, again=True)

    # ------------------------------------------------------------------ writing
    def write(self, values: Values, done: Callable[[Result[None]], None]) -> None:
        """Makes all changes that were made to values, or none."""
        changes = cast("StoredValues", values).changes
        if not changes:
            done(_nothing)
            return
        self._write(self.database, cast("StoredValues", values), done, beside=self._beside)

    def _write(
        self,
        database: int,
        values: StoredValues,
        done: Callable[[Result[None]], None],
        *,
        beside: bool,
    ) -> None:
        """Makes changes; once more without keys beside theirs, if the user may not have such."""
        try:
            writing = encode_writes(values.changes, beside=beside)
        except StoreError as error:
            done(raising(error))
            return
        connection = self.share()

        def finish(replies: list[Reply]) -> None:
            if beside and not self._closed and is_refused(writing, replies):
                self._beside = False
                self._write(database, values, done, beside=False)
                return
            result = self._written(database, values, writing, replies)
            if not self._closed:
                done(result)

        def came(replies: list[Reply]) -> None:
            if knows_no_script(replies):
                connection.exchange(
                    writing.whole_script, lambda last: finish([*replies[:-1], *last])
                )
            else:
                finish(replies)

        # Also when the client goes away: what is stored is to be known.
        connection.exchange(writing.requests, came)

    def _written(
        self, database: int, values: StoredValues, writing: Writing, replies: Sequence[Reply]
    ) -> Result[None]:
        """Notes what was changed."""
        try:
            decode_writes(writing.keys, replies)
        except TensorkeepError as error:
            return raising(error.with_traceback(None))
        for key, (identity, runnable) in writing.stored.items():
            self._known.note(Place(database, key), identity, runnable)
        for key, change in values.changes.items():
            if change.value is DROPPED:
                self._known.forget(Place(database, key))
        return _nothing

    # ------------------------------------------------------------------ transactions
    def enqueue(self, step: Step, done: Callable[[Result[None]], None]) -> None:
        """Puts a command of the front end's own into the transaction that the client has begun."""
        values = StoredValues() if step.values is None else cast("StoredValues", step.values)
        distinct, requests = encode_reads(step.wanted, whole=True)
        reads = len(requests)
        writing: Writing | None = None
        if values.changes:
            try:
                writing = encode_writes(values.changes, whole_script=True, beside=False)
            except StoreError as error:
                refused = raising(error)
                self.spoil(lambda: done(refused))
                return
            requests += writing.requests

        def make(replies: list[Reply]) -> bytes:
            found = {
                wanted: self._at_hand(Place(self.database, wanted.key), value)
                for wanted, value in decode_reads(distinct, replies[:reads], whole=True).items()
            }
            read, written = StoredValues(found), _nothing
            if writing is not None:
                written = self._written(self.database, values, writing, replies[reads:])

            def result() -> Values:
                written()
                return read

            return step.make(result)

        self.queue(requests, make, done)

    def _at_hand(self, place: Place, value: object | None) -> object | None:
        """Returns what a command in a transaction is given of what was read."""
        if isinstance(value, Storing):
            return self._known.find(place, value.id) or _NOT_BUILT
        if isinstance(value, StoredRecord):
            return _record(value, None)
        return value


class _Completion:
    """What a command reads, until all of it is there."""

    def __init__(
        self,
        session: StoreSession,
        database: int,
        found: dict[Wanted, Any],
        done: Callable[[Result[Values]], None],
    ) -> None:
        self._session = session
        self._database = database
        self._found = found
        self._done = done
        self._left = 1

    def begin(self) -> None:
        """Completes what is not at hand."""
        for wanted, value in tuple(self._found.items()):
            if value is UNCLEAR or type(value) is Storing or type(value) is StoredRecord:
                self._left += 1
                place = Place(self._database, wanted.key)
                self._session.complete(place, wanted.kind, value, partial(self._got, wanted))
        self._end()

    def _got(self, wanted: Wanted, value: object | None) -> None:
        self._found[wanted] = value
        self._end()

    def _end(self) -> None:
        self._left -= 1
        if not self._left:
            values = StoredValues(self._found)
            self._done(lambda: values)


def _whole_record(key: bytes, replies: Sequence[Reply]) -> object | None:
    """Returns the record of a model or script, None if it is gone, or an error."""
    try:
        found = decode_whole(key, replies)
    except TensorkeepError as error:
        return error.with_traceback(None)
    return None if found is None else _record(found, None)


def _record(stored: StoredRecord, runnable: Runnable | None) -> Record:
    """Returns the record of a model or script, whose content may be at hand with what is built."""
    content: Sequence[Blob] = stored.content or ()
    if stored.content is None and isinstance(runnable, Model):
        content = (runnable.blob,)
    elif stored.content is None and isinstance(runnable, Script):
        content = (runnable.source,)
    return Record(stored.spec, stored.inputs, stored.outputs, content)


def _nothing() -> None:
    """Stands for what went well and returns nothing."""
