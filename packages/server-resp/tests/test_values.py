"""What is known of each type of value."""

import pytest

from tensorkeep.model import LoadedModel, Model, ModelSpec, Script, ScriptSpec
from tensorkeep.tensor import DType, Tensor
from tensorkeep_server.values import KEY_OVERHEAD, memory_of, type_of, types_named

TENSOR = Tensor.from_values(DType.DOUBLE, (3,), [1, 2, 3])
STRINGS = Tensor.from_values(DType.STRING, (2,), [b"ab", b"c"])
MODEL = Model(ModelSpec("ONNX"), b"x" * 1000, LoadedModel(None, (), ()))
SCRIPT = Script(ScriptSpec(), b"def f(): pass", None)


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
    assert memory_of(b"key", value) == KEY_OVERHEAD + 3 + size


def test_types_are_found_by_name():
    assert list(types_named(b"AI_TENSOR")) == [Tensor]
    assert list(types_named(b"AI__MODEL")) == [Model]
    assert list(types_named(b"STREAM")) == []
