"""A typed handle to one loaded backend: its plugin, registered, checked and called through pluggy.

Where the plugin does its work, in this process or outside, makes no difference here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import pluggy

from tensorkeep import hook_results
from tensorkeep.errors import BackendUnavailable, DeviceUnavailable, RunFailed, text_of
from tensorkeep.hook_results import WrongResult, broken, is_ours
from tensorkeep.hookspecs import API_VERSION, PROJECT, BackendHooks, OptionalHooks, ScriptHooks
from tensorkeep.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorkeep.config import BackendOptions
    from tensorkeep.device import Device
    from tensorkeep.hookspecs import BackendInfo, RunContext, ScriptCall
    from tensorkeep.model import LoadedModel, ModelSpec, ScriptSpec

_R = TypeVar("_R")

_SPECS: Final = (BackendHooks, OptionalHooks, ScriptHooks)


def _names(spec: type) -> list[str]:
    return [name for name, value in vars(spec).items() if hasattr(value, f"{PROJECT}_spec")]


_REQUIRED: Final = _names(BackendHooks)
_SCRIPTS: Final = _names(ScriptHooks)


class Hooks:
    """A plugin that was registered: one typed method per hook, each result checked.

    Calls go through pluggy, so that a plugin that is no backend can wrap the hooks. Where none
    does, `model_run` is the backend's own function: the relay takes about 2 µs, a tenth of all the
    time that a run of a small model takes.

    Attributes:
        name: The name that users write.
        serializes: Whether it has a way of its own to make bytes of a model.
        wrapped: Whether another plugin wraps its runs of models.

    Args:
        name: The name that users write.
        plugin: A module or an object with hooks.
        wrappers: Plugins that wrap its hooks.

    Raises:
        BackendUnavailable: It breaks the contract.
    """

    def __init__(self, name: str, plugin: object, wrappers: Iterable[object] = ()) -> None:
        self.name = name
        self._manager = _register(name, plugin, wrappers)
        self._hooks = hooks = self._manager.hook
        self._model_create = hooks.model_create
        self._model_run = _shortest_way(hooks.model_run, ("model", "inputs", "run"))
        self.serializes: Final = bool(hooks.serialize.get_hookimpls())
        self.wrapped: Final = len(hooks.model_run.get_hookimpls()) > 1

    def model_create(self, spec: ModelSpec, blob: bytes, options: BackendOptions) -> LoadedModel:
        """See `hookspecs.BackendHooks.model_create`.

        Raises:
            BackendUnavailable: The hook returned no model.
            Exception: The plugin's own.
        """
        returned = self._model_create(spec=spec, blob=blob, options=options)
        try:
            return hook_results.loaded_model(returned)
        except WrongResult as error:
            raise BackendUnavailable(self.name, f"its hook {error}") from error

    def model_run(
        self, model: LoadedModel, inputs: Sequence[Tensor], run: RunContext
    ) -> Sequence[Tensor | None]:
        """See `hookspecs.BackendHooks.model_run`.

        Raises:
            RunFailed: The hook returned no sequence of tensors.
            Exception: The plugin's own.
        """
        outputs = self._model_run(model, inputs, run)
        if type(outputs) is list:  # as of most backends: 50 ns
            for each in outputs:
                if type(each) is not Tensor and each is not None:
                    break
            else:
                return outputs
        try:
            return hook_results.tensors("model_run", outputs, or_none=True)
        except BaseException as error:  # the plugin's own code may stand behind a sequence
            raise broken(self.name, error) from error

    def serialize(self, model: LoadedModel, blob: bytes) -> bytes:
        """Returns the bytes of a model: the stored blob, unless the backend has its own way.

        Raises:
            RunFailed: The backend failed, or returned no bytes.
        """
        if not self.serializes:
            return blob
        return self._asked(lambda: hook_results.blob(self._hooks.serialize(model=model)))

    def model_free(self, model: LoadedModel) -> None:
        """See `hookspecs.OptionalHooks.model_free`."""
        hook_results.nothing("model_free", self._hooks.model_free(model=model))

    def backend_stats(self) -> Mapping[str, int]:
        """See `hookspecs.OptionalHooks.backend_stats`; empty when the backend has none.

        Raises:
            RunFailed: The backend failed, or returned something else.
        """
        return self._asked(lambda: hook_results.stats(self._hooks.backend_stats()))

    def _asked(self, ask: Callable[[], _R]) -> _R:
        """Returns what the backend tells; whatever it raises instead is a `RunFailed`."""
        try:
            return ask()
        except WrongResult as error:
            raise broken(self.name, error) from error
        except BaseException as error:  # a plugin may raise anything
            if is_ours(error):
                raise
            raise RunFailed(text_of(error)) from error

    def script_create(self, spec: ScriptSpec, source: bytes, options: BackendOptions) -> object:
        """See `hookspecs.ScriptHooks.script_create`.

        Raises:
            BackendUnavailable: The hook returned no script.
            Exception: The plugin's own.
        """
        returned = self._hooks.script_create(spec=spec, source=source, options=options)
        try:
            return hook_results.script(returned)
        except WrongResult as error:
            raise BackendUnavailable(self.name, f"its hook {error}") from error

    def script_run(self, script: object, call: ScriptCall, run: RunContext) -> Sequence[Tensor]:
        """See `hookspecs.ScriptHooks.script_run`; nothing where outputs are not asked for.

        Raises:
            RunFailed: The hook returned no sequence of tensors, or has not called the function yet.
            Exception: The plugin's own.
        """
        outputs = self._hooks.script_run(script=script, call=call, run=run)
        try:
            if outputs is not None and call.outputs is None:
                hook_results.done("script_run", outputs)
                return []
            return hook_results.tensors("script_run", outputs, or_none=False)
        except BaseException as error:  # the plugin's own code may stand behind a sequence
            raise broken(self.name, error) from error

    def script_free(self, script: object) -> None:
        """See `hookspecs.ScriptHooks.script_free`."""
        hook_results.nothing("script_free", self._hooks.script_free(script=script))


class Backend(Hooks):
    """A loaded backend that keeps to the contract and works.

    Attributes:
        isolated: Whether its hooks do their work outside this process.
        info: What the backend says of itself.
        devices: The devices that this installation can use.

    Args:
        name: The name that users write.
        plugin: A module or an object with hooks, or what stands in for it.
        wrappers: Plugins that wrap its hooks.
        isolated: Whether its hooks do their work outside this process.

    Raises:
        BackendUnavailable: It breaks the contract.
        Exception: The plugin's own: it does not work.
    """

    def __init__(
        self,
        name: str,
        plugin: object,
        wrappers: Iterable[object] = (),
        *,
        isolated: bool = False,
    ) -> None:
        super().__init__(name, plugin, wrappers)
        self.isolated = isolated
        hooks = self._hooks
        try:
            info = hook_results.info(hooks.backend_info())
            _check_version(name, info)
            if info.scripts:
                _require(name, self._manager, _SCRIPTS)
            hook_results.nothing("self_check", hooks.self_check())
            devices = hook_results.devices(hooks.devices())
        except WrongResult as error:
            raise BackendUnavailable(name, f"its hook {error}") from error
        self.info: Final = info
        self.devices: Final = devices

    def serialize(self, model: LoadedModel, blob: bytes) -> bytes:
        """Returns the bytes of a model: the stored blob, unless the backend has its own way here.

        The thread that asks is the loop's, and does not wait for another process.

        Raises:
            RunFailed: The backend failed, or returned no bytes.
        """
        return blob if self.isolated else super().serialize(model, blob)

    def check_device(self, device: Device) -> None:
        """Checks that models of this backend can run on a device.

        Raises:
            DeviceUnavailable: They cannot. `CPU:1` is a CPU with a queue of its own, and always
                there when `CPU` is.
        """
        for info in self.devices:
            anywhere = info.index is None or device.index is None or device.kind == "CPU"
            if info.kind == device.kind and (anywhere or info.index == device.index):
                return
        raise DeviceUnavailable(self.name, device.name)

    def __repr__(self) -> str:
        return f"Backend({self.name}, {self.info.framework} {self.info.framework_version})"


def _register(name: str, plugin: object, wrappers: Iterable[object]) -> pluggy.PluginManager:
    """Gives a backend a plugin manager of its own, with the wrappers around it.

    One manager per backend: no backend is ever asked for another's models, and loading one
    changes nothing that a worker thread may be calling through just now.
    """
    manager = pluggy.PluginManager(PROJECT)
    for spec in _SPECS:
        manager.add_hookspecs(spec)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise BackendUnavailable(name, f"it breaks the contract: {error}") from error
    _require(name, manager, _REQUIRED)
    for wrapper in wrappers:
        manager.register(wrapper)
    return manager


def _shortest_way(hook: pluggy.HookCaller, names: tuple[str, ...]) -> Callable[..., Any]:
    """Returns what calls a hook with positional arguments, without a relay if none is needed.

    One is needed for wrappers, and for a function that leaves out arguments.
    """
    implementations = hook.get_hookimpls()
    if len(implementations) == 1 and tuple(implementations[0].argnames) == names:
        return implementations[0].function
    return lambda *arguments: hook(**dict(zip(names, arguments, strict=True)))


def _check_version(name: str, info: BackendInfo) -> None:
    if info.api_version != API_VERSION:
        reason = (
            f"it was written for version {info.api_version} of the backend contract, "
            f"this Tensorkeep has version {API_VERSION}"
        )
        raise BackendUnavailable(name, reason)


def _require(name: str, manager: pluggy.PluginManager, hooks: Iterable[str]) -> None:
    missing = [hook for hook in hooks if not getattr(manager.hook, hook).get_hookimpls()]
    if missing:
        raise BackendUnavailable(name, f"it lacks the required hooks {', '.join(missing)}")


def reason_of(error: BaseException) -> str:
    """Returns why a backend does not work: what was raised, and what it says."""
    name, text = type(error).__name__, text_of(error)
    return name if text == name else f"{name}: {text}"
