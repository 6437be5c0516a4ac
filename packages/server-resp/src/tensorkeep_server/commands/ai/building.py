"""What takes long before it is stored: models and scripts, built on the loader's thread.

Shared by the commands that store them. What is to be built was read by each of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from tensorkeep.bounded_log import shown
from tensorkeep.commands.reply import OK, Error
from tensorkeep.errors import (
    BackendNotInstalled,
    BackendUnavailable,
    StoreError,
    TensorkeepError,
    TooManyModels,
)
from tensorkeep.model import Model, Script
from tensorkeep.sharing import output_named
from tensorkeep.store import NEW
from tensorkeep_server.errors import error_reply, how_to_install
from tensorkeep_server.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.commands.reply import Reply
    from tensorkeep.engine import Engine
    from tensorkeep.model import Runnable
    from tensorkeep.store import Result
    from tensorkeep_server.state import Client

_log = logging.getLogger(__name__)

_R = TypeVar("_R", Model, Script)


def store_when_built(
    client: Client,
    key: bytes,
    kind: type[_R],
    create: Callable[[Callable[[_R | None, TensorkeepError | None], None]], None],
) -> Later:
    """Builds a model or script and stores it, even when its client went away.

    Args:
        client: Who asked for it.
        key: Where it is to be stored.
        kind: What may stand there already: it is replaced.
        create: Begins to build it, and is given what takes it or the error.
    """
    later = Later()
    engine = client.server.engine

    def built(runnable: _R | None, error: TensorkeepError | None) -> None:
        def store() -> Reply:
            if runnable is None:
                return _failure(engine, error, key)
            # Judged last, as in the original: the key may have changed meanwhile, and in a
            # transaction also which database is selected.
            keys = client.keys
            keys.expect(key, kind)
            keys.set(key, runnable, event=NEW)
            if client.session is None:
                engine.enter(key, runnable)  # a remote store does, when it is written
            _tell(engine, key, runnable)
            return OK

        later.resolve(store)

    try:
        engine.check_number(key)
    except TooManyModels as error:
        refusal = _failure(engine, error, key)
        later.resolve(lambda: refusal)
        return later
    if client.session is None:
        create(built)
        return later

    def begin(leave: Result[None]) -> None:
        try:
            leave()
        except StoreError as error:
            refusal = error_reply(error)
            later.resolve(lambda: refusal)
        else:
            create(built)

    # Built only for who may write there: an engine looks at rights before it finds the mistake.
    client.session.leave([b"SET", key, b"", b"NX", b"XX"], begin)
    return later


def _tell(engine: Engine, key: bytes, model: Runnable) -> None:
    """Tells the log what who stored a model may not expect of it."""
    if not isinstance(model, Model):
        return
    if model.spec.batching.size and model.unshared and engine.lines.allows(_log, logging.WARNING):
        text = "requests to the model %s never share its runs, BATCHSIZE or not: %s"
        _log.warning(text, shown(key), shown(model.unshared))
    outputs = model.loaded.outputs
    optional = [output_named(index, outputs) for index in model.loaded.optional_outputs]
    if optional and engine.lines.allows(_log, logging.WARNING):
        text = "a run of the model %s fails when one of these outputs is no tensor: %s"
        _log.warning(text, shown(key), shown(", ".join(optional)))


def refuse_device(client: Client, backend: str) -> Later:
    """Returns what a backend says of a device of no known form, for which it must be loaded."""
    later = Later()

    def loaded(_: object, error: TensorkeepError | None) -> None:
        unsupported = "Unsupported" if backend == "TFLITE" else "unsupported"
        refusal = Error(f"ERR {unsupported} device")
        later.resolve(lambda: _failure(engine, error) if error else refusal)

    engine = client.server.engine
    engine.load_backend(backend, loaded)
    return later


def _failure(engine: Engine, error: TensorkeepError | None, key: bytes = b"") -> Error:
    """Returns the reply for what could not be built, and logs why."""
    if isinstance(error, BackendUnavailable):
        # To clients all are one, in the original's words: the log says what to do.
        if engine.lines.allows(_log, logging.WARNING):
            _log.warning("%s%s", error, _hint(error))
    elif engine.lines.allows(_log, logging.INFO):
        _log.info("%s was not stored: %s", shown(key) or "a script", shown(str(error)))
    return error_reply(error or TensorkeepError("nothing was built"))


def _hint(error: BackendUnavailable) -> str:
    how = how_to_install(error.backend) if isinstance(error, BackendNotInstalled) else ""
    return f"; {how} brings it" if how else ""
