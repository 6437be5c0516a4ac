"""redisai-py 1.3.0: every method of its client, of its pipelines and of its DAGs.

What a call should answer is known without the server: from its own arguments, from arithmetic, or
from the labels of the pictures.
"""

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from redis.exceptions import ResponseError, WatchError
from redisai import Client
from redisai.dag import Dag
from redisai.pipeline import Pipeline

SCRIPT = """
def scaled(tensor: Tensor, factor: int):
    return tensor * factor

def as_number(answer: Any):
    return torch.tensor(int(str(answer)))

def by_factor(tensors: List[Tensor], keys: List[str], args: List[str]):
    return scaled(tensors[0], int(args[0]))

def total(tensors: List[Tensor], keys: List[str], args: List[str]):
    sum = tensors[0]
    for tensor in tensors[1:]:
        sum = sum + tensor
    return sum, torch.tensor(len(tensors))

def through_a_key(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", [keys[0], args[0]])
    answer = redis.execute("GET", [keys[0]])
    redis.execute("DEL", [keys[0]])
    return as_number(answer)
"""
OLD_SCRIPT = """
def add(a, b):
    return a + b

def add_all(first, others: List[Tensor]):
    return others[0] + others[1] + first
"""


@pytest.fixture
def client(port):
    with Client(host="127.0.0.1", port=port, socket_timeout=60) as client:
        client.flushall()
        yield client
        client.config("MODEL_CHUNK_SIZE", 511 * 1024 * 1024)


@pytest.fixture
def stored(client, digits):
    """A client, with the network at `digits` and the pictures at `pictures`."""
    assert client.modelstore("digits", "ONNX", "CPU", digits.onnx) == "OK"
    assert client.tensorset("pictures", digits.pictures) == "OK"
    return client


# ------------------------------------------------------------------ tensors
@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool"],
)
def test_an_array_of_every_type_comes_back_as_it_was_sent(client, dtype):
    sent = np.array([[0, 1, 2], [100, 1, 0]]).astype(dtype)
    assert client.tensorset("x", sent) == "OK"
    got = client.tensorget("x")
    assert got.dtype == sent.dtype
    np.testing.assert_array_equal(got, sent)


def test_numbers_that_values_cannot_carry_come_back_in_a_blob(client):
    numbers = np.array([-(2**63), -1, 2**63 - 1])
    client.tensorset("integers", numbers)
    np.testing.assert_array_equal(client.tensorget("integers"), numbers)
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    client.tensorset("floats", odd)
    assert client.tensorget("floats").tobytes() == odd.tobytes()


def test_an_array_without_dimensions_comes_back_as_one(client):
    client.tensorset("x", np.array(3.5, np.float32))
    got = client.tensorget("x")
    assert got.shape == ()
    assert got == 3.5


def test_strings_come_back_in_any_alphabet(client):
    words = np.array([["tensor", "ключ"], ["", "δέκα 十"]])
    assert client.tensorset("words", words) == "OK"
    np.testing.assert_array_equal(client.tensorget("words"), words)
    assert client.tensorset("listed", ["12", "a", "G", "four"], shape=[2, 2], dtype="str") == "OK"
    np.testing.assert_array_equal(client.tensorget("listed"), [["12", "a"], ["G", "four"]])
    assert client.tensorget("listed", as_numpy=False)["values"] == ["12", "a", "G", "four"]


