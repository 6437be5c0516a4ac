"""SmartRedis 0.6.1, its Python client on one server: every method of client, datasets and options.

What a call should answer is known without the server: from its own arguments, from arithmetic, or
from the labels of the pictures. What the client refuses by itself is left to the client.
"""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from smartredis import (
    Client,
    ConfigOptions,
    Dataset,
    LLDebug,
    LLDeveloper,
    LLInfo,
    LLQuiet,
    LogContext,
    SRObject,
    log_data,
    log_error,
    log_warning,
)
from smartredis.error import RedisConnectionError, RedisKeyError, RedisRuntimeError

SCRIPT = """
def scaled(data):
    return data * 10

def both(a, b):
    return a + b, a - b
"""
NO_TRIES = {"poll_frequency_ms": 1, "num_tries": 2}
MANY_TRIES = {"poll_frequency_ms": 10, "num_tries": 6000}


@pytest.fixture
def client(environment, address):
    client = Client(None, logger_name="tour")
    client.flush_db([address])
    yield client
    client.set_model_chunk_size(511 * 1024 * 1024)


@contextmanager
def beside(statement):
    """Has another client do something meanwhile, in a process: one that waits stops all threads."""
    program = f'import time, smartredis; client = smartredis.Client(None, "other"); {statement}'
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


# ------------------------------------------------------------------ tensors
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16"]
)
def test_a_tensor_of_every_type_comes_back_as_it_was_put(client, dtype):
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    sent = np.array([[0, 1, limits.min], [2, 3, limits.max]], dtype)
    client.put_tensor("x", sent)
    got = client.get_tensor("x")
    assert got.dtype == sent.dtype
    np.testing.assert_array_equal(got, sent)


def test_a_view_is_put_as_what_it_shows(client):
    whole = np.arange(12.0).reshape(3, 4)
    client.put_tensor("x", whole[::2, 1:3])
    assert client.get_tensor("x").tolist() == [[1, 2], [9, 10]]
    client.put_tensor("turned", whole.T)
    np.testing.assert_array_equal(client.get_tensor("turned"), whole.T)


def test_a_large_tensor_comes_back(client):
    large = np.random.default_rng(7).random((1000, 1000))
    client.put_tensor("large", large)
    np.testing.assert_array_equal(client.get_tensor("large"), large)


def test_a_tensor_is_copied_renamed_and_deleted(client):
    client.put_tensor("x", np.array([1, 2]))
    client.copy_tensor("x", "copy")
    client.rename_tensor("x", "y")
    assert [client.tensor_exists(name) for name in ("x", "copy", "y")] == [False, True, True]
    assert client.get_tensor("copy").tolist() == client.get_tensor("y").tolist() == [1, 2]
    client.delete_tensor("y")
    client.delete_tensor("y")  # Nobody minds.
    assert not client.tensor_exists("y")


def test_a_tensor_that_is_not_there_is_an_error(client):
    with pytest.raises(RedisRuntimeError, match="tensor key is empty or in a different shard"):
        client.get_tensor("nothing")
    with pytest.raises(RedisRuntimeError, match="tensor key is empty"):
        client.copy_tensor("nothing", "y")
    with pytest.raises(RedisRuntimeError, match="no such key"):
        client.rename_tensor("nothing", "y")
    with pytest.raises(TypeError, match="Incompatible tensor type"):
        client.put_tensor("x", np.array([1j]))


# ------------------------------------------------------------------ datasets
def dataset(name, n=0):
    """A dataset with tensors of several types, and with numbers and strings beside them."""
    made = Dataset(name)
    made.add_tensor("floats", np.array([[n + 0.5, 1], [2, 3]]))
    made.add_tensor("bytes", np.array([n, 255], np.uint8))
    for number in (n, -(2**63)):
        made.add_meta_scalar("int64", number)
    made.add_meta_scalar("int32", np.int32(-5))
    made.add_meta_scalar("uint32", np.uint32(2**32 - 1))
    made.add_meta_scalar("uint64", np.uint64(2**64 - 1))
    made.add_meta_scalar("float", np.float32(0.1))
    made.add_meta_scalar("double", 0.1)
    for word in ("first", "δεύτερο ☃"):
        made.add_meta_string("words", word)
    return made


