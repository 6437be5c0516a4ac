"""How many of anything one command may name, and how many models there may be."""

import json

import pytest

from tensorkeep.commands.args import Args
from tensorkeep.commands.errors import CommandError
from tensorkeep.config import EngineConfig
from tensorkeep_server.commands.ai.script_execute import read_script_execute
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, port_of

BLOB = json.dumps({"op": "identity"}).encode()
TOO_MANY = 10_001


def of(count, *words):
    """Returns words, and a number of names with their number before them."""
    return [*words, count, *(f"x{number}" for number in range(count))]


STORED = {
    "LOAD": [*of(TOO_MANY, "AI.DAGEXECUTE", "LOAD"), "|>", "AI.TENSORGET", "x"],
    "PERSIST": [*of(TOO_MANY, "AI.DAGEXECUTE", "PERSIST"), "|>", "AI.TENSORGET", "x"],
    "ENTRY_POINTS": [
        *of(TOO_MANY, "AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS"),
        *("SOURCE", "identity"),
    ],
    "INPUTS": [
        *of(TOO_MANY, "AI.MODELSTORE", "m", "TF", "CPU", "INPUTS"),
        *("OUTPUTS", 1, "y", "BLOB", BLOB),
    ],
}


@pytest.mark.parametrize("word", STORED)
def test_no_word_is_followed_by_more_names_than_there_may_be(wire, word):
    assert wire.ask(*STORED[word]) == b"-ERR %b must be at most 10000\r\n" % word.encode()


@pytest.mark.parametrize("word", ["KEYS", "INPUTS", "OUTPUTS"])
def test_no_word_of_a_call_is_followed_by_more_names_than_there_may_be(word):
    def read(count):
        first = ["KEYS", 1, "k"] if word != "KEYS" else []
        words = [str(each).encode() for each in ("f", *first, *of(count, word))]
        return read_script_execute(Args(words, 0))

    read(10_000)
    with pytest.raises(CommandError, match=f"^ERR {word} must be at most 10000$"):
        read(TOO_MANY)


def test_arguments_of_a_call_may_be_as_many_as_those_of_a_request():
    words = [str(each).encode() for each in ("f", "KEYS", 1, "k", *of(50_000, "ARGS"))]
    read_script_execute(Args(words, 0))


def test_a_dag_has_no_more_operations_than_there_may_be(wire):
    operations = ["|>", "AI.TENSORSET", "a", "FLOAT", 1, "VALUES", 1] * TOO_MANY
    assert wire.ask("AI.DAGEXECUTE", "ROUTING", "x", *operations) == (
        b"-ERR operations of a DAG must be at most 10000\r\n"
    )


@pytest.mark.memory_store("that a key is gone is noticed a moment later")
def test_there_are_no_more_models_and_scripts_than_there_may_be(run_server, backends):
    settings = Settings(engine=EngineConfig(max_models=2))
    full = b"-ERR there are 2 models and scripts already, as many as --max-models allows\r\n"
    with run_server(settings, backends) as state, Wire(port_of(state)) as wire:
        store = ("ONNX", "CPU", "BLOB", BLOB)
        assert wire.ask("AI.MODELSTORE", "a", *store) == b"+OK\r\n"
        assert wire.ask("AI.MODELSTORE", "b", *store) == b"+OK\r\n"
        assert wire.ask("AI.MODELSTORE", "c", *store) == full
        assert wire.ask("AI.MODELSTORE", "b", *store) == b"+OK\r\n"
        assert wire.ask("DEL", "a") == b":1\r\n"
        assert wire.ask("AI.MODELSTORE", "c", *store) == b"+OK\r\n"
        assert wire.ask("AI.MODELSET", "d", *store) == full
