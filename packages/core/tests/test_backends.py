"""Backends: listed without importing, loaded by name, checked, and reported when broken."""

import json
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import EntryPoint

import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import BackendOptions
from tensorkeep.device import Device
from tensorkeep.errors import (
    BackendNotInstalled,
    BackendUnavailable,
    DeviceUnavailable,
    RunFailed,
)
from tensorkeep.hookspecs import BackendInfo, RunContext, ScriptCall, hookimpl
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.testing.fake_backend import FakeBackend, fake_gpu

MODEL = json.dumps({"op": "identity"}).encode()


def backends(plugin, name="MINE", **options):
    made = Backends(installed=lambda: (), **options)
    made.add(name, plugin)
    return made


def plugin_module(tmp_path, monkeypatch, name, source):
    """An importable plugin module, and its entry point."""
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return EntryPoint(name.upper(), name, "tensorkeep.backends")


GOOD = """
from tensorkeep.hookspecs import BackendInfo, DeviceInfo, hookimpl
from tensorkeep.model import LoadedModel
@hookimpl
def backend_info(): return BackendInfo(1, "mod", "3")
@hookimpl
def devices(): return [DeviceInfo("CPU", None, "", None, frozenset())]
@hookimpl
def model_create(spec, blob, options): return LoadedModel(None, ("x",), ("y",))
@hookimpl
def model_run(model, inputs): return inputs
"""


def test_listing_imports_nothing(tmp_path, monkeypatch):
    point = plugin_module(tmp_path, monkeypatch, "listed_plugin", "raise RuntimeError('imported')")
    found = Backends(installed=lambda: [point])
    assert found.names() == ["LISTED_PLUGIN"]
    assert [(s.name, s.backend, s.reason) for s in found.status()] == [("LISTED_PLUGIN", None, "")]
    assert "listed_plugin" not in sys.modules


