"""A plugin under test, called through pluggy as the host calls it, and typed.

What a hook returns is checked here for its kind, never for being right.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pluggy

from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.hookspecs import (
    PROJECT,
    BackendHooks,
    BackendInfo,
    DeviceInfo,
    OptionalHooks,
    RunContext,
    ScriptCall,
    ScriptHooks,
)
from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec
from tensorkeep.tensor import Tensor
from tensorkeep.testing.checks import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorkeep.hookspecs import Commands
    from tensorkeep.tensor import DType
    from tensorkeep.testing.examples import ScriptExample


class Subject:
    """A plugin on one device.

    Attributes:
        name: The backend's name.
        device: Where models run.

    Args:
        plugin: A module or an object with `@hookimpl` functions.
        name: The backend's name.
        device: Where models run, for example `GPU:1`.
    """

    def __init__(self, plugin: object, name: str, device: str) -> None:
        self.name: Final = name
        self.device: Final = Device.parse(device)
        self._plugin = plugin
        self._manager = pluggy.PluginManager(PROJECT)
        for spec in (BackendHooks, OptionalHooks, ScriptHooks):
            self._manager.add_hookspecs(spec)
        try:
            self._manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise AssertionError(f"the plugin cannot be registered: {error}") from error
        self._hooks: Any = self._manager.hook  # pluggy's relay is untyped

    # ------------------------------------------------------------------ the plugin
    def has(self, hook: str) -> bool:
        """Returns whether the plugin has a hook."""
        return bool(getattr(self._hooks, hook).get_hookimpls())

    def check_hooks(self) -> None:
        """Checks that no hook is misspelled, and that the required ones are there."""
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise AssertionError(f"a hook is misspelled: {error}") from error
        required = _hooks_of(BackendHooks)
        missing = [hook for hook in required if not self.has(hook)]
        if not missing and self.info().scripts:
            missing = [hook for hook in _hooks_of(ScriptHooks) if not self.has(hook)]
        check(not missing, f"the required hooks {missing} are missing")

    def info(self) -> BackendInfo:
        """Returns what the backend says of itself."""
        info = self._hooks.backend_info()
        if not isinstance(info, BackendInfo):
            raise AssertionError(f"backend_info must return a BackendInfo, not {info!r}")  # noqa: TRY004 - a check
        return info

    def devices(self) -> list[DeviceInfo]:
        """Returns the devices that the backend says it can use."""
        devices = self._hooks.devices()
        if not devices or not all(isinstance(each, DeviceInfo) for each in devices):
            raise AssertionError(f"devices must return a DeviceInfo or more, not {devices!r}")
        return list(devices)

    def dtypes(self) -> set[DType]:
        """Returns the types that models may take here; none when the device is not claimed."""
        found: set[DType] = set()
        for each in self.devices():
            anywhere = each.index is None or self.device.index is None
            if each.kind == self.device.kind and (anywhere or each.index == self.device.index):
                found |= each.dtypes
        return found

    def self_check(self) -> None:
        """Lets the backend check itself."""
        self._hooks.self_check()

    def stats(self) -> Mapping[object, object]:
        """Returns the backend's figures, unchecked."""
        return dict(self._hooks.backend_stats())

    # ------------------------------------------------------------------ models
    def create(self, blob: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> LoadedModel:
        """Builds a model."""
        spec = ModelSpec(self.name, self.device, inputs=tuple(inputs), outputs=tuple(outputs))
        model = self._hooks.model_create(spec=spec, blob=blob, options=BackendOptions())
        if not isinstance(model, LoadedModel):
            raise AssertionError(f"model_create must return a LoadedModel, not {model!r}")  # noqa: TRY004 - a check
        return model

    @contextmanager
    def loaded(
        self, blob: bytes, inputs: Sequence[str], outputs: Sequence[str]
    ) -> Iterator[LoadedModel]:
        """Builds a model and frees it at the end."""
        model = self.create(blob, inputs, outputs)
        yield model
        self._hooks.model_free(model=model)

    def run(
        self, model: LoadedModel, inputs: Sequence[Tensor], context: RunContext | None = None
    ) -> list[Tensor | None]:
        """Runs a model."""
        context = context or RunContext(self.device)
        outputs = self._hooks.model_run(model=model, inputs=list(inputs), run=context)
        found = _tensors("model_run", outputs)
        check(
            len(found) == len(model.outputs),
            f"model_run returned {len(found)} outputs for {len(model.outputs)}",
        )
        return found

    def serialize(self, model: LoadedModel) -> bytes:
        """Returns a model as bytes."""
        blob = self._hooks.serialize(model=model)
        if not isinstance(blob, bytes):
            raise AssertionError(f"serialize must return bytes, not {type(blob).__name__}")  # noqa: TRY004 - a check
        return blob

    # ------------------------------------------------------------------ scripts
    @contextmanager
    def compiled(self, source: bytes, entry_points: Sequence[str]) -> Iterator[object]:
        """Compiles a script and frees it at the end."""
        spec = ScriptSpec(self.name, self.device, entry_points=tuple(entry_points))
        options = BackendOptions()
        script: object = self._hooks.script_create(spec=spec, source=source, options=options)
        check(script is not None, "script_create must not return None")
        yield script
        self._hooks.script_free(script=script)

    def call(  # noqa: PLR0913 - what the tests vary
        self,
        script: object,
        example: ScriptExample,
        commands: Commands,
        outputs: int | None,
        *,
        function: str | None = None,
        tensors: Sequence[Tensor] | None = None,
        context: RunContext | None = None,
    ) -> list[Tensor | None]:
        """Calls a function of a script, by default the one of the example, as it says."""
        call = ScriptCall(
            function or example.function,
            list(example.tensors if tensors is None else tensors),
            list(example.keys),
            list(example.arguments),
            outputs,
            commands,
        )
        run = context or RunContext(self.device)
        return _tensors("script_run", self._hooks.script_run(script=script, call=call, run=run))


def _hooks_of(protocol: type) -> list[str]:
    return [name for name, value in vars(protocol).items() if hasattr(value, f"{PROJECT}_spec")]


def _tensors(hook: str, outputs: Sequence[Any] | None) -> list[Tensor | None]:
    if outputs is None or not all(each is None or isinstance(each, Tensor) for each in outputs):
        raise AssertionError(f"{hook} must return a sequence of tensors, not {outputs!r}")
    return list(outputs)
