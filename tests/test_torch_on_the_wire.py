"""TorchScript with dicts, optional inputs, defaults and half precision, as a client meets it."""

import importlib
import io
import warnings
from importlib.util import find_spec

import numpy as np
import pytest

from tensorkeep import Tensorkeep
from tensorkeep.errors import InvalidValue
from tensorkeep_server.testing import WireError

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is tested on Python 3.11 only, see the noxfile"
)

WRONG = WireError("Number of keys given as INPUTS here does not match model definition")
OPTIONAL = """
def forward(self, x, scale: Optional[Tensor]=None, n: int=3):
    y = x * n
    return y if scale is None else y * scale
"""
DICT = """
def forward(self, x):
    return {"twice": x * 2, "half": x / 2}
"""
HALF = """
def forward(self, x):
    return torch.nn.functional.linear(x, self.w) if x.dtype == torch.float16 else x
"""
SCRIPT = """
def both(tensors: List[Tensor], keys: List[str], args: List[str]):
    return redisAI.model_execute(keys[0], tensors, 1)
"""


@pytest.fixture(scope="module")
def archive():
    """Makes an archive of TorchScript of a module whose forward is given as source."""
    torch = importlib.import_module("torch")

    def archive(source, **weights):
        class Own(torch.jit.ScriptModule):
            """A type of its own for each archive."""

            def __init__(self):
                super().__init__()
                for name, value in weights.items():
                    self.register_buffer(name, torch.from_numpy(value))
                self.define(source)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = io.BytesIO()
            torch.jit.save(Own(), file)
        return file.getvalue()

    return archive


@pytest.fixture
def store(wire):
    """Stores a model as `m`, and tensors 2 and 10 as `x` and `y`."""
    wire.ask("FLUSHALL")
    for key, value in (("x", 2), ("y", 10)):
        assert wire.read("AI.TENSORSET", key, "FLOAT", 1, "VALUES", value) == "OK"
    return lambda blob: wire.read("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)


def values(wire, key):
    return [float(each) for each in wire.read("AI.TENSORGET", key, "VALUES")]


def test_what_is_optional_may_be_left_out_by_every_command(wire, store, archive):
    assert store(archive(OPTIONAL)) == "OK"
    assert wire.read("AI.MODELGET", "m", "META")[11] == [b"x", b"scale"]
    assert wire.read("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "both", "SOURCE", SCRIPT)

    for given, expected in ((["x"], [6]), (["x", "y"], [60])):
        inputs = ("INPUTS", len(given), *given)
        execute = ("AI.MODELEXECUTE", "m", *inputs, "OUTPUTS", 1)
        assert wire.read(*execute, "a") == "OK"
        assert wire.read("AI.MODELRUN", "m", "INPUTS", *given, "OUTPUTS", "b") == "OK"
        dag = ("LOAD", len(given), *given, "PERSIST", 1, "c", "|>", *execute, "c")
        assert wire.read("AI.DAGEXECUTE", *dag) == ["OK"]
        call = ("AI.SCRIPTEXECUTE", "s", "both", "KEYS", 1, "m", *inputs, "OUTPUTS", 1, "d")
        assert wire.read(*call) == "OK"
        assert [values(wire, key) for key in "abcd"] == [expected] * 4

    three = ("INPUTS", 3, "x", "y", "y", "OUTPUTS", 1, "a")
    assert wire.read("AI.MODELEXECUTE", "m", *three) == WRONG
    assert wire.read("AI.MODELRUN", "m", "INPUTS", "x", "y", "y", "OUTPUTS", "a") == WRONG


def test_requests_with_and_without_it_share_no_run(wire, store, archive):
    words = ("BATCHSIZE", 8, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 50)
    blob = archive(OPTIONAL)
    store(blob)
    assert wire.read("AI.MODELSTORE", "m", "TORCH", "CPU", *words, "BLOB", blob) == "OK"

    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "a")
    wire.send("AI.MODELEXECUTE", "m", "INPUTS", 2, "x", "y", "OUTPUTS", 1, "b")

    assert [wire.reply(), wire.reply()] == [b"+OK\r\n"] * 2
    assert [values(wire, key) for key in "ab"] == [[6], [60]]


def test_in_one_process_it_may_be_left_out_as_well(archive):
    with Tensorkeep() as keep:
        keep.model_store("m", archive(OPTIONAL), backend="TORCH")
        x = np.array([2], np.float32)

        assert keep.model_run("m", x)[0].values() == [6]
        assert keep.model_run("m", x, x)[0].values() == [12]
        with pytest.raises(InvalidValue, match="inputs must be 2 tensors, not 3"):
            keep.model_run("m", x, x, x)


def test_a_dict_gives_its_outputs_names(wire, store, archive):
    assert store(archive(DICT)) == "OK"
    assert wire.read("AI.MODELGET", "m", "META")[13] == [b"twice", b"half"]
    assert wire.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 2, "a", "b") == "OK"
    assert [values(wire, key) for key in "ab"] == [[4], [1]]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x): return float(x)", "forward returns a value of type float, which is no tensor"),
        ("x): return 'text'", "forward returns a value of type str, which is no tensor"),
        ("x): return None", "forward returns no tensor"),
        ("x): return torch.complex(x, x)", "forward returns a complex tensor"),
        ("x, d: Dict[str, Tensor]): return x", "takes 'd' of type Dict[str, Tensor]"),
        ("x, n: int): return x", "takes 'n' of type int, which no tensor can be"),
    ],
)
def test_what_could_never_be_run_is_refused_and_not_stored(wire, store, archive, source, text):
    reply = store(archive(f"def forward(self, {source.replace('): ', '):' + chr(10) + '    ')}\n"))

    assert isinstance(reply, WireError)
    assert text in reply
    assert wire.read("EXISTS", "m") == 0


def test_half_precision_goes_in_and_comes_out(wire, store, archive):
    given = np.array([[1, -2]], np.float16)
    assert store(archive(HALF, w=np.array([[3, 0.5]], np.float16))) == "OK"

    wire.ask("AI.TENSORSET", "h", "FLOAT16", 1, 2, "BLOB", given.tobytes())
    assert wire.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "h", "OUTPUTS", 1, "a") == "OK"
    kind, shape, blob = wire.read("AI.TENSORGET", "a", "META", "BLOB")[1::2]

    assert (kind, shape) == (b"FLOAT16", [1, 1])
    assert np.frombuffer(blob, np.float16).tolist() == [2]


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("FLOAT16", "float16"),
        ("BFLOAT16", "bfloat16"),
        ("UINT16", "uint16"),
        ("UINT32", "uint32"),
        ("UINT64", "uint64"),
    ],
)
def test_types_beyond_redisai_are_made_and_taken_by_models(wire, store, archive, name, torchs):
    assert store(archive(f"def forward(self, x):\n    return x.to(torch.{torchs})\n")) == "OK"
    assert wire.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "a") == "OK"
    assert wire.read("AI.TENSORGET", "a", "META")[1] == name.encode()

    assert store(archive("def forward(self, x):\n    return x.to(torch.float32)\n")) == "OK"
    assert wire.read("AI.MODELEXECUTE", "m", "INPUTS", 1, "a", "OUTPUTS", 1, "b") == "OK"
    assert values(wire, "b") == [2]