def test_a_module_of_functions_is_a_backend_and_any_case_of_its_name_finds_it(
    tmp_path, monkeypatch
):
    point = plugin_module(tmp_path, monkeypatch, "good_plugin", GOOD)
    found = Backends(installed=lambda: [point])
    backend = found.load("good_Plugin")
    assert backend.info.framework == "mod"
    assert found.load("GOOD_PLUGIN") is backend
    assert "mod 3" in repr(backend)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_framework", "No module named 'no_such_framework'"),
        ("1/0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        (GOOD.replace("def model_run(model", "def model_run(modell"), "modell"),
        (GOOD.replace("def model_run", "def model_rum"), "model_rum"),
        (GOOD.replace("def devices(): return", "def devices(): return None or"), None),
        (GOOD.replace("BackendInfo(1", "BackendInfo(99"), "version 99 of the backend contract"),
        (
            GOOD.replace('return BackendInfo(1, "mod", "3")', "return None"),
            "backend_info returned None",
        ),
        (GOOD + "@hookimpl\ndef self_check(): raise OSError('no such library')", "no such library"),
        (GOOD.replace('"mod", "3")', '"mod", "3", scripts=True)'), "script_create, script_run"),
        (GOOD.replace('[DeviceInfo("CPU", None, "", None, frozenset())]', "[]"), "no device"),
    ],
)
def test_a_broken_plugin_is_reported_with_its_reason(tmp_path, monkeypatch, source, reason):
    name = f"broken_{abs(hash(source))}"
    point = plugin_module(tmp_path, monkeypatch, name, source)
    found = Backends(installed=lambda: [point])
    if reason is None:
        assert found.load(name).devices
        return
    with pytest.raises(BackendUnavailable, match=reason) as error:
        found.load(name)
    assert error.value.backend == name.upper()
    (status,) = found.status()
    assert status.backend is None
    assert reason in status.reason


def test_a_broken_plugin_does_not_stop_another(tmp_path, monkeypatch):
    broken = plugin_module(tmp_path, monkeypatch, "broken_one", "1/0")
    good = plugin_module(tmp_path, monkeypatch, "good_one", GOOD)
    found = Backends(installed=lambda: [broken, good])
    with pytest.raises(BackendUnavailable):
        found.load("BROKEN_ONE")
    assert found.load("GOOD_ONE")


def test_a_plugin_that_works_at_the_second_try_is_no_longer_reported(tmp_path, monkeypatch):
    point = plugin_module(
        tmp_path, monkeypatch, "flaky", "import os; os.environ['FLAKY_READY']\n" + GOOD
    )
    found = Backends(installed=lambda: [point])
    with pytest.raises(BackendUnavailable):
        found.load("FLAKY")
    monkeypatch.setenv("FLAKY_READY", "1")
    assert found.load("FLAKY")
    assert found.status()[0].reason == ""


def test_a_backend_that_nobody_brings_is_named_with_those_there_are():
    with pytest.raises(BackendNotInstalled, match="installed: MINE"):
        backends(FakeBackend()).load("OTHER")


def test_the_installed_backends_are_found_by_their_entry_points():
    names = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys; from tensorkeep.backends import Backends; b = Backends();"
                "print(*b.names()); print([s.distribution for s in b.status()], file=sys.stderr);"
                "assert not {'onnxruntime', 'torch', 'tensorflow'} & set(sys.modules)"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ONNX" in names.stdout.split() or names.stdout.strip() == ""


def test_devices_are_checked_by_kind_and_number():
    backend = backends(FakeBackend(devices=[fake_gpu(0)])).load("MINE")
    backend.check_device(Device.parse("gpu"))
    backend.check_device(Device.parse("GPU:0"))
    for name in ("GPU:1", "CPU"):
        with pytest.raises(DeviceUnavailable):
            backend.check_device(Device.parse(name))
    cpu = backends(FakeBackend()).load("MINE")
    cpu.check_device(Device.parse("CPU:7"))


def test_hooks_that_a_backend_leaves_out_have_defaults(tmp_path, monkeypatch):
    point = plugin_module(tmp_path, monkeypatch, "small_plugin", GOOD)
    backend = Backends(installed=lambda: [point]).load("SMALL_PLUGIN")
    loaded = backend.model_create(ModelSpec("SMALL"), b"blob", BackendOptions())
    assert backend.serialize(loaded, b"blob") == b"blob"
    assert backend.backend_stats() == {}
    backend.model_free(loaded)


def test_hooks_that_a_backend_has_are_called():
    backend = backends(FakeBackend()).load("MINE")
    loaded = backend.model_create(ModelSpec("MINE"), MODEL, BackendOptions())
    assert backend.serialize(loaded, b"other") == MODEL
    assert backend.backend_stats()["models"] == 1
    backend.model_free(loaded)
    assert backend.backend_stats()["models"] == 0


def test_script_hooks_are_called():
    backend = backends(FakeBackend()).load("MINE")
    script = backend.script_create(ScriptSpec("MINE"), b"identity", BackendOptions())
    call = ScriptCall("identity", [], [], [], None, None)
    assert backend.script_run(script, call, RunContext(Device.parse("CPU"))) == []
    backend.script_free(script)


class Forgetful(FakeBackend):
    """Returns None where it must not."""

    @hookimpl
    def model_create(self, spec, blob, options):
        return None

    @hookimpl
    def model_run(self, model, inputs, run):
        return None

    @hookimpl
    def script_create(self, spec, source, options):
        return None

    @hookimpl
    def script_run(self, script, call, run):
        return None


def test_a_hook_that_returns_none_is_named():
    backend = backends(Forgetful()).load("MINE")
    run = RunContext(Device.parse("CPU"))
    with pytest.raises(BackendUnavailable, match="model_create returned None"):
        backend.model_create(ModelSpec("MINE"), MODEL, BackendOptions())
    with pytest.raises(RunFailed, match="model_run returned None"):
        backend.model_run(None, [], run)
    with pytest.raises(BackendUnavailable, match="script_create returned None"):
        backend.script_create(ScriptSpec("MINE"), b"", BackendOptions())
    with pytest.raises(RunFailed, match="script_run returned None"):
        backend.script_run(None, None, run)


def test_wrappers_stand_around_every_backend():
    seen = []

    class Wrapper:
        @hookimpl(wrapper=True)
        def backend_info(self):
            info = yield
            seen.append(info.framework)
            return BackendInfo(1, f"wrapped {info.framework}", "1")

    found = backends(FakeBackend(), wrappers=[Wrapper()])
    assert found.load("MINE").info.framework == "wrapped fake"
    assert seen == ["fake"]


def test_an_import_is_surrounded_by_what_the_host_wants_and_nothing_else_is():
    seen = []

    @contextmanager
    def around():
        seen.append("before")
        yield
        seen.append("after")

    backends = Backends(installed=lambda: (), around_import=around)
    backends.add("FAKE", FakeBackend())

    backends.load("FAKE")
    backends.load("FAKE")

    assert seen == ["before", "after"]
