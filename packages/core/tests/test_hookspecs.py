"""The contract of a backend: what is exchanged, and that pluggy reads it."""

import dataclasses
import inspect
from typing import Any

import pluggy
import pytest

from tensorkeep import hookspecs
from tensorkeep.device import Device
from tensorkeep.hookspecs import (
    BackendHooks,
    BackendInfo,
    DeviceInfo,
    OptionalHooks,
    RunContext,
    ScriptCall,
    ScriptHooks,
    hookimpl,
)
from tensorkeep.testing import FakeBackend

HOOKS = {
    name: function
    for protocol in (BackendHooks, OptionalHooks, ScriptHooks)
    for name, function in vars(protocol).items()
    if hasattr(function, f"{hookspecs.PROJECT}_spec")
}
CPU = Device.parse("CPU")
NO_COMMANDS: Any = None


def manager():
    made = pluggy.PluginManager(hookspecs.PROJECT)
    for protocol in (BackendHooks, OptionalHooks, ScriptHooks):
        made.add_hookspecs(protocol)
    return made


# ---------------------------------------------------------------------- the hooks
def test_the_hooks_are_those_of_the_design():
    assert sorted(HOOKS) == [
        "backend_info", "backend_stats", "devices", "model_create", "model_free", "model_run",
        "script_create", "script_free", "script_run", "self_check", "serialize",
    ]  # fmt: skip


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_answers_once_and_is_explained(name):
    assert getattr(HOOKS[name], f"{hookspecs.PROJECT}_spec")["firstresult"]
    assert inspect.getdoc(HOOKS[name])


def test_a_complete_backend_registers_and_implements_every_hook():
    made = manager()
    plugin = FakeBackend()
    made.register(plugin, "FAKE")
    made.check_pending()
    assert {caller.name for caller in made.get_hookcallers(plugin)} == set(HOOKS)


def test_a_hook_with_another_argument_is_refused_when_it_registers():
    class Plugin:
        @hookimpl
        def model_free(self, modell):
            pass

    with pytest.raises(pluggy.PluginValidationError, match="modell"):
        manager().register(Plugin())


def test_a_misspelled_hook_is_found():
    class Plugin:
        @hookimpl
        def model_ruin(self):
            pass

    made = manager()
    made.register(Plugin())
    with pytest.raises(pluggy.PluginValidationError, match="model_ruin"):
        made.check_pending()


# ---------------------------------------------------------------------- what is exchanged
@pytest.mark.parametrize(
    "value",
    [
        BackendInfo(1, "fake", "1.0"),
        DeviceInfo("CPU", None, "", None, frozenset()),
        ScriptCall("f", (), (), (), None, commands=NO_COMMANDS),
    ],
)
def test_what_is_exchanged_cannot_be_changed(value):
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)


def test_a_backend_has_no_scripts_and_needs_no_names_unless_it_says_so():
    info = BackendInfo(1, "fake", "1.0")
    assert not info.scripts
    assert not info.needs_names


# ---------------------------------------------------------------------- the context of a run
def test_the_time_of_a_run_starts_when_it_begins():
    run = RunContext(CPU, timeout=5)
    assert (run.device, run.deadline, run.cancelled) == (CPU, None, False)
    run.begin(100.0)
    assert run.deadline == 105.0


def test_a_run_without_a_timeout_has_no_deadline():
    run = RunContext(CPU)
    run.begin(100.0)
    assert run.deadline is None


def test_cancelling_a_run_ends_it():
    ended = []
    run = RunContext(CPU)
    run.on_cancel(lambda: ended.append(run.cancelled))
    assert ended == []
    run.cancel()
    assert ended == [True]


def test_a_run_that_was_cancelled_already_ends_at_once():
    ended = []
    run = RunContext(CPU)
    run.cancel()
    run.on_cancel(lambda: ended.append(True))
    assert ended == [True]


def test_a_run_that_can_no_longer_be_ended_is_left_alone():
    ended = []
    run = RunContext(CPU)
    run.on_cancel(lambda: ended.append(True))
    run.on_cancel(None)
    run.cancel()
    assert run.cancelled
    assert ended == []


def test_a_cancelled_run_may_say_that_it_can_no_longer_be_ended():
    run = RunContext(CPU)
    run.cancel()
    run.on_cancel(None)
    assert run.cancelled