def assert_same(got, name, n=0):
    """Asserts that this is what `dataset` makes."""
    assert got.get_name() == name
    assert sorted(got.get_tensor_names()) == ["bytes", "floats"]
    assert got.get_tensor("floats").tolist() == [[n + 0.5, 1], [2, 3]]
    assert got.get_tensor("bytes").tolist() == [n, 255]
    assert got.get_tensor_type("floats") is np.double
    assert got.get_tensor_type("bytes") is np.uint8
    assert got.get_tensor_dims("floats") == [2, 2]
    names = ["double", "float", "int32", "int64", "uint32", "uint64", "words"]
    assert sorted(got.get_metadata_field_names()) == names
    assert got.get_meta_scalars("int64").tolist() == [n, -(2**63)]
    assert got.get_meta_scalars("int32").tolist() == [-5]
    assert got.get_meta_scalars("uint32").tolist() == [2**32 - 1]
    assert got.get_meta_scalars("uint64").tolist() == [2**64 - 1]
    assert got.get_meta_scalars("float").tolist() == [np.float32(0.1)]
    assert got.get_meta_scalars("double").tolist() == [0.1]
    assert got.get_meta_strings("words") == ["first", "δεύτερο ☃"]
    assert got.get_metadata_field_type("int64") is np.int64
    assert got.get_metadata_field_type("words") is str
    assert "floats" in str(got)


def test_a_dataset_comes_back_with_tensors_and_metadata(client):
    client.put_dataset(dataset("d", 3))
    assert client.dataset_exists("d")
    assert_same(client.get_dataset("d"), "d", 3)


def test_a_dataset_that_is_put_again_is_another(client):
    client.put_dataset(dataset("d"))
    small = Dataset("d")
    small.add_meta_string("only", "this")
    client.put_dataset(small)
    got = client.get_dataset("d")
    assert got.get_metadata_field_names() == ["only"]
    assert got.get_tensor_names() == []


def test_a_dataset_may_be_handed_on_by_its_inner_object(client):
    client.put_dataset(dataset("d", 3))
    other = Dataset("other")
    other.set_data(client.get_dataset("d").get_data())
    assert_same(other, "d", 3)
    with pytest.raises(RedisKeyError, match="does not exist"):
        other.get_tensor("nothing")
    with pytest.raises(RedisRuntimeError, match="does not exist"):
        other.get_meta_scalars("nothing")


def test_a_tensor_of_a_dataset_is_a_tensor_of_the_server(client):
    client.put_dataset(dataset("d", 3))
    assert client.get_tensor("{d}.bytes").tolist() == [3, 255]


def test_a_dataset_is_copied_renamed_and_deleted(client):
    client.put_dataset(dataset("d", 3))
    client.copy_dataset("d", "copy")
    client.rename_dataset("d", "other")
    found = [client.dataset_exists(name) for name in ("d", "copy", "other")]
    assert found == [False, True, True]
    assert_same(client.get_dataset("copy"), "copy", 3)
    assert_same(client.get_dataset("other"), "other", 3)
    client.delete_dataset("other")
    assert not client.dataset_exists("other")
    with pytest.raises(RedisKeyError, match="does not exist"):
        client.get_dataset("other")
    for change in (lambda: client.copy_dataset("d", "e"), lambda: client.rename_dataset("d", "e")):
        with pytest.raises((RedisRuntimeError, RedisKeyError), match="does not exist"):
            change()


# ------------------------------------------------------------------ lists of datasets
@pytest.fixture
def listed(client):
    """A client, with a list of three datasets."""
    for n in range(3):
        made = dataset(f"d{n}", n)
        client.put_dataset(made)
        client.append_to_list("list", made)
    return client


def assert_listed(got, numbers):
    """Asserts that these are the datasets of those numbers, in any order."""
    got = {each.get_name(): each for each in map(Dataset.from_pybind, got)}
    assert sorted(got) == [f"d{n}" for n in numbers]
    for n in numbers:
        assert_same(got[f"d{n}"], f"d{n}", n)


def test_a_list_gives_its_datasets(listed):
    assert listed.get_list_length("list") == 3
    assert_listed(listed.get_datasets_from_list("list"), range(3))
    assert_listed(listed.get_dataset_list_range("list", 1, 2), [1, 2])
    assert_listed(listed.get_dataset_list_range("list", -1, -1), [2])
    assert_listed(listed.get_dataset_list_range("list", 1, 100), [1, 2])
    assert listed.get_dataset_list_range("list", 2, 1) == []


