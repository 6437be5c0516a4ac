"""The TFLITE file format, as far as it must be known before LiteRT sees a model.

A model is a flatbuffer, `Model` of schema.fbs. What is read here is its graph: which tensors and
operators there are and how they hang together, not the weights. Whether that makes sense is
decided in `soundness`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from tensorkeep_tflite.flatbuffer import MalformedModel, Table
from tensorkeep_tflite.flexbuffer import read_numbers
from tensorkeep_tflite.operators import CALLS, COUNTS, DETECTION, SIZES, Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep_tflite.operators import Fields

IDENTIFIER: Final = b"TFL3"  # bytes 4 to 8 of every model

# Numbers of types of elements.
INT32, INT64, STRING, BOOL, RESOURCE, VARIANT = 2, 4, 5, 6, 13, 14

# The fields that are read, by the slots that they have in the format; a test compares them with
# LiteRT's own description of it.
SLOTS: Final = {
    "Model": {
        "OperatorCodes": 1,
        "Subgraphs": 2,
        "Buffers": 4,
        "SignatureDefs": 7,
        "ExternalBufferGroups": 8,
        "ExternalBuffers": 9,
    },
    "OperatorCode": {"DeprecatedBuiltinCode": 0, "CustomCode": 1, "BuiltinCode": 3},
    "SubGraph": {"Tensors": 0, "Inputs": 1, "Outputs": 2, "Operators": 3},
    "Tensor": {
        "Shape": 0,
        "Type": 1,
        "Buffer": 2,
        "Name": 3,
        "Quantization": 4,
        "IsVariable": 5,
        "Sparsity": 6,
        "ShapeSignature": 7,
        "ExternalBuffer": 10,
    },
    "QuantizationParameters": {"Scale": 2, "ZeroPoint": 3},
    "Operator": {
        "OpcodeIndex": 0,
        "Inputs": 1,
        "Outputs": 2,
        "BuiltinOptionsType": 3,
        "BuiltinOptions": 4,
        "CustomOptions": 5,
        "Intermediates": 8,
        "BuiltinOptions2Type": 11,
        "BuiltinOptions2": 12,
    },
    "Buffer": {"Data": 0, "Offset": 1, "Size": 2},
    "SignatureDef": {"Inputs": 0, "Outputs": 1, "SignatureKey": 2, "SubgraphIndex": 4},
    "TensorMap": {"Name": 0, "TensorIndex": 1},
}
_MODEL, _CODE, _GRAPH, _TENSOR, _SCALING, _OPERATOR, _BUFFER, _SIGNATURE, _MAP = SLOTS.values()


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor of a subgraph.

    Attributes:
        name: Its name, possibly empty.
        type: Number of its element type.
        shape: The sizes that the file gives.
        signature: The same with -1 for those that may be any; empty where the file does not tell.
        buffer: Number of the buffer with its values; 0 when it has none.
        variable: Whether it keeps its values from one run to the next.
        scales: What a step of a quantised element is worth: one for all, one for each channel, or
            none.
        zeros: The elements that stand for zero, as many as there are scales.
        sparse: Whether only those of its values are there that are not zero.
    """

    name: str
    type: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    buffer: int
    variable: bool
    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    sparse: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of a subgraph.

    Attributes:
        code: Which operator it is.
        custom: Name of a custom operator, empty for one of the format's own.
        inputs: The tensors that it takes; -1 for one that is left out.
        outputs: The tensors that it computes.
        intermediates: Tensors that only tell of quantisation within it.
        numbers: What `operators` asks for of its options; None when these options are not there.
        settings: The options of a custom operator that is known; None when they are not whole.
    """

    code: int
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    numbers: tuple[int, ...] | None
    settings: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A graph of operators, in the order in which they run."""

    tensors: tuple[TensorEntry, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Names that a file gives to the inputs and outputs of a subgraph.

    Attributes:
        key: The signature's own name.
        subgraph: Number of the subgraph.
        inputs: The names of inputs, by their tensors.
        outputs: The names of outputs, by their tensors.
    """

    key: str
    subgraph: int
    inputs: Mapping[int, str]
    outputs: Mapping[int, str]

    def covers(self, graph: Subgraph) -> bool:
        """Returns whether all inputs and outputs of its subgraph have names."""
        return self.inputs.keys() >= {*graph.inputs} and self.outputs.keys() >= {*graph.outputs}


@dataclass(frozen=True)
class ModelFile:
    """What a file says of its graph.

    Attributes:
        subgraphs: The first is the one that is run unless a signature is chosen; others are called
            by operators, or are those of other signatures.
        buffers: Where the values of constants start in the file, and how many bytes they are.
        signatures: The signatures, in the order of the file.
        external: Whether values lie in other files.
        chosen: The signature that is run; None for the first subgraph.
    """

    subgraphs: tuple[Subgraph, ...]
    buffers: tuple[tuple[int, int], ...]
    signatures: tuple[Signature, ...]
    external: bool
    chosen: Signature | None = None

    def choosing(self, key: str) -> ModelFile:
        """Returns the same for the signature of a name.

        Raises:
            KeyError: There is no such signature; the text lists those that are there.
        """
        for each in self.signatures:
            if each.key == key and each.subgraph < len(self.subgraphs):
                return replace(self, chosen=each)
        raise KeyError(", ".join(sorted(each.key for each in self.signatures)) or "none")

    @property
    def number(self) -> int:
        """Number of the subgraph that is run."""
        return self.chosen.subgraph if self.chosen else 0

    @property
    def graph(self) -> Subgraph:
        """The subgraph that is run."""
        return self.subgraphs[self.number]

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """A name for each input, none twice: from a signature, or the tensor's own."""
        naming = self._naming()
        return self._names(self.graph.inputs, "input", naming.inputs if naming else None)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """A name for each output, none twice: from a signature, or the tensor's own."""
        naming = self._naming()
        return self._names(self.graph.outputs, "output", naming.outputs if naming else None)

    @property
    def weights(self) -> int:
        """Bytes of all constants."""
        return sum(size for _, size in self.buffers)

    def is_constant(self, tensor: TensorEntry) -> bool:
        """Returns whether the file brings a tensor's values."""
        return self.buffers[tensor.buffer][1] > 0

    @property
    def has_variables(self) -> bool:
        """Whether a tensor keeps its values from one run to the next."""
        return any(tensor.variable for graph in self.subgraphs for tensor in graph.tensors)

    def _naming(self) -> Signature | None:
        """Returns the first signature that names all inputs and outputs of what is run."""
        candidates = (self.chosen,) if self.chosen else self.signatures
        for each in candidates:
            if each.subgraph == self.number and each.covers(self.graph):
                return each
        return None

    def _names(
        self, indices: tuple[int, ...], kind: str, given: Mapping[int, str] | None
    ) -> tuple[str, ...]:
        if given is None:
            given = {index: self.graph.tensors[index].name for index in indices}
        names: list[str] = []
        for number, index in enumerate(indices):
            name = given[index] or f"{kind}_{number}"
            names.append(name if name not in names else f"{name}_{number}")
        return tuple(names)


def read_model(blob: bytes) -> ModelFile:
    """Reads the graph of a model.

    Raises:
        MalformedModel: The bytes are no model, or not a whole one.
    """
    if blob[4:8] != IDENTIFIER:
        raise MalformedModel("the bytes do not say that they are a TFLITE model")
    model = Table.root(blob)
    codes = [
        (_code(each), each.text(_CODE["CustomCode"]))
        for each in model.tables(_MODEL["OperatorCodes"])
    ]
    buffers = tuple(_extent(each) for each in model.tables(_MODEL["Buffers"]))
    graphs = model.tables(_MODEL["Subgraphs"])
    tensors = [each.tables(_GRAPH["Tensors"]) for each in graphs]
    external = bool(
        model.tables(_MODEL["ExternalBuffers"])
        or model.tables(_MODEL["ExternalBufferGroups"])
        or any(each.number(_TENSOR["ExternalBuffer"], "I") for some in tensors for each in some)
    )
    return ModelFile(
        tuple(_subgraph(blob, *each, codes) for each in zip(graphs, tensors, strict=True)),
        buffers,
        tuple(_signature(each) for each in model.tables(_MODEL["SignatureDefs"])),
        external,
    )


def _code(table: Table) -> int:
    # Codes beyond a signed byte came later, in a field of their own.
    old: int = table.number(_CODE["DeprecatedBuiltinCode"], "b")
    new: int = table.number(_CODE["BuiltinCode"], "i")
    return max(old, new)


def _extent(table: Table) -> tuple[int, int]:
    # Beyond 2 GB, values lie behind the flatbuffer, at an offset from its start.
    offset = table.number(_BUFFER["Offset"], "Q")
    if offset > 1:
        return offset, table.number(_BUFFER["Size"], "Q")
    return table.extent(_BUFFER["Data"])


def _subgraph(
    blob: bytes, table: Table, tensors: list[Table], codes: list[tuple[int, str]]
) -> Subgraph:
    return Subgraph(
        tuple(_tensor(each) for each in tensors),
        table.numbers(_GRAPH["Inputs"]),
        table.numbers(_GRAPH["Outputs"]),
        tuple(_operator(blob, each, codes) for each in table.tables(_GRAPH["Operators"])),
    )


def _tensor(table: Table) -> TensorEntry:
    scaling = table.table(_TENSOR["Quantization"])
    return TensorEntry(
        table.text(_TENSOR["Name"]),
        table.number(_TENSOR["Type"], "b"),
        table.numbers(_TENSOR["Shape"]),
        table.numbers(_TENSOR["ShapeSignature"]),
        table.number(_TENSOR["Buffer"], "I"),
        bool(table.number(_TENSOR["IsVariable"], "B")),
        scaling.numbers(_SCALING["Scale"], "f") if scaling else (),
        scaling.numbers(_SCALING["ZeroPoint"], "q") if scaling else (),
        table.table(_TENSOR["Sparsity"]) is not None,
    )


def _operator(blob: bytes, table: Table, codes: list[tuple[int, str]]) -> Operator:
    index = table.number(_OPERATOR["OpcodeIndex"], "I")
    if index >= len(codes):
        raise MalformedModel("an operator has a code that the model does not have")
    code, custom = codes[index]
    fields = CALLS.get(code) or COUNTS.get(code) or SIZES.get(code)
    return Operator(
        code,
        custom if code == Op.CUSTOM else "",
        table.numbers(_OPERATOR["Inputs"]),
        table.numbers(_OPERATOR["Outputs"]),
        table.numbers(_OPERATOR["Intermediates"]),
        _options(table, fields) if fields else (),
        _settings(blob, table) if custom == DETECTION else {},
    )


def _settings(blob: bytes, table: Table) -> Mapping[str, float] | None:
    start, size = table.extent(_OPERATOR["CustomOptions"])
    try:
        return read_numbers(blob[start : start + size])
    except MalformedModel:
        return None


def _options(table: Table, fields: Fields) -> tuple[int, ...] | None:
    union = "BuiltinOptions" if fields.union == 1 else "BuiltinOptions2"
    options = table.table(_OPERATOR[union])
    if options is None or table.number(_OPERATOR[f"{union}Type"], "B") != fields.kind:
        return None
    return tuple(options.number(slot, "i") for slot in fields.slots)


def _signature(table: Table) -> Signature:
    def names(slot: int) -> dict[int, str]:
        return {
            each.number(_MAP["TensorIndex"], "I"): each.text(_MAP["Name"])
            for each in table.tables(slot)
        }

    return Signature(
        table.text(_SIGNATURE["SignatureKey"]),
        table.number(_SIGNATURE["SubgraphIndex"], "I"),
        names(_SIGNATURE["Inputs"]),
        names(_SIGNATURE["Outputs"]),
    )