@pytest.mark.parametrize(
    ("dtype", "values", "named"),
    [
        ("float", [0.1, 2, -3], "FLOAT"),
        ("double", [0.1, 2, -3], "DOUBLE"),
        ("float32", [0.5, 2, -3], "FLOAT"),
        ("float64", [1e300, 2, -3], "DOUBLE"),
        ("int8", [1, 2, 127], "INT8"),
        ("int16", [1, 2, 2**15 - 1], "INT16"),
        ("int32", [1, 2, 2**31 - 1], "INT32"),
        ("int64", [1, 2, 2**63 - 1], "INT64"),
        ("uint8", [1, 2, 255], "UINT8"),
        ("uint16", [1, 2, 2**16 - 1], "UINT16"),
        ("uint32", [1, 2, 2**32 - 1], "UINT32"),
        ("uint64", [1, 2, 2**64 - 1], "UINT64"),
        ("bool", [1, 1, 0], "BOOL"),
    ],
)
def test_a_list_of_every_type_comes_back_as_values(client, dtype, values, named):
    assert client.tensorset("x", values, dtype=dtype) == "OK"
    got = client.tensorget("x", as_numpy=False)
    assert (got["dtype"], got["shape"]) == (named, [3])
    kind = float if named in ("FLOAT", "DOUBLE") else int
    assert [type(value) for value in got["values"]] == [kind] * 3
    assert got["values"] == pytest.approx(values, rel=1e-7 if named == "FLOAT" else 0)


def test_half_floats_and_large_unsigned_integers_come_back_as_arrays(client):
    client.execute_command("AI.TENSORSET", "x", "FLOAT16", "3", "VALUES", "1.5", "-2", "inf")
    got = client.tensorget("x")
    assert (got.dtype, got.tolist()) == (np.float16, [1.5, -2, np.inf])
    for kind in (np.uint32, np.uint64):
        array = np.array([0, 1, np.iinfo(kind).max], kind)
        assert client.tensorset("x", array) == "OK"
        got = client.tensorget("x")
        assert (got.dtype, got.tolist()) == (kind, array.tolist())


def test_a_list_takes_its_shape_from_the_caller(client):
    client.tensorset("x", (1, 2, 3, 4, 5, 6), shape=[3, 2], dtype="int32")
    np.testing.assert_array_equal(client.tensorget("x"), [[1, 2], [3, 4], [5, 6]])


def test_meta_alone_has_no_data(client):
    client.tensorset("x", np.zeros((2, 3), np.int16))
    assert client.tensorget("x", meta_only=True) == {"dtype": "INT16", "shape": [2, 3]}


def test_a_mutable_array_can_be_written(client):
    client.tensorset("x", np.array([1, 2, 3]))
    with pytest.deprecated_call(match="fromstring"):  # the client's way to a copy
        got = client.tensorget("x", as_numpy_mutable=True)
    got[0] = 7
    assert got.tolist() == [7, 2, 3]
    assert client.tensorget("x").tolist() == [1, 2, 3]


def test_the_server_says_what_is_wrong_with_a_tensor(client):
    with pytest.raises(ResponseError, match=r"^tensor key is empty or in a different shard$"):
        client.tensorget("nothing")
    with pytest.raises(ResponseError, match=r"^wrong number of values was given"):
        client.tensorset("x", [1, 2, 3], shape=[2], dtype="float")
    with pytest.raises(ResponseError, match=r"^invalid value$"):
        client.tensorset("x", [300], dtype="int8")
    client.set("text", "words")
    with pytest.raises(ResponseError, match="wrong kind of value"):
        client.tensorget("text")
    with pytest.raises(TypeError):
        client.tensorset("x", [1, 2])
    assert client.exists("x") == 0


def test_keys_may_have_any_alphabet(client):
    client.tensorset("ключ ☃", np.array([1.5]))
    assert client.tensorget("ключ ☃") == 1.5
    assert client.keys() == ["ключ ☃".encode()]


# ------------------------------------------------------------------ models
def test_an_onnx_model_reads_the_pictures(stored, digits):
    assert stored.modelexecute("digits", "pictures", "answers") == "OK"
    assert digits.read_well(stored.tensorget("answers"))


def test_a_graph_of_tensorflow_says_what_the_onnx_model_says(stored, digits):
    names = {"inputs": "images", "outputs": "probabilities"}
    assert stored.modelstore("graph", "TF", "CPU", digits.tf, tag="v1", **names) == "OK"
    got = stored.modelget("graph")
    assert got["blob"] == digits.tf
    assert (got["backend"], got["tag"]) == ("TF", "v1")
    assert (got["inputs"], got["outputs"]) == (["images"], ["probabilities"])
    stored.modelexecute("graph", ["pictures"], ["of graph"])
    stored.modelexecute("digits", ["pictures"], ["of onnx"])
    np.testing.assert_allclose(stored.tensorget("of graph"), stored.tensorget("of onnx"), atol=1e-5)
    with pytest.raises(ResponseError, match="Invalid GraphDef"):
        stored.modelstore("broken", "TF", "CPU", b"no graph", **names)
    with pytest.raises(ValueError, match="inputs and outputs"):
        stored.modelstore("graph", "TF", "CPU", digits.tf)