def test_a_list_is_copied_renamed_and_deleted(listed):
    listed.copy_list("list", "copy")
    listed.rename_list("list", "other")
    assert [listed.get_list_length(name) for name in ("list", "copy", "other")] == [0, 3, 3]
    assert_listed(listed.get_datasets_from_list("copy"), range(3))
    listed.delete_list("other")
    assert listed.get_datasets_from_list("other") == []
    assert listed.dataset_exists("d0")
    with pytest.raises(RedisRuntimeError, match="does not exist"):
        listed.copy_list("other", "list")
    with pytest.raises(RedisRuntimeError, match="does not exist"):
        listed.rename_list("other", "list")


def test_the_length_of_a_list_is_waited_for(listed):
    assert listed.poll_list_length("list", 3, **NO_TRIES)
    assert not listed.poll_list_length("list", 2, **NO_TRIES)
    assert listed.poll_list_length_gte("list", 2, **NO_TRIES)
    assert not listed.poll_list_length_gte("list", 4, **NO_TRIES)
    assert listed.poll_list_length_lte("list", 3, **NO_TRIES)
    assert not listed.poll_list_length_lte("list", 2, **NO_TRIES)


# ------------------------------------------------------------------ models
def test_an_onnx_model_reads_the_pictures(client, digits):
    client.set_model("digits", digits.onnx, "ONNX", "CPU")
    assert client.model_exists("digits")
    client.put_tensor("pictures", digits.pictures)
    client.run_model("digits", inputs=["pictures"], outputs=["answers"])
    assert digits.read_well(client.get_tensor("answers"))
    assert client.get_model("digits") == digits.onnx


def test_a_graph_of_tensorflow_reads_the_pictures(client, digits, tmp_path):
    names = {"inputs": ["images"], "outputs": ["probabilities"]}
    client.set_model("graph", digits.tf, "TF", "CPU", tag="v1", **names)
    file = tmp_path / "graph.pb"
    file.write_bytes(digits.tf)
    client.set_model_from_file("from file", str(file), "TF", "CPU", **names)
    client.put_tensor("pictures", digits.pictures)
    for name in ("graph", "from file"):
        client.run_model(name, "pictures", f"answers of {name}")
        assert digits.read_well(client.get_tensor(f"answers of {name}"))
    assert client.get_model("from file") == digits.tf


def test_a_model_of_torch_reads_the_pictures(client, digits):
    client.set_model("digits", digits.torch, "TORCH", "CPU")
    client.put_tensor("pictures", digits.pictures)
    client.run_model("digits", ["pictures"], ["answers"])
    assert digits.read_well(client.get_tensor("answers"))
    assert client.get_model("digits") == digits.torch


def test_a_model_of_torch_computes(client, line):
    client.set_model("line", line, "torch", "cpu")
    client.put_tensor("x", np.array([1, 2, 3], np.float32))
    client.run_model("line", ["x"], ["y"])
    assert client.get_tensor("y").tolist() == [3, 5, 7]
    assert client.get_model("line") == line


def test_a_model_of_tflite_reads_the_pictures(client, digits):
    try:
        client.set_model("lite", digits.tflite, "TFLITE", "CPU")
    except RedisRuntimeError as error:
        if "Could not load backend" not in str(error):
            raise
        pytest.skip("the TFLITE backend is not installed where the server is")
    client.put_tensor("pictures", digits.pictures)
    client.run_model("lite", ["pictures"], ["answers"])
    assert digits.read_well(client.get_tensor("answers"))


def test_requests_of_two_clients_make_a_batch(client, digits, address):
    minute = 60_000  # milliseconds; a request that stays alone is waited for so long
    client.set_model("batched", digits.onnx, "ONNX", "CPU", 4, 2, minute, "tagged")
    for n in range(2):
        client.put_tensor(f"x{n}", digits.pictures[n : n + 1])
    with beside('client.run_model("batched", ["x0"], ["y0"])'):
        client.run_model("batched", ["x1"], ["y1"])
    assert [client.get_tensor(f"y{n}").argmax() for n in range(2)] == digits.labels[:2].tolist()
    (info,) = client.get_ai_info([address], "batched")
    assert (info["calls"], info["samples"], info["tag"]) == ("2", "2", "tagged")
    assert int(info["duration"]) < minute * 1000


