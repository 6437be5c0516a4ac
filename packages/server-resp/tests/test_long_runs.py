"""A run that takes long, and the models of other clients on its device."""

import pytest

from tensorkeep_server.testing import Wire, port_of

RUN = ("INPUTS", 1, "x", "OUTPUTS", 1, "y")


@pytest.fixture
def server(backends, run_server):
    """A server as it is by default."""
    with run_server(backends=backends) as state:
        yield state


def test_a_model_is_answered_while_runs_of_others_do_not_end(fake, server, wire, connect):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1)
    assert (
        wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", b'{"op": "identity"}') == b"+OK\r\n"
    )
    for n in range(3):
        wire.ask("AI.MODELSTORE", f"b{n}", "ONNX", "CPU", "BLOB", b'{"op": "block"}')
    blocked = [connect() for _ in range(3)]
    for n, client in enumerate(blocked):
        client.send("AI.MODELEXECUTE", f"b{n}", *RUN)
    fake.await_calls("model_run")
    for _ in range(3):
        assert wire.ask("AI.MODELEXECUTE", "m", *RUN) == b"+OK\r\n"
    assert len([call for call in fake.calls_of("model_run") if call.what == "block"]) <= 3
    info = wire.read("INFO", "ai").decode()
    assert "ai_queue_CPU_bthread_n2_used_cpu_total" in info, "further workers are shown"
    fake.release(3)
    assert [client.reply() for client in blocked] == [b"+OK\r\n"] * 3
    with Wire(port_of(server)) as other:
        assert other.ask("PING") == b"+PONG\r\n"
