"""The models and scripts of the engine, as they are built in this process when they are needed."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep.errors import KeyMissing, TensorkeepError, WrongType
from tensorkeep.model import Script
from tensorkeep_valkey.built_models import BuiltModels, Place
from tensorkeep_valkey.reads import Storing, decode_whole, encode_whole
from tensorkeep_valkey.record_layout import ID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorkeep.engine import Engine
    from tensorkeep.model import Runnable
    from tensorkeep_valkey.built_models import Known
    from tensorkeep_valkey.record_layout import StoredRecord
    from tensorkeep_valkey.shared_connection import Reply, SharedConnection

Done: TypeAlias = "Callable[[Runnable | TensorkeepError], None]"
"""Takes what was built, or the error that came instead."""

_LOOK_EVERY: Final = 5.0  # seconds between two looks whether keys still hold what is built
_LOOK_AT: Final = 500  # keys in one look
_AGAIN_AFTER: Final = 5.0  # seconds after which what could not be built is tried again


class KnownModels:
    """Builds each model and script once, for all clients, and lets go of those without a key.

    Args:
        engine: Builds them.
        connect: Returns a connection to a database, with the rights of the server itself.
    """

    def __init__(self, engine: Engine, connect: Callable[[int], SharedConnection]) -> None:
        self._engine = engine
        self._connect = connect
        self._built = BuiltModels()
        self._waiting: dict[bytes, list[Done]] = {}
        self._failed: dict[bytes, tuple[float, TensorkeepError]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Returns how many are built."""
        return len(self._built)

    # ------------------------------------------------------------------ begin and end
    def start(self) -> None:
        """Begins to look, every few seconds, whether what is built is still stored."""
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

    def close(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ------------------------------------------------------------------ finding and building
    def find(self, place: Place, identity: bytes) -> Runnable | None:
        """Returns what is built of a storing, which a place was just seen to hold."""
        runnable = self._built.get(identity)
        if runnable is not None and not self._built.is_at(place, identity):
            self._put(place, identity, runnable)
            self._engine.catalog[place.key] = runnable  # it was renamed or copied
        return runnable

    def at(self, place: Place) -> Runnable | None:
        """Returns what is built of what a place was last seen to hold."""
        return self._built.at(place)

    def note(self, place: Place, identity: bytes, runnable: Runnable) -> None:
        """Hears what this server has stored: that need not be built."""
        self._put(place, identity, runnable)
        self._engine.enter(place.key, runnable)

    def forget(self, place: Place) -> None:
        """Hears that this server has removed a key."""
        self._retire(place, self._built.forget(place))

    def build(self, place: Place, storing: Storing, done: Done) -> None:
        """Builds what a place holds, or waits for others who have asked for the same.

        Args:
            place: Where it is.
            storing: What was seen there. If it is replaced meanwhile, the new one is built.
            done: Takes it, perhaps at once. Errors are `KeyMissing` and `WrongType` if it is gone
                by now, `StoreError`, and those of `Engine.create_model`.
        """
        identity = storing.id
        if identity in self._waiting:
            self._waiting[identity].append(done)
            return
        failed_at, error = self._failed.get(identity, (0.0, None))
        if error is not None and self._engine.time() - failed_at < _AGAIN_AFTER:
            done(error)
            return
        self._waiting[identity] = [done]
        fetched = partial(self._fetched, place, storing)
        self._connect(place.database).exchange(encode_whole(place.key), fetched)

    def _fetched(self, place: Place, storing: Storing, replies: Sequence[Reply]) -> None:
        try:
            record = decode_whole(place.key, replies)
            if record is None:
                raise KeyMissing(place.key, storing.kind)
            if record.kind is not storing.kind:
                raise WrongType(place.key)
        except TensorkeepError as error:
            self._tell(storing.id, error)
            return
        identity = record.id
        if identity != storing.id:  # it was replaced since
            known = self.find(place, identity)
            if known is not None:
                self._tell(storing.id, known)
                return
            waiting = self._waiting.pop(storing.id)
            if identity in self._waiting:
                self._waiting[identity] += waiting
                return
            self._waiting[identity] = waiting
        self._create(record, partial(self._created, place, identity))

    def _create(
        self, record: StoredRecord, created: Callable[[Any, TensorkeepError | None], None]
    ) -> None:
        engine, content = self._engine, record.content or ()
        spec: Any = record.spec  # of its kind
        if record.kind is Script:
            engine.create_script(spec, bytes(content[0]), created)
        else:
            engine.create_model(spec, content, created)

    def _created(
        self,
        place: Place,
        identity: bytes,
        runnable: Runnable | None,
        error: TensorkeepError | None,
    ) -> None:
        if runnable is not None:
            self._failed.pop(identity, None)
            self._put(place, identity, runnable)
            self._engine.enter(place.key, runnable, "built")
            self._tell(identity, runnable)
        elif error is not None:
            now = self._engine.time()
            recent = {
                each: failure
                for each, failure in self._failed.items()
                if now - failure[0] < _AGAIN_AFTER
            }
            self._failed = recent | {identity: (now, error)}
            self._tell(identity, error)

    def _tell(self, identity: bytes, outcome: Runnable | TensorkeepError) -> None:
        for done in self._waiting.pop(identity):
            done(outcome)

    # ------------------------------------------------------------------ letting go
    def _put(self, place: Place, identity: bytes, runnable: Runnable) -> None:
        self._retire(place, self._built.put(place, identity, runnable))

    def _retire(self, place: Place, freed: Runnable | None) -> None:
        if freed is not None:
            self._engine.retire(place.key, freed)

    def _look(self) -> None:
        """Asks the engine whether some of the places still hold what they held."""
        self.start()
        by_database = attrgetter("place.database")
        looked = sorted(self._built.next_to_look_at(_LOOK_AT), key=by_database)
        for database, group in groupby(looked, by_database):
            known = list(group)
            requests = [(b"HGET", each.place.key, ID) for each in known]
            self._connect(database).exchange(requests, partial(self._looked, known))

    def _looked(self, looked: list[Known], replies: Sequence[Reply]) -> None:
        # Held until the end: it leaves the catalog when its last user lets go of it.
        runnables = [self._built.get(known.id) for known in looked]
        gone = self._built.drop_gone(looked, replies)
        for known, runnable in zip(looked, runnables, strict=True):
            if known in gone and self._built.get(known.id) is None:
                self._retire(known.place, runnable)