def test_a_model_of_torch_reads_the_pictures(client, digits):
    assert client.modelstore("digits", "TORCH", "CPU", digits.torch) == "OK"
    client.tensorset("pictures", digits.pictures)
    client.modelexecute("digits", "pictures", "answers")
    assert digits.read_well(client.tensorget("answers"))
    assert client.modelget("digits")["blob"] == digits.torch


def test_a_model_of_torch_computes(client, line):
    assert client.modelstore("line", "TORCH", "cpu:1", line, tag="v2") == "OK"
    client.tensorset("x", np.array([1, 2, 3], np.float32))
    client.modelexecute("line", "x", "y")
    assert client.tensorget("y").tolist() == [3, 5, 7]
    got = client.modelget("line", meta_only=True)
    assert "blob" not in got
    assert (got["backend"], got["device"], got["tag"]) == ("TORCH", "cpu:1", "v2")


def test_a_model_of_tflite_reads_the_pictures(client, digits):
    try:
        client.modelstore("lite", "TFLITE", "CPU", digits.tflite)
    except ResponseError as error:
        if str(error) != "Could not load backend":
            raise
        pytest.skip("the TFLITE backend is not installed where the server is")
    client.tensorset("pictures", digits.pictures)
    client.modelexecute("lite", "pictures", "answers")
    assert digits.read_well(client.tensorget("answers"))


def test_options_of_batching_are_kept(client, digits):
    client.modelstore("digits", "onnx", "cpu", digits.onnx, 8, 2, 50, "tagged")
    got = client.modelget("digits", meta_only=True)
    assert (got["batchsize"], got["minbatchsize"], got["minbatchtimeout"]) == (8, 2, 50)
    assert (got["backend"], got["device"], got["tag"]) == ("ONNX", "cpu", "tagged")
    with pytest.raises(ValueError, match="without batch"):
        client.modelstore("digits", "ONNX", "CPU", digits.onnx, minbatch=2)
    with pytest.raises(ValueError, match="without minbatch"):
        client.modelstore("digits", "ONNX", "CPU", digits.onnx, 8, minbatchtimeout=50)


def test_requests_of_several_clients_make_a_batch(stored, digits, port):
    stored.modelstore("batched", "ONNX", "CPU", digits.onnx, 4, 4, 30_000)

    def ask(n):
        with Client(host="127.0.0.1", port=port, socket_timeout=60) as client:
            client.tensorset(f"x{n}", digits.pictures[n : n + 1])
            client.modelexecute("batched", f"x{n}", f"y{n}")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [stored.tensorget(f"y{n}").argmax() for n in range(4)] == digits.labels[:4].tolist()
    info = stored.infoget("batched")
    assert (info["calls"], info["samples"]) == (4, 4)


def test_a_large_model_is_sent_and_comes_back_in_pieces(client, digits):
    assert client.config("MODEL_CHUNK_SIZE", 50_000) == "OK"
    assert client.modelstore("digits", "ONNX", "CPU", digits.onnx) == "OK"
    pieces = client.modelget("digits")["blob"]
    assert [len(piece) for piece in pieces[:-1]] == [50_000] * 3
    assert b"".join(pieces) == digits.onnx
    client.config("MODEL_CHUNK_SIZE", len(digits.onnx))
    assert client.modelget("digits")["blob"] == [digits.onnx, b""]
    client.config("MODEL_CHUNK_SIZE", len(digits.onnx) + 1)
    assert client.modelget("digits")["blob"] == digits.onnx


