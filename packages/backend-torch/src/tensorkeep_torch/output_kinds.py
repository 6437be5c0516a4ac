"""Which tensors a graph returns for certain that no reply can hold: complex, quantized, sparse.

A graph of TorchScript rarely says of which type a tensor is. Where it does, a model is refused when
it is stored; where it does not, the run says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from tensorkeep_torch.internals import Native

# What makes a tensor that cannot be returned, and what it is then.
_MAKERS: Final = {
    "aten::complex": "a complex tensor",
    "aten::polar": "a complex tensor",
    "aten::view_as_complex": "a complex tensor",
    **{
        f"aten::fft_{name}": "a complex tensor"
        for name in (
            *("fft", "fft2", "fftn", "ifft", "ifft2", "ifftn"),
            *("rfft", "rfft2", "rfftn", "ihfft", "ihfft2", "ihfftn"),
        )
    },
    "aten::quantize_per_channel": "a quantized tensor",
    "aten::quantize_per_tensor": "a quantized tensor",
    "aten::sparse_coo_tensor": "a sparse tensor",
    "aten::to_sparse": "a sparse tensor",
}
# What returns a tensor of the kind of the one that it is given, or, of several, of the widest.
_KEEPERS: Final = frozenset(
    f"aten::{name}"
    for name in (
        *("add", "bmm", "cat", "clone", "conj", "contiguous", "detach", "div", "dropout", "exp"),
        *("expand", "flatten", "flip", "index_select", "matmul", "mean", "mm", "mul", "narrow"),
        *("neg", "permute", "pow", "reshape", "roll", "select", "slice", "squeeze", "stack", "sub"),
        *("sum", "t", "transpose", "unsqueeze", "view", "fft_fftshift", "fft_ifftshift"),
    )
)
_DEEPEST: Final = 50  # nodes that are gone back


def unsupported(value: Native) -> str | None:
    """Returns what a value of a graph is for certain, if that cannot be returned.

    Args:
        value: A tensor in a graph, None where it is not known.
    """
    return None if value is None else _found(value, _DEEPEST)


def _found(value: Native, depth: int) -> str | None:
    node = value.node()
    kind = node.kind()
    if kind in _MAKERS:
        return _MAKERS[kind]
    if kind == "prim::Constant":
        constant = value.toIValue()
        is_complex = isinstance(constant, torch.Tensor) and constant.is_complex()
        return _MAKERS["aten::complex"] if is_complex else None
    if depth == 0 or kind not in _KEEPERS | {"prim::ListConstruct"}:
        return None
    for each in node.inputs():
        if each.type().kind() in {"TensorType", "ListType"}:
            found = _found(each, depth - 1)
            if found is not None:
                return found
    return None
