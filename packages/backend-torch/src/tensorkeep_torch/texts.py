"""Text between TorchScript and Python, whatever its bytes are.

Text of TorchScript is bytes. Python's functions are given it as `str`, which fails for what is not
UTF-8, in C++ and before they are called. So a value comes wrapped: unwrapping it is the same
conversion, but here, where its failure can be caught, and then the bytes are fetched one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from tensorkeep_torch.internals import Wrapped, compile_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorkeep_torch.internals import Native

WRAPPED: Final[Any] = Wrapped[Any]
"""What the compiler takes for the type of a parameter whose value comes wrapped."""
WRAP: Final = "torch.jit._awaitable_nowait"
"""What wraps a value, of type `Any`, in source of TorchScript."""

_SOURCE: Final = """
def is_text(wrapped: Await[Any]) -> bool:
    return isinstance(torch.jit._awaitable_wait(wrapped), str)

def codes(wrapped: Await[Any]) -> Tensor:
    value = torch.jit._awaitable_wait(wrapped)
    assert isinstance(value, str)
    return torch.tensor([ord(each) for each in list(value)], dtype=torch.uint8)

def item(wrapped: Await[Any], index: int) -> Await[Any]:
    value = torch.jit._awaitable_wait(wrapped)
    if isinstance(value, List[str]):
        return torch.jit._awaitable_nowait(torch.jit.annotate(Any, value[index]))
    if isinstance(value, List[Any]):
        return torch.jit._awaitable_nowait(value[index])
    return torch.jit._awaitable_nowait(torch.ops.prim.TupleIndex(value, index))
"""
_unit: Final = compile_source(_SOURCE, {"torch": torch}.get)
_is_text: Final = _unit.find_function("is_text")
_codes: Final = _unit.find_function("codes")
_item: Final = _unit.find_function("item")
_BEYOND: Final = "index out of range"  # how torch says that there is no such item


def unwrapped(value: Native) -> Any:  # noqa: ANN401 - whatever it is
    """Returns a wrapped value: text as `str` where it is UTF-8, and otherwise as bytes."""
    try:
        return value.wait()
    except UnicodeDecodeError:
        if _is_text(value):
            return bytes(_codes(value).numpy())
        return list(_items(value))


def _items(value: Native) -> Iterator[Any]:
    """Gives the items of a wrapped list or tuple."""
    index = 0
    while True:
        try:
            found = _item(value, index)
        except RuntimeError as error:
            if _BEYOND in str(error):
                return
            raise
        yield unwrapped(found)
        index += 1