def test_a_model_that_takes_too_long_says_so(stored, digits):
    # It waits for a second request that nobody sends.
    stored.modelstore("lonely", "ONNX", "CPU", digits.onnx, 2000, 1000)
    stored.tensorset("one", digits.pictures[:1])
    assert stored.modelexecute("lonely", "one", "answer", timeout=10) == "TIMEDOUT"
    assert stored.exists("answer") == 0


def test_a_model_is_deleted(stored):
    assert stored.modeldel("digits") == "OK"
    with pytest.raises(ResponseError, match=r"^model key is empty$"):
        stored.modelget("digits")
    with pytest.raises(ResponseError, match=r"^model key is empty$"):
        stored.modeldel("digits")


def test_models_are_listed_with_their_tags(stored, line):
    stored.modelstore("line", "TORCH", "CPU", line, tag="v3")
    with pytest.warns(UserWarning, match="Experimental"):
        listed = stored.modelscan()
    assert sorted(listed) == [["digits", ""], ["line", "v3"]]


def test_the_deprecated_commands_store_and_run_models(stored, digits):
    with pytest.deprecated_call():
        assert stored.modelset("old", "ONNX", "cpu", digits.onnx, 8, 2, "old") == "OK"
    got = stored.modelget("old", meta_only=True)
    assert (got["batchsize"], got["minbatchsize"], got["tag"]) == (8, 2, "old")
    with pytest.deprecated_call():
        stored.modelset(
            "old graph", "TF", "CPU", digits.tf, inputs="images", outputs=["probabilities"]
        )
    with pytest.deprecated_call():
        assert stored.modelrun("old graph", "pictures", ["answers"]) == "OK"
    assert digits.read_well(stored.tensorget("answers"))
    with pytest.raises(ResponseError, match="tensor key is empty"), pytest.deprecated_call():
        stored.modelrun("old", "nothing", "answers")


def test_the_client_refuses_what_the_server_need_not_see(client, digits):
    with pytest.raises(ValueError, match="Device not allowed"):
        client.modelstore("m", "ONNX", "TPU", digits.onnx)
    with pytest.raises(ValueError, match="Backend not allowed"):
        client.modelstore("m", "CAFFE", "CPU", digits.onnx)
    with pytest.raises(ValueError, match="should not be specified"):
        client.modelstore("m", "ONNX", "CPU", digits.onnx, inputs="images")
    with pytest.raises(ValueError, match="Missing required"):
        client.modelexecute("m", None, "y")


def test_the_numbers_of_names_must_fit_the_model(stored):
    with pytest.raises(ResponseError, match="INPUTS"):
        stored.modelexecute("digits", ["pictures", "pictures"], "answers")
    with pytest.raises(ResponseError, match="OUTPUTS"):
        stored.modelexecute("digits", "pictures", ["one", "two"])


# ------------------------------------------------------------------ scripts
@pytest.fixture
def scripted(client):
    """A client, with the script at `script` and two tensors."""
    points = ["by_factor", "total", "through_a_key"]
    assert client.scriptstore("script", "cpu", SCRIPT, points, tag="v4") == "OK"
    client.tensorset("a", np.array([1, 2], np.float32))
    client.tensorset("b", np.array([10, 20], np.float32))
    return client


def test_a_script_comes_back_with_what_it_was_stored_with(scripted):
    points = [b"by_factor", b"total", b"through_a_key"]
    meta = {"device": "cpu", "tag": "v4", "entry points": points}
    assert scripted.scriptget("script", meta_only=True) == meta
    assert scripted.scriptget("script") == {**meta, "source": SCRIPT}


def test_a_script_computes_with_tensors_arguments_and_keys(scripted):
    assert scripted.scriptexecute("script", "by_factor", inputs="a", args="3", outputs="y") == "OK"
    assert scripted.tensorget("y").tolist() == [3, 6]
    scripted.scriptexecute("script", "total", inputs=["a", "b", "a"], outputs=["sum", "count"])
    assert scripted.tensorget("sum").tolist() == [12, 24]
    assert scripted.tensorget("count") == 3
    scripted.scriptexecute(
        "script", "through_a_key", keys="{k}", args=["41"], outputs=["{k}y"], timeout=60_000
    )
    assert scripted.tensorget("{k}y") == 41
    assert scripted.exists("{k}") == 0