def test_a_model_is_deleted(client, digits):
    client.set_model("digits", digits.onnx, "ONNX")
    client.delete_model("digits")
    assert not client.model_exists("digits")
    with pytest.raises(RedisRuntimeError, match="model key is empty"):
        client.delete_model("digits")
    with pytest.raises(RedisRuntimeError, match="model key is empty"):
        client.get_model("digits")
    with pytest.raises(RedisRuntimeError, match="model key is empty"):
        client.run_model("digits", ["x"], ["y"])


def test_the_size_of_pieces_is_set_and_models_are_sent_in_them(client, digits):
    client.set_model_chunk_size(50_000)
    client.set_model("digits", digits.onnx, "ONNX")
    # This client joins pieces wrongly; it gets back what comes in one.
    client.set_model_chunk_size(1_000_000)
    assert client.get_model("digits") == digits.onnx
    with pytest.raises(RedisRuntimeError, match="invalid chunk size"):
        client.set_model_chunk_size(-1)


# ------------------------------------------------------------------ scripts
def times_ten(data):
    """A function that the client reads from this file."""
    return data * 10


@pytest.fixture
def scripted(client):
    """A client, with the script at `script` and two tensors."""
    client.set_script("script", SCRIPT, "CPU")
    client.put_tensor("a", np.array([1.0, 2.0]))
    client.put_tensor("b", np.array([10.0, 20.0]))
    return client


def test_a_script_computes_and_comes_back(scripted):
    scripted.run_script("script", "scaled", "a", "y")
    assert scripted.get_tensor("y").tolist() == [10, 20]
    scripted.run_script("script", "both", ["a", "b"], ["sum", "difference"])
    assert scripted.get_tensor("sum").tolist() == [11, 22]
    assert scripted.get_tensor("difference").tolist() == [-9, -18]
    assert scripted.get_script("script") == SCRIPT
    assert scripted.model_exists("script")


