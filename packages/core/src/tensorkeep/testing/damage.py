"""Damages models at random and uses what is left: whatever is wrong, the process must go on.

A framework that stumbles over a model may end the process, and the tests with it. So a program of
its own damages and uses models, with `damage_and_use`; a test starts it with `outcomes`, and says
of which model it died. How to damage depends on the format: bytes, text, the messages of a
protobuf, the members of a zip archive.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import MutableMapping, MutableSequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tensorkeep.errors import WorkerDied, WorkerTookTooLong
from tensorkeep.hookspecs import RunContext
from tensorkeep.testing.subject import Subject

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorkeep.model import LoadedModel
    from tensorkeep.testing.examples import ModelExample

Message: TypeAlias = Any
"""A message of a protobuf; they bring no types."""

LONGEST_RUN: Final = 2.0  # seconds after which a run is cancelled: damage may make it endless
_PATIENCE: Final = 100.0  # seconds for all rounds of a program
_MEMORY: Final = 12 * 2**30  # bytes that a program may ask for, so that nothing else suffers

_WORDS: Final = (0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NUMBERS: Final = (
    *(0, 1, 2, 3, 7, 127, 128, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1),
    *(-1, -2, -(2**31), -(2**63)),
)
_FLOATS: Final = (0.0, 1.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))
_FEW: Final = (1, 1, 1, 2, 4)  # how often one model is changed


# --------------------------------------------------------------------------- the program
def damage_and_use(
    plugin: object,
    name: str,
    examples: Iterable[ModelExample],
    damage: Callable[[bytes, Random], bytes | None],
) -> None:
    """Damages and uses every example many times, and prints how often that went how far.

    To be called by a program that `outcomes` starts.

    Args:
        plugin: A module or an object with `@hookimpl` functions.
        name: The backend's name.
        examples: Models that nobody damaged, each with inputs to run what is left of it on.
        damage: Changes a serialized model; None for one that is not worth a try.
    """
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    seed, rounds, file = sys.argv[1:]
    draw = Random(seed)  # noqa: S311 - it is to be repeatable
    subject = Subject(plugin, name, "CPU")
    reached = {"rejected": 0, "failed": 0, "run": 0, "died": 0}
    for example in examples:
        with subject.loaded(example.blob, example.input_names, example.output_names) as model:
            _run(subject, model, example)  # nobody damaged it: whatever is raised ends all
        for _ in range(int(rounds)):
            blob = damage(example.blob, draw)
            if blob is not None:
                Path(file).write_bytes(blob)
                reached[_reached(subject, example, blob)] += 1
    print(reached)  # noqa: T201 - what the program is for


def _reached(subject: Subject, example: ModelExample, blob: bytes) -> str:
    """Creates and runs a model; returns how far that went, or that the worker of it `died`."""
    with ExitStack() as stack:
        loading = subject.loaded(blob, example.input_names, example.output_names)
        try:
            model = stack.enter_context(loading)
        except (WorkerDied, WorkerTookTooLong):
            return "died"
        except Exception:  # noqa: BLE001 - a backend may raise anything
            return "rejected"
        try:
            _run(subject, model, example)
        except (WorkerDied, WorkerTookTooLong):
            return "died"
        except Exception:  # noqa: BLE001 - a backend may raise anything
            return "failed"
    return "run"


def _run(subject: Subject, model: LoadedModel, example: ModelExample) -> None:
    context = RunContext(subject.device)
    alarm = Timer(LONGEST_RUN, context.cancel)
    alarm.start()
    try:
        subject.run(model, example.inputs, context)
    finally:
        alarm.cancel()


def outcomes(program: Path, folder: Path, seed: str, rounds: int) -> dict[str, int]:
    """Runs a program that calls `damage_and_use`, for a test.

    Args:
        program: Its file.
        folder: Where it may leave the model that it died of.
        seed: What chance begins with.
        rounds: How often each example is damaged.

    Returns:
        How many models were `rejected`, `failed` when they were run, and were `run`; and how many
        ended a worker outside the program's process, which goes on: `died`.

    Raises:
        AssertionError: The process ended, or did not.
    """
    file = folder / "damaged"
    command = [sys.executable, str(program), seed, str(rounds), str(file)]
    try:
        ran = subprocess.run(  # noqa: S603 - a program of the tests
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it never ended with {_left(file)!r}") from None
    if ran.returncode:
        raise AssertionError(f"it died of {_left(file)!r}\n{ran.stderr}")
    found: dict[str, int] = ast.literal_eval(ran.stdout)
    return found


def _left(file: Path) -> bytes:
    """Returns the model that a program was busy with, nothing if it had not begun."""
    return file.read_bytes() if file.exists() else b""


# --------------------------------------------------------------------------- bytes and text
def damaged_bytes(blob: bytes, draw: Random) -> bytes:
    """Returns bytes of which some were changed, or the end is missing."""
    kind = draw.randrange(4)
    if not blob or kind == 0:
        return blob[: draw.randrange(len(blob) + 1)]
    changed = bytearray(blob)
    for _ in range(draw.choice(_FEW)):
        place = draw.randrange(len(blob))
        if kind == 1:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 2:  # noqa: PLR2004 - one of four
            changed[place] = draw.randrange(256)
        else:
            place -= place % 4
            word = draw.choice(_WORDS) if draw.random() < 0.7 else draw.randrange(64)  # noqa: PLR2004 - chance
            changed[place : place + 4] = word.to_bytes(4, "little")
    return bytes(changed)


def damaged_text(text: str, draw: Random) -> str:
    """Returns text in which a number is another one, or a line is missing, twice or moved."""
    numbers = list(re.finditer(r"-?\d+", text))
    if numbers and draw.random() < 0.7:  # noqa: PLR2004 - most of the time
        one = draw.choice(numbers)
        return f"{text[: one.start()]}{draw.choice(_NUMBERS)}{text[one.end() :]}"
    lines = text.split("\n")
    line = lines.pop(draw.randrange(len(lines)))
    for _ in range(draw.randrange(3)):
        lines.insert(draw.randrange(len(lines) + 1), line)
    return "\n".join(lines)


# --------------------------------------------------------------------------- archives
def damaged_archive(
    blob: bytes, draw: Random, damage: Callable[[str, bytes, Random], bytes]
) -> bytes:
    """Returns a zip archive of which one member was damaged or, sometimes, left out.

    Its checksums are right: what reads the archive is not what is tested.

    Args:
        blob: The archive.
        draw: Chance.
        damage: Changes a member, of which it is given the name and the content.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as whole, zipfile.ZipFile(packed, "w") as target:
        names = whole.namelist()
        chosen = draw.choice(names)
        missing = draw.random() < 0.05  # noqa: PLR2004 - rarely: it is soon noticed
        for name in names:
            content = whole.read(name)
            if name != chosen:
                target.writestr(name, content)
            elif not missing:
                target.writestr(name, damage(name, content, draw))
    return packed.getvalue()


