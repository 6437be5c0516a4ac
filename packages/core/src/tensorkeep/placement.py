"""Where a model or script runs: in this process, or in a worker outside; decided from plain values.

A framework trusts its models: what is not known to be harmless runs where it can harm only itself.
Which models are harmless is known to their backend alone, whose package names a module for it:

    [project.entry-points."tensorkeep.harmless"]
    ONNX = "tensorkeep_onnx.harmless"

The module imports no framework, and has what `Judge` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorkeep.model import ModelSpec

ENTRY_POINT_GROUP: Final = "tensorkeep.harmless"

_AUTO, _ALL, _NONE = "auto", "all", "none"
_MODES: Final = (_AUTO, _ALL, _NONE)


class Judge(Protocol):
    """What tells which models of a backend are harmless.

    Attributes:
        LIGHT: Whether importing the framework is quick: then it is imported in this process for
            the first harmless model; otherwise only when the server is told to load it at its
            start.
    """

    LIGHT: bool

    def why_isolated(self, spec: ModelSpec, blob: bytes) -> str:
        """Returns why a model is not known to be harmless; empty when it is.

        It is when it consists of nothing but operators that do no harm, whatever clients send.
        Called on a thread of its own, with bytes that may be anything.

        Args:
            spec: What the user said.
            blob: The serialized model.
        """


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model or script runs.

    Attributes:
        isolated: Whether in a worker outside this process.
        reason: Why, for people.
    """

    isolated: bool
    reason: str


HERE: Final = Placement(isolated=False, reason="nothing is isolated")
"""Where things run when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Isolate:
    """The setting: which backends are isolated.

    Attributes:
        mode: `auto` isolates what is not known to be harmless, `all` everything, `none` nothing.
            Empty when `names` says it.
        names: Names of the backends that are isolated, upper case.
    """

    mode: str
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Isolate:
        """Returns the setting from its text: `auto`, `all`, `none`, or names with commas between.

        Raises:
            ValueError: It is neither.
        """
        word = text.strip().lower()
        if word in _MODES:
            return cls(word)
        names = [name.strip().upper() for name in text.split(",")]
        if not all(names) or {name.lower() for name in names} & {*_MODES}:
            raise ValueError(
                f"isolate must be auto, all, none, or names of backends with commas between,"
                f" not {text!r}"
            )
        return cls("", frozenset(names))

    @property
    def nothing(self) -> bool:
        """Whether nothing is isolated, whatever there is."""
        return self.mode == _NONE

    @property
    def insists(self) -> bool:
        """Whether what is to be isolated must not run in this process instead."""
        return self.mode != _AUTO

    def settled(self, backend: str) -> Placement | None:
        """Returns where everything of a backend runs; None when it hangs on the model."""
        match self.mode:
            case "auto":
                return None
            case "all":
                return Placement(isolated=True, reason="everything is isolated")
            case "none":
                return HERE
            case _ if backend in self.names:
                return Placement(isolated=True, reason=f"everything of {backend} is isolated")
            case _:
                return Placement(isolated=False, reason=f"{backend} is not isolated")


def of_script(setting: Isolate, backend: str) -> Placement:
    """Returns where a script of a backend runs: no list says what a script may do."""
    return setting.settled(backend) or Placement(
        isolated=True, reason="scripts are always isolated"
    )


def of_model(setting: Isolate, backend: str, why_isolated: Callable[[], str] | None) -> Placement:
    """Returns where a model of a backend runs.

    Args:
        setting: What is isolated.
        backend: Name of the backend, upper case.
        why_isolated: Returns why the model is to be isolated, empty when it is harmless; None when
            nothing tells that of the backend's models. Only called where it decides.
    """
    settled = setting.settled(backend)
    if settled is not None:
        return settled
    if why_isolated is None:
        return Placement(isolated=True, reason=f"nothing tells harmless models of {backend}")
    why = why_isolated()
    if why:
        return Placement(isolated=True, reason=why)
    return Placement(isolated=False, reason="all its operators are known to be harmless")