def test_a_script_from_a_file_or_a_function_computes(scripted, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    scripted.set_script_from_file("from file", str(file), "CPU")
    scripted.set_function("function", times_ten)
    scripted.run_script("from file", "scaled", ["a"], ["y"])
    scripted.run_script("function", "times_ten", ["a"], ["z"])
    assert scripted.get_tensor("y").tolist() == scripted.get_tensor("z").tolist() == [10, 20]
    assert scripted.get_script("from file") == SCRIPT


def test_a_script_is_deleted(scripted):
    scripted.delete_script("script")
    assert not scripted.model_exists("script")
    with pytest.raises(RedisRuntimeError, match="script key is empty"):
        scripted.delete_script("script")
    with pytest.raises(RedisRuntimeError, match="script key is empty"):
        scripted.get_script("script")


def test_the_server_says_what_is_wrong_with_a_script(scripted):
    with pytest.raises(RedisRuntimeError, match="Function does not exist: nothing"):
        scripted.run_script("script", "nothing", ["a"], ["y"])
    with pytest.raises(RedisRuntimeError, match="tensor key is empty"):
        scripted.run_script("script", "scaled", ["nothing"], ["y"])
    with pytest.raises(RedisRuntimeError):
        scripted.set_script("broken", "return 1")
    assert not scripted.key_exists("y")
    assert not scripted.key_exists("broken")


# ------------------------------------------------------------------ several GPUs
@pytest.fixture
def on_gpus(scripted):
    """A client, with a model and a script under the names that they have on two GPUs."""

    def on_gpus(blob):
        for name in ("m", "m.GPU:0", "m.GPU:1"):
            scripted.set_model(name, blob, "TORCH", "CPU")
        for name in ("s", "s.GPU:0", "s.GPU:1"):
            scripted.set_script(name, SCRIPT)
        return scripted

    return on_gpus


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_without_a_gpu_nothing_is_stored_on_one(client, digits, line, tmp_path):
    model, script = tmp_path / "digits.onnx", tmp_path / "script.py"
    model.write_bytes(digits.onnx)
    script.write_text(SCRIPT)
    for store in (
        lambda: client.set_model_multigpu("m", line, "TORCH", 0, 2),
        lambda: client.set_model_from_file_multigpu("m", str(model), "ONNX", 0, 2),
        lambda: client.set_model("m", line, "TORCH", "GPU"),
        lambda: client.set_model("m", line, "TORCH", "GPU:1"),
        lambda: client.set_script_multigpu("m", SCRIPT, 0, 2),
        lambda: client.set_script_from_file_multigpu("m", str(script), 0, 2),
        lambda: client.set_function_multigpu("m", times_ten, 0, 2),
        lambda: client.set_script("m", SCRIPT, "GPU"),
    ):
        with pytest.raises(RedisRuntimeError, match="GPU requested but"):
            store()
    assert not any(map(client.key_exists, ("m", "m.GPU:0", "m.GPU:1")))
    for use in (
        lambda: client.run_model_multigpu("m", 0, 0, 2, ["x"], ["y"]),
        lambda: client.delete_model_multigpu("m", 0, 2),
        lambda: client.run_script_multigpu("m", "scaled", ["x"], ["y"], 0, 0, 2),
        lambda: client.delete_script_multigpu("m", 0, 2),
    ):
        with pytest.raises(RedisRuntimeError, match="key is empty"):
            use()


def test_what_is_stored_for_several_gpus_runs_under_the_name_of_one(on_gpus, line, address):
    client = on_gpus(line)
    client.put_tensor("x", np.array([1, 2, 3], np.float32))
    client.run_model_multigpu("m", 3, 0, 2, ["x"], ["y"])
    client.run_script_multigpu("s", "scaled", ["x"], ["z"], 2, 0, 2)
    assert client.get_tensor("y").tolist() == [3, 5, 7]
    assert client.get_tensor("z").tolist() == [10, 20, 30]
    names = ("m.GPU:0", "m.GPU:1", "s.GPU:0", "s.GPU:1", "m", "s")
    calls = [client.get_ai_info([address], name)[0]["calls"] for name in names]
    assert calls == ["0", "1", "1", "0", "0", "0"]


def test_what_is_stored_for_several_gpus_is_deleted_under_all_names(on_gpus, line):
    client = on_gpus(line)
    client.delete_model_multigpu("m", 0, 2)
    client.delete_script_multigpu("s", 0, 2)
    names = ("m", "m.GPU:0", "m.GPU:1", "s", "s.GPU:0", "s.GPU:1")
    assert not any(map(client.key_exists, names))


# ------------------------------------------------------------------ waiting for what comes
def test_what_is_there_is_found_and_what_is_not_is_not_waited_for(client, line):
    client.put_tensor("x", np.array([1]))
    client.put_dataset(dataset("d"))
    client.set_model("m", line, "TORCH")
    assert client.key_exists("x")
    assert client.key_exists("{d}.meta")
    for poll, name in (
        (client.poll_key, "x"),
        (client.poll_tensor, "x"),
        (client.poll_dataset, "d"),
        (client.poll_model, "m"),
    ):
        assert poll(name, **NO_TRIES)
        assert not poll("nothing", **NO_TRIES)


def test_a_tensor_is_waited_for_until_it_comes(client):
    client.put_tensor("x", np.array([1]))
    with beside('time.sleep(0.2); client.copy_tensor("x", "y")'):
        assert client.poll_tensor("y", **MANY_TRIES)


# ------------------------------------------------------------------ prefixes
def test_keys_have_the_prefixes_of_their_sources(environment, client, line):
    environment.setenv("SSKEYIN", "one,two")
    environment.setenv("SSKEYOUT", "two")
    member = Client(None, logger_name="member")
    member.use_model_ensemble_prefix(True)
    member.put_tensor("x", np.array([2], np.float32))
    member.put_dataset(dataset("d"))
    member.append_to_list("list", dataset("d"))
    member.set_model("m", line, "TORCH")
    assert all(map(client.key_exists, ("two.x", "two.{d}.meta", "two.list", "two.m")))
    member.set_data_source("two")
    assert member.get_tensor("x").tolist() == [2]
    assert member.dataset_exists("d")
    assert member.get_list_length("list") == 1
    member.run_model("m", ["x"], ["y"])
    assert client.get_tensor("two.y").tolist() == [5]
    member.set_data_source("one")
    assert not member.tensor_exists("x")
    client.put_tensor("one.x", np.array([1]))
    assert member.get_tensor("x").tolist() == [1]
    with pytest.raises(RedisRuntimeError):
        member.set_data_source("three")


def test_prefixes_are_switched_off_for_each_kind(environment, client, line):
    environment.setenv("SSKEYIN", "one")
    environment.setenv("SSKEYOUT", "one")
    member = Client(None, logger_name="member")
    member.use_tensor_ensemble_prefix(False)
    member.use_dataset_ensemble_prefix(False)
    member.use_list_ensemble_prefix(False)
    member.use_model_ensemble_prefix(False)
    member.put_tensor("x", np.array([1]))
    member.put_dataset(dataset("d"))
    member.append_to_list("list", dataset("d"))
    member.set_model("m", line, "TORCH")
    assert all(map(client.key_exists, ("x", "{d}.meta", "list", "m")))


# ------------------------------------------------------------------ about the server
def test_the_server_tells_of_itself(client, address):
    (info,) = client.get_db_node_info([address])
    assert info["Server"]["redis_mode"] == "standalone"
    assert info["Server"]["tcp_port"] == address.partition(":")[2]
    assert int(info["Clients"]["connected_clients"]) >= 1
    assert "name=ai" in info["Modules"]["module"]
    assert info["Cluster"]["cluster_enabled"] == "0"
    assert int(info["Memory"]["used_memory"]) > 0


def test_what_is_only_for_clusters_is_refused(client, address):
    with pytest.raises(RedisRuntimeError, match="Cannot run on non-cluster environment"):
        client.get_db_cluster_info([address])


def test_another_address_than_the_server_s_is_refused(client):
    elsewhere = "127.0.0.1:1"
    for ask in (
        lambda: client.get_db_node_info([elsewhere]),
        lambda: client.flush_db([elsewhere]),
        lambda: client.config_get("*", elsewhere),
        lambda: client.config_set("lua-time-limit", "1", elsewhere),
        lambda: client.save([elsewhere]),
        lambda: client.get_ai_info([elsewhere], "m"),
    ):
        with pytest.raises(RedisRuntimeError, match="does not match the address"):
            ask()


def test_runs_are_counted_and_forgotten(scripted, address):
    (fresh,) = scripted.get_ai_info([address], "script")
    assert fresh == {
        "key": "script", "type": "SCRIPT", "backend": "TORCH", "device": "CPU", "tag": "",
        "duration": "0", "samples": "-1", "calls": "0", "errors": "0",
    }  # fmt: skip
    scripted.run_script("script", "scaled", ["a"], ["y"])
    (info,) = scripted.get_ai_info([address], "script")
    assert info["calls"] == "1"
    assert int(info["duration"]) > 0
    # The client expects an array and gets OK, from RedisAI too; the counters are set back.
    with pytest.raises(RedisRuntimeError, match="REDIS_REPLY_STATUS"):
        scripted.get_ai_info([address], "script", True)
    assert scripted.get_ai_info([address], "script") == [fresh]
    with pytest.raises(RedisRuntimeError, match="cannot find run info for key"):
        scripted.get_ai_info([address], "nothing")


def test_settings_are_read_and_changed(client, address):
    client.config_set("lua-time-limit", "4000", address)
    assert client.config_get("lua-time-limit", address) == {"lua-time-limit": "4000"}
    client.config_set("lua-time-limit", "5000", address)
    assert client.config_get("nothing", address) == {}
    everything = client.config_get("*", address)
    assert everything["lua-time-limit"] == "5000"
    assert everything["port"] == address.partition(":")[2]
    with pytest.raises(RedisRuntimeError, match="Unknown option or number of arguments"):
        client.config_set("nothing", "1", address)


def test_a_save_fails_because_there_is_no_storage(client, address):
    with pytest.raises(RedisRuntimeError, match="nothing was saved"):
        client.save([address])


def test_a_flush_leaves_nothing(client, address, line):
    client.put_tensor("x", np.array([1]))
    client.put_dataset(dataset("d"))
    client.set_model("m", line, "TORCH")
    client.flush_db([address])
    assert not any(map(client.key_exists, ("x", "{d}.meta", "m")))


# ------------------------------------------------------------------ ways to connect
def test_a_client_tells_how_it_is_connected(client, address):
    assert str(client).startswith("Client (tour):")
    assert "Non-clustered" in str(client)
    assert address in str(client)


def test_the_address_may_be_an_argument(environment, client, address):
    client.put_tensor("x", np.array([1]))
    environment.setenv("SSDB", "nowhere:1")  # what the client sets is taken back with it
    assert Client(False, address, logger_name="old").get_tensor("x").tolist() == [1]
    assert Client(cluster=False, address=address).tensor_exists("x")


def test_the_server_is_reached_through_options(environment, client, address):
    environment.setenv("SSDB_TWO", address)
    environment.setenv("SR_DB_TYPE_TWO", "Standalone")
    environment.setenv("SSDB", "nowhere:1")
    options = ConfigOptions.create_from_environment("TWO")
    client.put_tensor("x", np.array([1]))
    assert Client(options, logger_name="second").get_tensor("x").tolist() == [1]


def test_options_are_read_and_overridden(environment, client, address):
    environment.setenv("SR_THREAD_COUNT", "3")
    options = ConfigOptions.create_from_environment("")
    assert options.get_string_option("SSDB") == address
    assert options.get_integer_option("SR_THREAD_COUNT") == 3
    assert options.is_configured("SR_DB_TYPE")
    assert not options.is_configured("nothing")
    with pytest.raises(RedisKeyError, match="No value found"):
        options.get_string_option("nothing")
    options.override_integer_option("SR_THREAD_COUNT", 2)
    options.override_string_option("added", "text")
    assert options.get_integer_option("SR_THREAD_COUNT") == 2
    assert options.get_string_option("added") == "text"
    assert "Threadpool: 2 threads" in str(Client(options, logger_name="two"))
    same = ConfigOptions.from_pybind(options.get_data())
    assert same.get_string_option("added") == "text"
    other = ConfigOptions.create_from_environment("")
    other.set_configoptions(options.get_data())
    assert other.get_string_option("added") == "text"
    with pytest.raises(RedisRuntimeError, match="not created from a factory"):
        ConfigOptions().get_string_option("SSDB")


def test_where_no_server_is_the_client_says_so(environment):
    environment.setenv("SR_CONN_TIMEOUT", "1")
    environment.setenv("SSDB", "127.0.0.1:1")
    with pytest.raises(RedisConnectionError, match="Connection refused"):
        Client(None, logger_name="lost")
    environment.setenv("SSDB", "nonsense")
    with pytest.raises(RedisConnectionError, match="not a valid database node address"):
        Client(None, logger_name="lost")


def test_a_backend_that_loads_longer_than_the_client_waits_is_there_in_the_end(
    environment, start, digits
):
    # By default the client waits 250 ms, then connects and sends again; TensorFlow takes seconds.
    environment.delenv("SR_SOCKET_TIMEOUT")
    with start() as port:
        environment.setenv("SSDB", f"127.0.0.1:{port}")
        client = Client(None, logger_name="impatient")
        client.set_model("graph", digits.tf, "TF", inputs=["images"], outputs=["probabilities"])
        client.put_tensor("pictures", digits.pictures)
        client.run_model("graph", ["pictures"], ["answers"])
        assert digits.read_well(client.get_tensor("answers"))
        client.flush_db([f"127.0.0.1:{port}"])


# ------------------------------------------------------------------ logging
def test_what_is_logged_is_in_the_log_file(client, log_file):
    log_data("context", LLInfo, "said plainly")
    log_warning("context", LLInfo, "said as a warning")
    log_error("context", LLInfo, "said as an error")
    log_data("context", LLDebug, "said too low")
    log_data("context", LLDeveloper, "said lowest")
    context = LogContext("unnamed")
    context.set_context(LogContext("named").get_context())
    context.log_data(LLInfo, "said by a context")
    client.log_data(LLInfo, "said by a client")
    client.log_warning(LLInfo, "warned by a client")
    client.log_error(LLQuiet, "failed by a client")
    made = Dataset("d")
    made.log_data(LLInfo, "said by a dataset")
    lines = re.findall(r"^(.+?)@\S+?:(?:([A-Z]+): )?(.*)$", log_file.read_text(), re.MULTILINE)
    assert lines[-8:] == [
        ("context", "", "said plainly"),
        ("context", "WARNING", "said as a warning"),
        ("context", "ERROR", "said as an error"),
        ("named", "", "said by a context"),
        ("tour", "", "said by a client"),
        ("tour", "WARNING", "warned by a client"),
        ("tour", "ERROR", "failed by a client"),
        ("d", "", "said by a dataset"),
    ]


# ------------------------------------------------------------------ the tour itself
@pytest.mark.parametrize("kind", [Client, Dataset, ConfigOptions, LogContext, SRObject])
def test_no_method_is_left_out(kind):
    tour = Path(__file__).read_text()
    methods = {name for name, it in vars(kind).items() if callable(it) and name[0] != "_"}
    assert methods
    assert {name for name in methods if not re.search(rf"\.{name}\b", tour)} == set()
