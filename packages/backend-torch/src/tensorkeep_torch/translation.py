"""The graph of an exported program as source of TorchScript.

Nothing of what the graph says is executed or looked up here: names are replaced by our own, and
operators are written down for TorchScript's compiler, which knows torch's and no others.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensorkeep_torch.internals import parameter_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import torch

Json = dict[str, Any]

# torch._export.serde.schema: numbers of its own for what torch has names for.
SCALAR_TYPES: Final = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}
_MEMORY_FORMATS: Final = {
    1: "contiguous_format",
    2: "channels_last",
    3: "channels_last_3d",
    4: "preserve_format",
}
LAYOUTS: Final = {7: "strided"}  # all others are of tensors that are kept in other ways

_OPERATOR: Final = re.compile(r"torch\.ops\.(\w+)\.(\w+)\.(\w+)", re.ASCII)
_KEYWORD: Final = 2  # of the kinds of arguments
# Operators on sizes and other numbers, as TorchScript writes them.
_SYMBOLIC: Final = {
    "_operator.add": "{} + {}",
    "_operator.and_": "{} and {}",
    "_operator.eq": "{} == {}",
    "_operator.floordiv": "{} // {}",
    "_operator.ge": "{} >= {}",
    "_operator.gt": "{} > {}",
    "_operator.le": "{} <= {}",
    "_operator.lshift": "{} << {}",
    "_operator.lt": "{} < {}",
    "_operator.mod": "{} % {}",
    "_operator.mul": "{} * {}",
    "_operator.ne": "{} != {}",
    "_operator.neg": "-{}",
    "_operator.or_": "{} or {}",
    "_operator.pos": "{}",
    "_operator.pow": "{} ** {}",
    "_operator.rshift": "{} >> {}",
    "_operator.sub": "{} - {}",
    "_operator.truediv": "{} / {}",
    "math.ceil": "math.ceil({})",
    "math.floor": "math.floor({})",
    "math.trunc": "int({})",
    "torch.ops.aten.sym_numel.default": "{}.numel()",
    "torch.ops.aten.sym_size.int": "{}.size({})",
    "torch.ops.aten.sym_storage_offset.default": "{}.storage_offset()",
    "torch.ops.aten.sym_stride.int": "{}.stride({})",
    "torch.sym_float": "float({})",
    "torch.sym_int": "int({})",
    "torch.sym_ite": "{1} if {0} else {2}",
    "torch.sym_max": "max({}, {})",
    "torch.sym_min": "min({}, {})",
    "torch.sym_not": "not {}",
    "torch.sym_sqrt": "float({}) ** 0.5",
}
# What only guides torch's own compiler.
_HINTS: Final = frozenset(
    (
        "torch.ops.aten._assert_tensor_metadata.default",
        "torch.ops.aten.sym_constrain_range.default",
        "torch.ops.aten.sym_constrain_range_for_size.default",
    )
)
_LIST: Final = re.compile(r"List\[(?:\w+|\w+\[\w+\])\]")  # within a type, which may be optional
_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")  # in a literal
_AUTOCAST_ENABLED: Final = 2  # of the arguments of what sets it
_ASSERT: Final = "torch.ops.aten._assert_scalar.default"
_CASTS: Final = {"as_sym_int": "int", "as_sym_float": "float", "as_sym_bool": "bool"}


class Unsupported(ValueError):
    """A program uses what cannot be run here; the text says what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The exported program has {what}, which cannot be run here")


@dataclass(frozen=True, slots=True)
class Interface:
    """What goes into a program and what comes out, by the graph's names.

    Attributes:
        weights: What comes in the list of weights.
        inputs: The other inputs.
        outputs: What is returned.
        changes: For each weight that a run changes, the value that it has then.
    """

    weights: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    changes: Mapping[str, str]


def source_of(graph: Json, interface: Interface, device: torch.device) -> str:
    """Returns a function `forward(weights, inputs...)` that returns a list of tensors.

    Args:
        graph: The graph.
        interface: What goes into it and what comes out.
        device: Where tensors that the program makes are to be.

    Raises:
        Unsupported: The graph has what cannot be written in TorchScript.
    """
    writer = _Writer(device)
    scope = {name: writer.new_name() for name in (*interface.weights, *interface.inputs)}
    parameters = "".join(f", {scope[name]}: Tensor" for name in interface.inputs)
    writer.write(f"def forward(weights: List[Tensor]{parameters}) -> List[Tensor]:")
    with writer.indented():
        for index, name in enumerate(interface.weights):
            writer.write(f"{scope[name]} = weights[{index}]")
        writer.write_nodes(graph, scope)
        for name, result in interface.changes.items():
            writer.write(f"{scope[name]}.copy_({scope[result]})")
        returned = ", ".join(scope[name] for name in interface.outputs)
        writer.write(f"return torch.jit.annotate(List[Tensor], [{returned}])")
    return writer.source()


