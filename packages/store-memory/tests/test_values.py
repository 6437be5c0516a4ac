"""What is known of each type of value."""

import pytest

from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_memory.values.containers import Hash, Set
from tensorkeep_memory.values.growing import Embedded, Raw
from tensorkeep_memory.values.kinds import memory_of, type_of, types_named
from tensorkeep_memory.values.sequence import List
from tensorkeep_memory.values.sorted_set import SortedSet

TENSOR = Tensor.from_values(DType.DOUBLE, (3,), [1, 2, 3])
STRINGS = Tensor.from_values(DType.STRING, (2,), [b"ab", b"c"])
MODEL = Model(ModelSpec("ONNX"), b"x" * 1000, LoadedModel(None, (), ()), None)  # type: ignore[arg-type] # not run
SCRIPT = Script(ScriptSpec(), b"def f(): pass", None, None)  # type: ignore[arg-type] # not run


EMPTY = memory_of(b"", b"")  # of a key without a name whose value is empty


def a_hash(size):
    value = Hash()
    for number in range(size):
        value.put(b"%d" % number, b"value")
    return value


@pytest.mark.parametrize(
    ("value", "name", "size"),
    [
        (TENSOR, "AI_TENSOR", 24),
        (STRINGS, "AI_TENSOR", 5),
        (MODEL, "AI__MODEL", 1000),
        (SCRIPT, "AI_SCRIPT", 13),
    ],
)
def test_every_type_has_its_name_and_counts_its_data(value, name, size):
    known = type_of(value)
    assert known.name == name
    assert known.encoding(value) == b"raw"
    assert known.copy is None
    assert EMPTY + 3 + size < memory_of(b"key", value) < EMPTY + 3 + size + 1100


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (b"", b"embstr"),
        (b"0", b"int"),
        (b"-9223372036854775808", b"int"),
        (b"9223372036854775808", b"embstr"),
        (b"007", b"embstr"),
        (b"x" * 44, b"embstr"),
        (b"x" * 45, b"raw"),
        (Embedded(b"7"), b"embstr"),
        (Embedded(b"7" * 45), b"raw"),
        (Raw(b"7"), b"raw"),
        (memoryview(b"7"), b"raw"),
    ],
)
def test_a_string_says_how_redis_would_keep_it(value, encoding):
    known = type_of(value)
    assert known.name == "string"
    assert known.encoding(value) == encoding
    assert EMPTY + 3 + len(value) <= memory_of(b"key", value) < EMPTY + 500
    assert known.copy(value) is value  # it never changes


def test_a_list_is_copied_with_its_elements():
    value = List([b"a", b"b"])
    known = type_of(value)
    assert (known.name, known.encoding(value)) == ("list", b"quicklist")
    assert memory_of(b"key", value) == EMPTY + 3 + value.nbytes
    copy = known.copy(value)
    assert copy == value
    assert copy is not value


@pytest.mark.parametrize(
    ("value", "name", "encoding"),
    [
        (a_hash(10), "hash", b"listpack"),
        (a_hash(513), "hash", b"hashtable"),
        (Set({b"1", b"2"}), "set", b"intset"),
        (Set({b"1", b"word"}), "set", b"hashtable"),
        (SortedSet({b"m": 1.0}), "zset", b"listpack"),
        (SortedSet({b"m" * 65: 1.0}), "zset", b"skiplist"),
    ],
)
def test_hashes_and_sets_say_how_redis_would_keep_them_and_are_copied(value, name, encoding):
    known = type_of(value)
    assert (known.name, known.encoding(value)) == (name, encoding)
    assert memory_of(b"key", value) == EMPTY + 3 + value.nbytes
    copy = known.copy(value)
    assert copy.content == value.content
    assert copy.content is not value.content
    assert known.encoding(copy) == encoding


def test_types_are_found_by_name():
    assert list(types_named(b"AI_TENSOR")) == [Tensor]
    assert list(types_named(b"AI__MODEL")) == [Model]
    assert list(types_named(b"STRING")) == [bytes, Embedded, Raw, memoryview]
    assert list(types_named(b"LIST")) == [List]
    assert list(types_named(b"HASH")) == [Hash]
    assert list(types_named(b"SET")) == [Set]
    assert list(types_named(b"ZSET")) == [SortedSet]
    assert list(types_named(b"STREAM")) == []