def test_the_server_says_what_is_wrong_with_a_script(scripted):
    with pytest.raises(ResponseError, match=r"^script key is empty$"):
        scripted.scriptget("nothing")
    with pytest.raises(ResponseError, match=r"^Function does not exist: nothing$"):
        scripted.scriptexecute("script", "nothing", inputs="a", outputs="y")
    with pytest.raises(ResponseError):
        scripted.scriptstore("broken", "CPU", "return 1", "f")
    with pytest.raises(ValueError, match="Missing required"):
        scripted.scriptexecute("script", "by_factor", outputs="y")
    with pytest.raises(ValueError, match="Device not allowed"):
        scripted.scriptstore("script", "TPU", SCRIPT, "total")
    assert scripted.exists("broken", "y") == 0


def test_a_script_is_deleted(scripted):
    assert scripted.scriptdel("script") == "OK"
    with pytest.raises(ResponseError, match=r"^script key is empty$"):
        scripted.scriptdel("script")


def test_scripts_are_listed_with_their_tags(scripted):
    scripted.scriptstore("{other}", "CPU", SCRIPT, "total")
    with pytest.warns(UserWarning, match="Experimental"):
        listed = scripted.scriptscan()
    assert sorted(listed) == [["script", "v4"], ["{other}", ""]]


def test_the_deprecated_commands_store_and_run_scripts(scripted):
    with pytest.deprecated_call():
        assert scripted.scriptset("old", "CPU", OLD_SCRIPT, tag="old") == "OK"
    got = scripted.scriptget("old")
    assert got == {"device": "CPU", "tag": "old", "entry points": [], "source": OLD_SCRIPT}
    with pytest.deprecated_call():
        assert scripted.scriptrun("old", "add", ["a", "b"], "y") == "OK"
    assert scripted.tensorget("y").tolist() == [11, 22]
    with pytest.deprecated_call():
        scripted.scriptrun("old", "add_all", ["a", "$", "b", "b"], ["y"])
    assert scripted.tensorget("y").tolist() == [21, 42]


# ------------------------------------------------------------------ DAGs
def test_a_dag_loads_runs_and_persists(scripted, line):
    scripted.modelstore("line", "TORCH", "CPU", line)
    dag = scripted.dag(load=["a", "b"], persist=["sum", "y"], timeout=60_000)
    dag.scriptexecute("script", "total", inputs=["a", "b"], outputs=["sum", "count"])
    dag.tensorset("c", [5, 6], dtype="float")
    dag.modelexecute("line", ["sum"], "y").tensorget("y").tensorget("c")
    for _ in range(2):  # The second finds the keys that the first has stored.
        ok, also_ok, run, y, c = dag.execute()
        assert (ok, also_ok, run) == ("OK", "OK", "OK")
        assert y.tolist() == [23, 45]
        assert c.tolist() == [5, 6]
    assert scripted.tensorget("sum").tolist() == [11, 22]
    assert scripted.tensorget("y").tolist() == [23, 45]
    assert scripted.exists("c", "count") == 0


def test_a_dag_takes_single_names_and_gives_tensors_in_all_forms(scripted):
    dag = scripted.dag(load="a", persist="copy", routing="a")
    dag.scriptexecute("script", "by_factor", inputs="a", args="1", outputs="copy")
    dag.tensorget("copy", as_numpy=False)
    dag.tensorget("copy", as_numpy_mutable=True, meta_only=True)
    ok, values, meta = dag.execute()
    assert ok == "OK"
    assert values == {"dtype": "FLOAT", "shape": [2], "values": [1, 2]}
    assert meta == {"dtype": "FLOAT", "shape": [2]}


def test_a_script_in_a_dag_reaches_keys(scripted):
    dag = scripted.dag(routing="{k}")
    dag.scriptexecute("script", "through_a_key", keys=["{k}"], args=["7"], outputs=["y"])
    assert dag.tensorget("y").execute() == ["OK", 7]