def only(union: Json) -> tuple[str, Any]:
    """Returns the one member of a union that is set, with its name."""
    ((name, value),) = ((name, value) for name, value in union.items() if value is not None)
    return name, value


class _Writer:
    """Writes source, line by line.

    Scopes map the graph's names to those in the source.

    Args:
        device: Where tensors that the program makes are to be.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lines: list[str] = []
        self._indent = ""
        self._names = 0

    def source(self) -> str:
        """Returns what was written."""
        return "\n".join([*self._lines, ""])

    def new_name(self) -> str:
        """Returns a name that is not in use."""
        self._names += 1
        return f"v{self._names}"

    def write(self, line: str) -> None:
        """Writes a line."""
        self._lines.append(self._indent + line)

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Writes what follows one step further to the right."""
        before, self._indent = self._indent, f"{self._indent}    "
        yield
        self._indent = before

    def write_nodes(self, graph: Json, scope: dict[str, str]) -> None:
        """Writes the nodes of a graph, and adds their outputs to the scope."""
        for node in graph["nodes"]:
            target = node["target"]
            if target in _HINTS:
                continue
            if target in _HIGHER:
                _HIGHER[target](self, node, scope)
                continue
            arguments = [(each["name"], each["arg"], each.get("kind")) for each in node["inputs"]]
            if target == _ASSERT:  # the operator itself would go as one without results
                condition, message = (self._value(each, "", scope) for _, each, _ in arguments)
                self.write(f"assert {condition}, {message}")
                continue
            if target in _SYMBOLIC:
                values = [self._value(argument, "", scope) for _, argument, _ in arguments]
                expression = f"({_SYMBOLIC[target].format(*values)})"
            else:
                expression = self._call(target, arguments, scope)
            self._assign(node["outputs"], expression, scope)

    # ------------------------------------------------------------------ expressions
    def _call(self, target: str, arguments: Sequence[Any], scope: dict[str, str]) -> str:
        match = _OPERATOR.fullmatch(target)
        if match is None or match[1] == "higher_order":
            raise Unsupported(f"the operator {target}")
        namespace, name, overload = match.groups()
        types = parameter_types(f"{namespace}::{name}", "" if overload == "default" else overload)
        if types is None:
            raise Unsupported(f"the unknown operator {target}")
        written = []
        for keyword, argument, kind in arguments:
            value = self._value(argument, types[keyword], scope)
            if keyword == "pin_memory":  # of memory for transfers, of which there are none
                value = "False"
            written.append(f"{keyword}={value}" if kind == _KEYWORD else value)
        return f"torch.ops.{namespace}.{name}({', '.join(written)})"

    def _value(self, argument: Json, annotation: str, scope: dict[str, str]) -> str:
        """Returns an argument as an expression.

        Args:
            argument: The argument.
            annotation: The type of what it is given for; empty where there is none.
            scope: The names that are known.
        """
        kind, value = only(argument)
        if not isinstance(value, list):
            return self._item(kind, value, annotation, scope)
        each = kind.removesuffix("s")
        items = ", ".join(self._item(each, item, annotation, scope) for item in value)
        found = _LIST.search(annotation)
        return f"torch.jit.annotate({found[0] if found else 'List[Tensor]'}, [{items}])"

    def _item(self, kind: str, value: Any, annotation: str, scope: dict[str, str]) -> str:  # noqa: ANN401 - JSON
        """Returns an argument, or an element of one that is a list, as an expression."""
        if kind == "as_tensor":
            return scope[value["name"]]
        if kind in _UNIONS:
            kind, value = only(value)
            return scope[value] if kind == "as_name" else self._item(kind, value, annotation, scope)
        if kind in _NUMBERS:
            return _number(value, decimal="float" in annotation)
        if kind == "as_device":
            return f'torch.device("{self._device}")'
        if kind not in _LITERALS:
            raise Unsupported(f"an argument of the kind {kind.removeprefix('as_')}")
        return _LITERALS[kind](value)

    # ------------------------------------------------------------------ results
    def _assign(self, outputs: Sequence[Json], expression: str, scope: dict[str, str]) -> None:
        """Writes an assignment to a node's outputs."""
        if not outputs:
            self.write(expression)
            return
        names = [self.new_name() for _ in outputs]
        self.write(f"{', '.join(names)} = {expression}")
        for name, output in zip(names, outputs, strict=True):
            self._name(only(output), name, scope)

    def _name(self, output: tuple[str, Any], name: str, scope: dict[str, str]) -> None:
        """Writes what makes an output of a value, and adds it to the scope."""
        kind, value = output
        if kind == "as_tensor":
            scope[value["name"]] = name
        elif kind == "as_tensors":
            for index, each in enumerate(value):
                scope[each["name"]] = self.new_name()
                self.write(f"{scope[each['name']]} = {name}[{index}]")
        elif kind in _CASTS:
            scope[value["as_name"]] = self.new_name()
            self.write(f"{scope[value['as_name']]} = {_CASTS[kind]}({name})")
        elif kind != "as_none":
            raise Unsupported(f"a result of the kind {kind.removeprefix('as_')}")

    # ------------------------------------------------------------------ graphs in graphs
    def _write_inner(
        self, graph: Json, operands: Sequence[str], scope: dict[str, str]
    ) -> list[str]:
        """Writes a graph within the graph; returns its outputs."""
        names = [only(each)[1]["name"] for each in graph["inputs"]]
        inner = scope | dict(zip(names, operands, strict=True))
        self.write_nodes(graph, inner)
        return [self._value(each, "", inner) for each in graph["outputs"]]

    def _write_wrapped(self, node: Json, scope: dict[str, str]) -> None:
        """Writes a graph for which gradients or automatic types are set: they are off anyway."""
        arguments = _arguments(node)
        if node["target"].endswith("autocast") and arguments[_AUTOCAST_ENABLED] != (
            "as_bool",
            False,
        ):
            raise Unsupported("autocast")
        at = [kind for kind, _ in arguments].index("as_graph")
        operands = [self._value(dict([each]), "", scope) for each in arguments[at + 1 :]]
        results = self._write_inner(arguments[at][1]["graph"], operands, scope)
        for output, name in zip(node["outputs"], results, strict=True):
            self._name(only(output), name, scope)

    def _write_cond(self, node: Json, scope: dict[str, str]) -> None:
        """Writes `torch.cond`."""
        predicate, (_, then), (_, otherwise), operands = _arguments(node)
        values = [scope[each["name"]] for each in _tensors(operands)]
        results = [self.new_name() for _ in node["outputs"]]
        decision = f"if bool({self._value(dict([predicate]), '', scope)}):"
        for line, branch in ((decision, then), ("else:", otherwise)):
            self.write(line)
            with self.indented():
                self._rebind(results, self._write_inner(branch["graph"], values, scope))
        for output, name in zip(node["outputs"], results, strict=True):
            self._name(only(output), name, scope)

    def _write_while(self, node: Json, scope: dict[str, str]) -> None:
        """Writes `while_loop`."""
        (_, condition), (_, body), operands, more = _arguments(node)
        carried = [self.new_name() for _ in _tensors(operands)]
        self._rebind(carried, [scope[each["name"]] for each in _tensors(operands)])
        values = [*carried, *(scope[each["name"]] for each in _tensors(more))]
        goes_on = self.new_name()

        def decide() -> None:
            (decision,) = self._write_inner(condition["graph"], values, scope)
            self.write(f"{goes_on} = bool({decision})")

        decide()
        self.write(f"while {goes_on}:")
        with self.indented():
            self._rebind(carried, self._write_inner(body["graph"], values, scope))
            decide()
        for output, name in zip(node["outputs"], carried, strict=True):
            self._name(only(output), name, scope)

    def _rebind(self, names: Sequence[str], values: Sequence[str]) -> None:
        """Writes assignments that take place at once."""
        fresh = [self.new_name() for _ in names]
        for name, value in [*zip(fresh, values, strict=True), *zip(names, fresh, strict=True)]:
            self.write(f"{name} = {value}")
        if not names:
            self.write("pass")


