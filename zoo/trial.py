"""Trying one entry: store its file on a running server, run it, compare what comes back."""

from __future__ import annotations

import io
import re
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import ml_dtypes
import numpy as np
import redis
from entry import NotWritable, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entry import Array, Case, Entry, Made

Outcome = Literal["works", "refused", "not writable", "fails"]

KEY = "zoo"
# The server's names of types; strings are apart.
DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "DOUBLE": np.dtype(np.float64),
    "FLOAT16": np.dtype(np.float16),
    "BFLOAT16": np.dtype(ml_dtypes.bfloat16),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "BOOL": np.dtype(np.bool_),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an entry.

    Attributes:
        model: As in the entry; so are `package`, `form`, `backend` and `note`.
        package: What it is installed from.
        form: How it was saved.
        backend: The backend that ran it.
        note: With which option it works.
        outcome: What happened; `fails` is never as it should be.
        text: Why it did not work.
        megabytes: Of the file.
        stored_s: Seconds that AI.MODELSTORE took.
        run_ms: Milliseconds of the second AI.MODELEXECUTE.
        difference: The largest difference of an element, relative to the largest element.
        size: Of which size it was made.
    """

    model: str
    package: str
    form: str
    backend: str
    note: str
    outcome: Outcome
    text: str = ""
    megabytes: float = 0.0
    stored_s: float = 0.0
    run_ms: float = 0.0
    difference: float = 0.0
    size: str = Size.FULL.value


class Mismatch(Exception):
    """The server did not do what it should; the text says what."""


def attempt(entry: Entry, client: redis.Redis, size: Size) -> Result:
    """Makes a model, stores it, runs it and compares; exceptions of the framework are reported."""
    named = (entry.model, entry.package, entry.form, entry.backend, entry.note)
    result = Result(*named, "fails", size=size.value)
    try:
        with redirect_stdout(io.StringIO()):  # exporters are talkative
            made = entry.make(size)
    except NotWritable as error:
        return replace(result, outcome="not writable", text=_line(error))
    except Exception as error:  # noqa: BLE001 - a framework's exporters raise whatever they like
        return replace(result, text=f"made in vain: {type(error).__name__}: {_line(error)}")
    result = replace(result, megabytes=len(made.blob) / 1e6)
    try:
        return tried(entry, made, client, result)
    except (Mismatch, redis.RedisError) as error:
        return replace(result, text=f"{type(error).__name__}: {_line(error)}")


def tried(entry: Entry, made: Made, client: redis.Redis, result: Result) -> Result:
    """Stores a model and runs all its cases.

    Raises:
        Mismatch: Something else came out than should.
        RedisError: The server answered with an error, or not at all.
    """
    start = time.perf_counter()
    try:
        words = (*made.options, "BLOB", made.blob)
        client.execute_command("AI.MODELSTORE", KEY, entry.backend, "CPU", *words)
    except redis.ResponseError as error:
        if entry.refused and re.search(entry.refused, str(error)):
            return replace(result, outcome="refused", text=_line(error))
        raise
    if entry.refused:
        raise Mismatch(f"it should have been refused with {entry.refused!r}")
    stored_s = time.perf_counter() - start
    largest = max(_compared(client, case, made.tolerance) for case in made.cases)
    start = time.perf_counter()
    _compared(client, made.cases[0], made.tolerance)
    run_ms = (time.perf_counter() - start) * 1000
    client.execute_command("AI.MODELDEL", KEY)
    return replace(result, outcome="works", stored_s=stored_s, run_ms=run_ms, difference=largest)


def _compared(client: redis.Redis, case: Case, tolerance: float) -> float:
    """Runs a case and returns the largest relative difference."""
    given = [f"{KEY}:in:{index}" for index in range(len(case.inputs))]
    wanted = [f"{KEY}:out:{index}" for index in range(len(case.outputs))]
    for key, array in zip(given, case.inputs.values(), strict=True):
        _set(client, key, array)
    inputs = ("INPUTS", len(given), *given) if given else ()
    client.execute_command("AI.MODELEXECUTE", KEY, *inputs, "OUTPUTS", len(wanted), *wanted)
    found = [_get(client, key) for key in wanted]
    client.delete(*given, *wanted)
    pairs = enumerate(zip(found, case.outputs, strict=True))
    return max((difference(index, *pair, tolerance) for index, pair in pairs), default=0.0)


def _set(client: redis.Redis, key: str, array: Array) -> None:
    words: Sequence[str | int | bytes]
    if array.dtype == object:
        kind, words = "STRING", ("VALUES", *array.ravel().tolist())
    else:
        kind, words = NAMES[array.dtype], ("BLOB", array.tobytes())
    client.execute_command("AI.TENSORSET", key, kind, *array.shape, *words)


def _get(client: redis.Redis, key: str) -> Array:
    reply = client.execute_command("AI.TENSORGET", key, "META", "VALUES")
    if reply[1] == b"STRING":
        return np.array(reply[5], object).reshape(reply[3])
    reply = client.execute_command("AI.TENSORGET", key, "META", "BLOB")
    return np.frombuffer(reply[5], DTYPES[reply[1].decode()]).reshape(reply[3])


def difference(index: int, found: Array, wanted: Array, tolerance: float) -> float:
    """Compares an output with what it should be.

    Args:
        index: Its number.
        found: What there is.
        wanted: What there should be.
        tolerance: See `Made`.

    Returns:
        The largest difference of an element, relative to the largest element.

    Raises:
        Mismatch: The difference is larger, or the type or shape is another.
    """
    if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
        raise Mismatch(
            f"output {index} is {found.dtype}{list(found.shape)}, "
            f"not {wanted.dtype}{list(wanted.shape)}"
        )
    if wanted.dtype == object or wanted.size == 0:
        if not np.array_equal(found, wanted):
            raise Mismatch(f"output {index} differs")
        return 0.0
    one, other = (each.astype(np.float64) for each in (found, wanted))
    unequal = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not unequal.any():
        return 0.0
    scale = float(np.abs(other[np.isfinite(other)]).max(initial=0.0)) or 1.0
    largest = float(np.abs(one - other)[unequal].max()) / scale
    if not largest <= tolerance:
        raise Mismatch(f"output {index} differs by {largest:.2g}, more than {tolerance:g}")
    return largest


def _line(error: Exception) -> str:
    """Returns what an exception says in one line of bearable length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."