def test_a_read_only_dag_runs_and_stores_nothing(stored, digits):
    dag = stored.dag(load="pictures", readonly=True)
    ok, answers = dag.modelexecute("digits", "pictures", "answers").tensorget("answers").execute()
    assert ok == "OK"
    assert digits.read_well(answers)
    assert stored.exists("answers") == 0
    with pytest.raises(RuntimeError, match="READONLY"):
        stored.dag(load="pictures", persist="answers", readonly=True)
    with pytest.raises(RuntimeError, match="readonly"):
        stored.dag(load="pictures", readonly=True).scriptexecute("s", "f", inputs="pictures")


@pytest.mark.parametrize("readonly", [False, True])
def test_the_deprecated_dag_runs(stored, digits, readonly):
    with pytest.deprecated_call():
        dag = stored.dag(readonly=readonly)
    dag.tensorset("x", digits.pictures)
    with pytest.deprecated_call():
        dag.modelrun("digits", "x", "y")
    with pytest.deprecated_call():
        set_, ran, answers = dag.tensorget("y").run()
    assert (set_, ran) == ("OK", "OK")
    assert digits.read_well(answers)
    with pytest.raises(RuntimeError, match="MODELEXECUTE"):
        dag.modelexecute("digits", "x", "y")
    with pytest.raises(RuntimeError, match="SCRIPTEXECUTE"):
        dag.scriptexecute("script", "total", inputs="x")


def test_modelrun_in_a_new_dag_is_modelexecute(stored, digits):
    dag = stored.dag(load="pictures")
    with pytest.deprecated_call():
        dag.modelrun("digits", "pictures", "answers")
    assert digits.read_well(dag.tensorget("answers").execute()[1])


def test_a_dag_that_cannot_be_is_refused(stored):
    with pytest.raises(ResponseError, match=r"^INPUT key cannot be found in DAG$"):
        stored.dag(load="pictures").modelexecute("digits", "nothing", "y").execute()
    with pytest.raises(ResponseError, match="tensor key is empty"):
        stored.dag(load="nothing").tensorget("nothing").execute()
    with pytest.raises(ResponseError, match=r"^PERSIST key cannot be found in DAG$"):
        stored.dag(load="pictures", persist="y").tensorget("pictures").execute()


# ------------------------------------------------------------------ pipelines
@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_mixes_tensors_and_plain_commands(client, transaction):
    with client.pipeline(transaction=transaction) as pipe:
        pipe.set("text", "words")
        pipe.tensorset("x", np.array([[1, 2], [3, 4]], np.int16))
        pipe.tensorset("z", [0.5, 0.25], dtype="double")
        pipe.tensorget("x").tensorget("z", as_numpy=False).tensorget("x", meta_only=True)
        pipe.get("text")
        done = pipe.execute()
    assert done[:3] == [True, b"OK", b"OK"]
    assert done[3].dtype == np.int16
    assert done[3].tolist() == [[1, 2], [3, 4]]
    assert done[4] == {"dtype": "DOUBLE", "shape": [2], "values": [0.5, 0.25]}
    assert done[5] == {"dtype": "INT16", "shape": [2, 2]}
    assert done[6] == b"words"


def test_a_transaction_is_given_up_when_what_it_watches_changes(client):
    client.tensorset("x", [1], dtype="int8")
    with client.pipeline() as pipe:
        pipe.watch("x")
        client.tensorset("x", [2], dtype="int8")
        pipe.multi()
        pipe.tensorset("x", [3], dtype="int8")
        with pytest.raises(WatchError):
            pipe.execute()
    assert client.tensorget("x").tolist() == [2]


def test_an_error_in_a_pipeline_names_its_command_and_spares_the_others(client):
    with client.pipeline(transaction=False) as pipe:
        pipe.tensorset("x", [1, 2], dtype="int8").tensorget("nothing").tensorget("x")
        ok, error, got = pipe.execute(raise_on_error=False)
    assert ok == b"OK"
    assert isinstance(error, ResponseError)
    assert got.tolist() == [1, 2]


