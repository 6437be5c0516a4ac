"""What the log says of models, scripts and runs."""

import logging
import time
from dataclasses import replace

import pytest

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of

RUN = ("INPUTS", 1, "x", "OUTPUTS", 1, "y")


@pytest.fixture
def server(backends, caplog, run_server):
    """A server that ends runs after a moment, and logs everything."""
    caplog.set_level(logging.DEBUG)
    engine = EngineConfig(model_execution_timeout=0.1)
    with run_server(replace(Settings(), engine=engine), backends) as state:
        yield state


def store(wire, key, model):
    return wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", model)


def lines(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def eventually(condition, timeout=10):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_models_that_come_and_go_are_logged(wire, caplog):
    model = b'{"op": "identity"}'
    store(wire, "m\n1", model)
    assert "stored the model m\\n1 of ONNX on CPU, 18 bytes" in lines(caplog, logging.INFO)
    for end in (("DEL", "m\n1"), ("AI.MODELDEL", "m2"), ("FLUSHALL",)):
        store(wire, "m2", model)
        wire.ask(*end)
    gone = "the model {} is gone, and its last run has ended"
    for key in ("m\\n1", "m2"):
        eventually(lambda key=key: gone.format(key) in lines(caplog, logging.INFO))


def test_scripts_that_come_and_go_are_logged(fake, caplog, run_server):
    backends = Backends(installed=lambda: ())
    backends.add("TORCH", fake)
    caplog.set_level(logging.INFO)
    with run_server(backends=backends) as server, Wire(port_of(server)) as wire:
        wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", "sum")
        assert "stored the script s of TORCH on CPU, 3 bytes" in lines(caplog, logging.INFO)
        wire.ask("AI.SCRIPTDEL", "s")
        gone = "the script s is gone, and its last run has ended"
        eventually(lambda: gone in lines(caplog, logging.INFO))


def test_what_is_not_stored_is_logged_with_the_reason(wire, caplog):
    assert store(wire, "m", b"no\nJSON").startswith(b"-the blob of a fake model must be")
    (line,) = [line for line in lines(caplog, logging.INFO) if "not stored" in line]
    assert line.startswith("m was not stored: the blob of a fake model must be a JSON object")


def test_a_backend_that_is_missing_is_logged_with_how_to_install_it(wire, caplog):
    reply = wire.ask("AI.MODELSTORE", "m", "TFLITE", "CPU", "BLOB", b"x")
    assert reply == b"-ERR Could not load backend\r\n"
    (line,) = [line for line in lines(caplog, logging.WARNING) if "TFLITE" in line]
    assert line.endswith('; pip install "tensorkeep[server,tflite]" brings it')


def test_a_run_that_was_ended_is_logged_with_model_device_time_and_setting(wire, caplog):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    store(wire, "endless", b'{"op": "block"}')
    assert wire.ask("AI.MODELEXECUTE", "endless", *RUN).startswith(b"-the run was cancelled")
    (line,) = [line for line in lines(caplog, logging.WARNING) if "was ended" in line]
    assert line == (
        "a run of the model endless on CPU was ended after 0.1 s:"
        " it took longer than 0.1 s, the MODEL_EXECUTION_TIMEOUT"
    )


def test_a_run_that_failed_is_logged_at_debug(wire, caplog):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    store(wire, "bad", b'{"op": "fail", "text": "no luck"}')
    wire.ask("AI.MODELEXECUTE", "bad", *RUN)
    assert "a run of the model bad failed: no luck" in lines(caplog, logging.DEBUG)


def test_a_client_cannot_flood_the_log(wire, caplog):
    for _ in range(1100):
        wire.send("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", b"no JSON")
    for _ in range(1100):
        wire.reply()
    assert len([line for line in lines(caplog, logging.INFO) if "not stored" in line]) <= 1000
