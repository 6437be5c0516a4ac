"""What the service is sent and what it answers, as JSON. No socket and no store are known here."""

from __future__ import annotations

import json
from typing import NamedTuple

from verdicts import SUSPICIOUS

LARGEST_CARD = LARGEST_TIME = 2**53 - 1  # what every language reads from JSON as it was written
LARGEST_CENTS = 10_000_000  # so that the sum of the squares fits 64 bits for 90,000 payments a card
LARGEST_BATCH = 1000
SHOWN = 40  # characters of a value that was refused


class Unreadable(ValueError):
    """What was sent is not what was expected; the text names the field and says what was."""


class Request(NamedTuple):
    """A payment that somebody wants to make: the card's number, the amount, seconds since 1970."""

    card: int
    cents: int
    time: int


SMALLEST = Request(card=0, cents=1, time=0)
LARGEST = Request(LARGEST_CARD, LARGEST_CENTS, LARGEST_TIME)


def read_payment(body: bytes) -> Request:
    """Return the payment in a request's body.

    Raises:
        Unreadable: It is not a JSON object with exactly the fields of a `Request`, all of them
            whole numbers that are neither too small nor too large.
    """
    return _request(_json(body), "payment")


def read_batch(body: bytes) -> list[Request]:
    """Return the payments in a request's body, `{"payments": [...]}`.

    Raises:
        Unreadable: There are none, or more than `LARGEST_BATCH`, or one is not a payment.
    """
    value = _json(body)
    if not isinstance(value, dict) or list(value) != ["payments"]:
        raise Unreadable('expected an object with the field "payments" alone')
    listed = value["payments"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= LARGEST_BATCH:
        raise Unreadable(f"payments: expected a list of 1 to {LARGEST_BATCH}")
    return [_request(each, f"payments[{n}]") for n, each in enumerate(listed)]


def verdict(score: float) -> dict[str, str | float]:
    """Return the answer to a payment with this score, the chance that it is a thief's."""
    return {"decision": "refuse" if score >= SUSPICIOUS else "approve", "score": score}


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"expected JSON: {error}") from None


def _request(value: object, name: str) -> Request:
    if not isinstance(value, dict):
        raise Unreadable(f"{name}: expected an object, got {_shown(value)}")
    for field in value:
        if field not in Request._fields:
            raise Unreadable(f"{name}: no field {_shown(field)} is expected")
    return Request(*(_number(value, field, name) for field in Request._fields))


def _number(value: dict[str, object], field: str, name: str) -> int:
    least, most = getattr(SMALLEST, field), getattr(LARGEST, field)
    if field not in value:
        raise Unreadable(f"{name}: the field {field} is missing")
    number = value[field]
    if type(number) is not int or not least <= number <= most:  # True is an int, too
        raise Unreadable(
            f"{name}: {field}: expected a whole number from {least} to {most}, got {_shown(number)}"
        )
    return number


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