_HIGHER: Final[Mapping[str, Callable[[_Writer, Json, dict[str, str]], None]]] = {
    "torch.ops.higher_order.wrap_with_set_grad_enabled": _Writer._write_wrapped,  # noqa: SLF001
    "torch.ops.higher_order.wrap_with_autocast": _Writer._write_wrapped,  # noqa: SLF001
    "torch.ops.higher_order.cond": _Writer._write_cond,  # noqa: SLF001
    "torch.ops.higher_order.while_loop": _Writer._write_while,  # noqa: SLF001
}


def _arguments(node: Json) -> list[tuple[str, Any]]:
    return [only(each["arg"]) for each in node["inputs"]]


def _tensors(argument: tuple[str, Any]) -> list[Json]:
    kind, value = argument
    if kind != "as_tensors":
        raise Unsupported("numbers that go into a graph within the graph")
    tensors: list[Json] = value
    return tensors


def _number(value: float | str, *, decimal: bool = False) -> str:
    """Returns a number or a boolean as it is written in source; some floats are text in JSON."""
    if isinstance(value, str):
        value = float(value)
    if not math.isfinite(value):
        return f'float("{value}")'
    return repr(float(value)) if decimal and type(value) is int else repr(value)


_UNIONS: Final = ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor")
_NUMBERS: Final = ("as_int", "as_float", "as_bool")
_LITERALS: Final[Mapping[str, Callable[[Any], str]]] = {
    "as_complex": lambda value: f"complex({_number(value['real'])}, {_number(value['imag'])})",
    "as_layout": lambda value: f"torch.{LAYOUTS[value]}",
    "as_memory_format": lambda value: f"torch.{_MEMORY_FORMATS[value]}",
    "as_none": lambda _: "None",
    "as_scalar_type": lambda value: f"torch.{SCALAR_TYPES[value]}",
    "as_string": lambda value: f'"{_UNSAFE.sub("?", value)}"',
}