# ------------------------------------------------------------------ settings and information
def test_settings_are_read_and_changed(client):
    assert client.config("MODEL_CHUNK_SIZE") == 511 * 1024 * 1024
    assert client.config("MODEL_CHUNK_SIZE", 128 * 1024) == "OK"
    assert client.config("MODEL_CHUNK_SIZE") == 128 * 1024
    assert client.config("BACKENDSPATH", "/some/where") == "OK"
    assert client.config("BACKENDSPATH") == "/some/where"
    assert client.config("NOTHING") is None
    with pytest.raises(ResponseError, match=r"^MODEL_CHUNK_SIZE: invalid chunk size$"):
        client.config("MODEL_CHUNK_SIZE", "large")
    with pytest.raises(ResponseError, match=r"^unsupported subcommand$"):
        client.config("NOTHING", "much")


def test_a_backend_is_loaded_by_its_name_once(start):
    with start() as port, Client(host="127.0.0.1", port=port) as client:
        assert client.loadbackend("ONNX", "redisai_onnxruntime/redisai_onnxruntime.so") == "OK"
        with pytest.raises(ResponseError, match=r"^error loading backend$"):
            client.loadbackend("ONNX", "redisai_onnxruntime/redisai_onnxruntime.so")
        with pytest.raises(ResponseError, match=r"^unsupported backend$"):
            client.loadbackend("CAFFE", "nothing.so")


def test_runs_are_counted_and_forgotten(stored, digits):
    fresh = stored.infoget("digits")
    assert fresh == {
        "key": "digits", "type": "MODEL", "backend": "ONNX", "device": "CPU", "tag": "",
        "duration": 0, "samples": 0, "calls": 0, "errors": 0,
    }  # fmt: skip
    stored.modelexecute("digits", "pictures", "answers")
    info = stored.infoget("digits")
    assert (info["calls"], info["samples"], info["errors"]) == (1, len(digits.pictures), 0)
    assert info["duration"] > 0
    assert stored.inforeset("digits") == "OK"
    assert stored.infoget("digits") == fresh
    with pytest.raises(ResponseError):
        stored.infoget("nothing")


def test_runs_of_scripts_are_counted(scripted):
    scripted.scriptexecute("script", "by_factor", inputs="a", args="3", outputs="y")
    info = scripted.infoget("script")
    assert (info["type"], info["backend"], info["calls"]) == ("SCRIPT", "TORCH", 1)
    assert (info["tag"], info["samples"]) == ("v4", -1)


# ------------------------------------------------------------------ ways to connect
def test_without_post_processing_replies_come_raw(client, port):
    with Client(host="127.0.0.1", port=port, enable_postprocess=False) as raw:
        assert raw.tensorset("x", [1, 2], dtype="int8") == b"OK"
        assert raw.tensorget("x") == [b"dtype", b"INT8", b"shape", [2], b"blob", b"\1\2"]
        assert raw.config("MODEL_CHUNK_SIZE", 1024) == b"OK"


def test_with_debug_each_command_is_printed(client, port, capsys):
    with Client(debug=True, host="127.0.0.1", port=port) as talkative:
        talkative.tensorset("x", [1, 2], dtype="int8")
        assert talkative.tensorget("x").tolist() == [1, 2]
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["AI.TENSORSET x INT8 2 VALUES 1 2", "AI.TENSORGET x META BLOB"]


def test_what_a_redis_client_has_works_beside(client):
    client.tensorset("x", [1, 2], dtype="int8")
    assert client.type("x") == b"AI_TENSOR"
    assert client.rename("x", "y") is True
    assert client.expire("y", 100) is True
    assert 0 < client.ttl("y") <= 100
    assert client.dbsize() == 1
    assert client.delete("y") == 1


# ------------------------------------------------------------------ the tour itself
@pytest.mark.parametrize("kind", [Client, Dag, Pipeline])
def test_no_method_is_left_out(kind):
    tour = Path(__file__).read_text()
    methods = {name for name, it in vars(kind).items() if callable(it) and name[0] != "_"}
    assert methods
    assert {name for name in methods if not re.search(rf"\.{name}\(", tour)} == set()
