"""Options of custom operators are read as LiteRT reads them, and never outside of their bytes."""

import random

import pytest
from flatbuffers import flexbuffers

from tensorkeep_tflite.flatbuffer import MalformedModel
from tensorkeep_tflite.flexbuffer import read_numbers


def written(values, kinds=None):
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in values.items():
            builder.Key(name)
            kind = (kinds or {}).get(name) or type(value).__name__.capitalize()
            getattr(builder, kind)(value)
    return bytes(builder.Finish())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"one": 1},
        {"b": -3, "a": 1, "c": 2.5, "large": 10**12, "half": 0.5, "none": 0},
        {"not exact in four bytes": 0.1},
        {f"name{number:04}": number for number in range(300)},
    ],
)
def test_numbers_are_read_by_their_names(values):
    assert read_numbers(written(values)) == pytest.approx(values)


@pytest.mark.parametrize("kind", ["IndirectInt", "IndirectUInt"])
def test_numbers_that_are_elsewhere_are_found(kind):
    assert read_numbers(written({"a": 70000, "b": 2}, {"a": kind})) == {"a": 70000, "b": 2}


def test_truth_is_read_as_a_number():
    assert read_numbers(written({"no": False, "yes": True})) == {"no": 0, "yes": 1}


def test_an_indirect_fraction_is_found():
    assert read_numbers(written({"a": 0.25}, {"a": "IndirectFloat"})) == {"a": 0.25}


def test_what_is_no_map_of_numbers_is_refused():
    for blob in (
        b"",
        b"ab",
        bytes(flexbuffers.Dumps(5)),
        bytes(flexbuffers.Dumps([1, 2])),
        bytes(flexbuffers.Dumps({"a": "text"})),
        bytes(flexbuffers.Dumps({"a": {"b": 1}})),
    ):
        with pytest.raises(MalformedModel):
            read_numbers(blob)


def test_names_that_are_not_in_order_are_refused():
    # LiteRT looks them up by halving, and takes what it does not find for zero.
    blob = written({"aa": 1, "bb": 2})

    with pytest.raises(MalformedModel, match="not in order"):
        read_numbers(blob.replace(b"aa", b"zz"))


def test_whatever_is_damaged_reading_ends_with_an_answer_or_an_error():
    draw = random.Random(2)
    blob = written({"b": -3, "a": 1, "c": 2.5, "d": True, "large": 10**12})
    outcomes = set()
    for _ in range(5000):
        damaged = bytearray(blob)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            read_numbers(bytes(damaged[: draw.randrange(len(blob) + 1)]))
            outcomes.add("read")
        except MalformedModel as error:
            outcomes.add(str(error))

    assert len(outcomes) > 5
