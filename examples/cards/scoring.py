"""Has payments scored by the store, with redisai-py: what is kept there, and what is asked.

This file knows no HTTP. Its threads may be many: the client's pool gives each a connection of its
own. A command is sent once and never again by itself, since a payment must not be counted twice.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as TooLate
from redisai import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from payment_json import Request

FOLDER = Path(__file__).resolve().parent
SCRIPT, MODEL = "card", "cards"
EMPTY = "key is empty"  # how the store says that it has no such script or model
CONNECT_LIMIT, ANSWER_LIMIT = 1.0, 5.0  # seconds
STORE_LIMIT = 60.0  # seconds; the store loads PyTorch when it is given its first script

log = logging.getLogger(__name__)


class StoreAway(Exception):
    """The store cannot be reached, or did not answer in time."""


class StoreRefused(Exception):
    """The store answered with an error."""


class Scorer:
    """Scores payments; made at once, whether the store is there or not.

    Args:
        host: Where the store is.
        port: Where it listens.
    """

    def __init__(self, host: str, port: int) -> None:
        where = {"host": host, "port": port, "socket_connect_timeout": CONNECT_LIMIT}
        self._client = Client(**where, socket_timeout=ANSWER_LIMIT)
        self._patient = Client(**where, socket_timeout=STORE_LIMIT)
        self._storing = threading.Lock()

    def store(self) -> None:
        """Put the model and the script into the store, whatever is there under their keys.

        Raises:
            StoreAway: The store is not there.
            StoreRefused: It would not have them.
        """
        with _told():
            model = (FOLDER / "cards.onnx").read_bytes()
            self._patient.modelstore(MODEL, "ONNX", "CPU", model)
            script = (FOLDER / "card.torchscript").read_text(encoding="utf-8")
            self._patient.scriptstore(SCRIPT, "CPU", script, "score")
        log.info("stored the model and the script")

    def ping(self) -> None:
        """Return when the store has answered.

        Raises:
            StoreAway: It did not.
        """
        with _told():
            self._client.ping()

    def score(self, payments: Sequence[Request]) -> list[float]:
        """Have payments scored and counted, in this order, in one round trip.

        A store that came back with nothing in it is given the model and the script again.

        Returns:
            For each payment the chance that it is a thief's.

        Raises:
            StoreAway: The store is not there. What was sent may have been counted.
            StoreRefused: It answered with an error to a payment, which then was not counted.
        """
        with _told():
            answers = self._ask(payments)
            # The script counts a payment only when it has its score, so these may be asked again.
            missed = [n for n, answer in enumerate(answers) if EMPTY in str(answer)]
            if missed:
                self._store_again()
                again = self._ask([payments[n] for n in missed])
                for n, answer in zip(missed, again, strict=True):
                    answers[n] = answer
        scores = []
        for n, answer in enumerate(answers):
            if isinstance(answer, ResponseError):
                raise StoreRefused(f"payments[{n}]: {answer}")
            scores.append(float(answer))
        return scores

    def close(self) -> None:
        """Close all connections to the store."""
        for client in (self._client, self._patient):
            client.connection_pool.disconnect()

    def _ask(self, payments: Sequence[Request]) -> list[bytes | ResponseError]:
        """Send a DAG for each payment; return for each the score as text, or the error.

        A DAG keeps the score from other threads and leaves nothing stored but the card's history.
        It is sent as a command of the pipeline: what `Client.dag` makes of an operation's error is
        a TypeError without the store's words.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for payment in payments:
                card = f"card:{payment.card}"
                pipe.execute_command(
                    *("AI.DAGEXECUTE", "ROUTING", card, "|>"),
                    *("AI.SCRIPTEXECUTE", SCRIPT, "score", "KEYS", 2, card, MODEL),
                    *("ARGS", 2, payment.cents, payment.time, "OUTPUTS", 2, "score", "features"),
                    *("|>", "AI.TENSORGET", "score", "VALUES"),
                )
            replies = pipe.execute(raise_on_error=False)
        return [_score(reply) for reply in replies]

    def _store_again(self) -> None:
        """Store what is missing, unless another thread has done it meanwhile."""
        with self._storing:
            if self._client.exists(SCRIPT, MODEL) < 2:
                self.store()


def _score(reply: Any) -> bytes | ResponseError:  # noqa: ANN401 - replies are of all types
    """Return what a DAG's reply holds: an error of the whole, one of the script, or the score."""
    if isinstance(reply, ResponseError):
        return reply
    ran, scores = reply
    if isinstance(ran, ResponseError):
        return ran
    score: bytes = scores[0]
    return score


@contextmanager
def _told() -> Iterator[None]:
    """Turn redis-py's exceptions into the two kinds that callers tell apart."""
    try:
        yield
    except (Unreachable, TooLate) as error:
        raise StoreAway(str(error)) from error
    except ResponseError as error:
        raise StoreRefused(str(error)) from error
