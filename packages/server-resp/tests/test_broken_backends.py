"""A backend that breaks its contract, as clients see it: an error line each, and all goes on."""

import pytest

from tensorkeep.hookspecs import hookimpl
from tensorkeep.testing.fake_backend import FakeBackend

MODEL = b'{"op": "identity"}'


class Broken(FakeBackend):
    """Returns what `result` makes, once it is set."""

    result = None

    @hookimpl
    def model_run(self, model, inputs, run):
        return self.result() if self.result else super().model_run(model, inputs, run)

    @hookimpl
    def script_run(self, script, call, run):
        return self.result() if self.result else super().script_run(script, call, run)

    @hookimpl
    def serialize(self, model):
        return self.result() if self.result else super().serialize(model)

    @hookimpl
    def backend_stats(self):
        return self.result() if self.result else super().backend_stats()


@pytest.fixture
def fake():
    return Broken()


async def coroutine():
    return []


def leave():
    raise SystemExit("out")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (lambda: {"y": 1}, b"backend ONNX broke its contract: model_run returned a dict, not"),
        (lambda: [1.5], b"broke its contract: model_run returned a float as output 0, not a"),
        (coroutine, b"broke its contract: model_run returned a coroutine, not a sequence"),
        (list, b"the backend returned 0 outputs for 1"),
        (leave, b"out"),
    ],
)
def test_a_run_is_answered_and_everybody_else_goes_on(fake, wire, connect, result, text):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    assert wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL) == b"+OK\r\n"
    run = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.result = result
    assert text in wire.ask(*run)
    assert wire.ask("EXISTS", "y") == b":0\r\n"
    fake.result = None
    assert connect().ask(*run) == b"+OK\r\n"
    assert wire.ask(*run) == b"+OK\r\n"


@pytest.mark.memory_store("the blob is the engine's: no backend is asked for it")
def test_a_model_that_cannot_be_serialized_is_an_error_line(fake, wire):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL)
    fake.result = lambda: "text"
    reply = wire.ask("AI.MODELGET", "m", "BLOB")
    assert reply == b"-backend ONNX broke its contract: serialize returned a str, not bytes\r\n"
    fake.result = None
    assert wire.read("AI.MODELGET", "m", "BLOB") == MODEL


@pytest.mark.parametrize("result", [lambda: ["memory"], coroutine, leave])
def test_info_tells_of_a_backend_without_figures(fake, wire, result):
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", MODEL)
    fake.result = result
    assert b"ai_onnxruntime_version:1.0" in wire.ask("INFO", "ai")
    assert wire.ask("PING") == b"+PONG\r\n"
