"""Which tensors of a SavedModel's graph are its inputs and outputs, by what users call them.

A SavedModel may have several signatures: names for the inputs and outputs of one function each.
One is chosen by its name, or is the default, or is the one that fits the names that are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorkeep.errors import ModelRejected
from tensorkeep_tf.graphs import node_of, tensor_of
from tensorkeep_tf.messages import not_in_signature

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tensorkeep.model import ModelSpec

# Messages of TensorFlow's protobufs bring no types.
MetaGraph = Any

_DEFAULT: Final = "serving_default"

Tensors = list[tuple[str, str]]
"""Names as users write them, each with the tensor of the graph that it stands for."""


class Signature(NamedTuple):
    """The tensors that a name stands for.

    Attributes:
        name: The signature's name.
        inputs: Of each input, what the file says of its tensor.
        outputs: The same for the outputs.
    """

    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


def serving_tensors(meta: MetaGraph, spec: ModelSpec) -> tuple[Tensors, Tensors]:
    """Returns the inputs and the outputs.

    Args:
        meta: The graph for serving.
        spec: What the user said. Names of inputs and outputs are those of a signature, or of nodes
            (`x`) or tensors (`x:0`) of the graph; none stand for all of the signature.

    Raises:
        ModelRejected: There is no such signature or name, or it is open which signature is meant.
    """
    nodes = {node.name for node in meta.graph_def.node}
    signature = _chosen(_signatures(meta), spec, nodes)
    return (
        _tensors("Input", spec.inputs, signature.name, signature.inputs, nodes),
        _tensors("Output", spec.outputs, signature.name, signature.outputs, nodes),
    )


def _signatures(meta: MetaGraph) -> dict[str, Signature]:
    return {
        name: Signature(name, each.inputs, each.outputs)
        for name, each in sorted(meta.signature_def.items())
        if not name.startswith("__")  # TensorFlow's own
    }


def _chosen(
    signatures: Mapping[str, Signature], spec: ModelSpec, nodes: Collection[str]
) -> Signature:
    if spec.signature:
        if spec.signature not in signatures:
            raise ModelRejected(_lacks(spec.signature, signatures))
        return signatures[spec.signature]
    default = signatures.get(_DEFAULT)
    if default is None and len(signatures) == 1:
        (default,) = signatures.values()
    if not spec.inputs and not spec.outputs:
        if default is None:
            raise ModelRejected(_lacks(_DEFAULT, signatures))
        return default
    if default is not None and _fits(default, spec, nodes):
        return default
    fitting = [each for each in signatures.values() if _fits(each, spec, nodes)]
    if not fitting:
        # Names of the graph alone need no signature; of others, the error says what there is.
        return default or next(iter(signatures.values()), Signature("none", {}, {}))
    if any(_meaning(each, spec) != _meaning(fitting[0], spec) for each in fitting):
        names = ", ".join(each.name for each in fitting)
        raise ModelRejected(
            f"Invalid SavedModel: the names fit several signatures ({names}): choose one of them"
        )
    return fitting[0]


def _lacks(name: str, signatures: Mapping[str, Signature]) -> str:
    known = ", ".join(signatures) or "none"
    return f'Invalid SavedModel: it has no signature "{name}" (signatures: {known})'


def _fits(signature: Signature, spec: ModelSpec, nodes: Collection[str]) -> bool:
    """Returns whether all names are of a signature, or of the graph."""
    return all(
        name in known or node_of(name) in nodes
        for names, known in ((spec.inputs, signature.inputs), (spec.outputs, signature.outputs))
        for name in names
    )


def _meaning(signature: Signature, spec: ModelSpec) -> list[str]:
    return [
        known[name].name if name in known else tensor_of(name)
        for names, known in ((spec.inputs, signature.inputs), (spec.outputs, signature.outputs))
        for name in names
    ]


def _tensors(
    kind: str,
    names: Sequence[str],
    signature: str,
    known: Mapping[str, Any],
    nodes: Collection[str],
) -> Tensors:
    found = []
    # Without an order of their own: by their names.
    for name in names or sorted(known):
        tensor = known[name].name if name in known else tensor_of(name)
        if node_of(tensor) not in nodes:  # in a signature: one that is made of several tensors
            raise ModelRejected(not_in_signature(kind, name, signature, known))
        found.append((name, tensor))
    return found