# --------------------------------------------------------------------------- protobufs
def damage_message(message: Message, draw: Random, words: Sequence[str] = ("",)) -> None:
    """Changes a few of the fields of a message, at any depth.

    Args:
        message: The message, which is changed.
        draw: Chance.
        words: What text fields may become, beside what other ones are: names of operators, say.
    """
    for _ in range(draw.choice(_FEW)):
        parts = [part for part in _parts(message) if part.DESCRIPTOR.fields]
        part = draw.choice(parts)
        present = [field for field, _ in part.ListFields()]
        likely = present and draw.random() < 0.75  # noqa: PLR2004 - what is there says more
        field = draw.choice(present if likely else list(part.DESCRIPTOR.fields))
        with suppress(ValueError, TypeError, OverflowError):  # what the field does not take
            _change(part, field, parts, draw, words)


def _parts(message: Message) -> Iterator[Message]:
    """Gives a message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if _is_message(value):
            inner = [value]
        elif isinstance(value, MutableMapping):
            # In an order, for what chance finds is to be found again.
            inner = [value[key] for key in sorted(value) if _is_message(value[key])]
        else:
            inner = value
        for each in inner:
            yield from _parts(each)


def _is_message(value: object) -> bool:
    return hasattr(value, "ListFields")


def _change(
    part: Message, field: Message, parts: list[Message], draw: Random, words: Sequence[str]
) -> None:
    value = getattr(part, field.name)
    if _is_message(value):
        if part.HasField(field.name) and draw.random() < 0.5:  # noqa: PLR2004 - one or the other
            part.ClearField(field.name)
        else:
            others = [each for each in parts if type(each) is type(value)]
            value.CopyFrom(_copy(draw.choice(others or [value])))
    elif isinstance(value, MutableMapping):
        if value:
            del value[draw.choice(sorted(value))]
    elif isinstance(value, MutableSequence):
        _change_list(value, field, parts, draw, words)
    else:
        setattr(part, field.name, _other(value, field, parts, draw, words))


def _change_list(
    values: Any,  # noqa: ANN401 - of a message
    field: Message,
    parts: list[Message],
    draw: Random,
    words: Sequence[str],
) -> None:
    place = draw.randrange(len(values) + 1)
    kind = draw.randrange(3)
    if place == len(values) or kind == 0:  # one more
        if field.message_type is None:
            values.append(_other(values[0] if values else None, field, parts, draw, words))
        elif values:
            values.add().CopyFrom(_copy(draw.choice(list(values))))
    elif kind == 1:
        del values[place]
    elif field.message_type is None:
        values[place] = _other(values[place], field, parts, draw, words)
    else:
        one, other = values[place], draw.choice(list(values))
        kept = _copy(one)
        one.CopyFrom(_copy(other))
        other.CopyFrom(kept)


def _copy(message: Message) -> Message:
    """Returns a copy: a message that is copied into one of its own parts ends the process."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _other(  # noqa: PLR0911 - one for each type of value
    value: object, field: Message, parts: list[Message], draw: Random, words: Sequence[str]
) -> object:
    """Returns another value for a field."""
    if field.enum_type is not None:
        return draw.choice(list(field.enum_type.values_by_number))
    match value:
        case bool():
            return not value
        case int():
            return draw.choice((*_NUMBERS, value + 1, value - 1, value * 2))
        case float():
            return draw.choice(_FLOATS)
        case bytes():
            return damaged_bytes(value, draw)
        case str():
            texts = [
                text
                for part in draw.sample(parts, min(len(parts), 20))
                for _, text in part.ListFields()
                if isinstance(text, str)
            ]
            return draw.choice(texts or words) if draw.random() < 0.5 else draw.choice(words)  # noqa: PLR2004 - chance
        case _:  # a list that was empty: numbers suit most
            return draw.choice(_NUMBERS)
