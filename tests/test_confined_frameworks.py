"""Each framework works in a process that is confined as workers are, and reaches no file there.

The frameworks themselves are asked, past all that backends refuse by name: whatever a model or
script finds to open files with, the operating system says no.
"""

import re

import pytest

from tensorkeep_workers_process.confinement import available
from tensorkeep_workers_process.testing import confined

pytestmark = pytest.mark.skipif(
    not (available().landlock and available().system_calls), reason="no whole sandbox here"
)

DENIED = re.compile(r"Permission denied|not permitted|PERMISSION_DENIED|PermissionDenied")


def refused(found, *names):
    return {name: found[name] for name in names if not DENIED.search(found[name])} == {}


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("a secret")
    return path


TENSORFLOW = """
def run(make):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        return session.run(make())
ops = tf.raw_ops
attempt("product", lambda: run(lambda: tf.reduce_sum(tf.ones([50, 50]) @ tf.ones([50, 50]))))
images, kernel = tf.ones([8, 32, 32, 3]), tf.ones([1, 1, 3, 8])
attempt("convolution", lambda: tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME")).numpy())
attempt("parallel", lambda: run(lambda: tf.map_fn(lambda x: x * 2, tf.range(1000)))[-1])
attempt("in memory", lambda: tf.io.write_file("ram://folder/file", "text"))

attempt("read", lambda: run(lambda: tf.io.read_file(here)))
attempt("write", lambda: run(lambda: tf.io.write_file(there, "text")))
attempt("save", lambda: run(lambda: ops.SaveV2(
    prefix=there, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones([2])])))
attempt("lines", lambda: list(tf.data.TextLineDataset(here)))
attempt("records", lambda: list(tf.data.TFRecordDataset(here)))
attempt("table", lambda: tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
    here, tf.string, 0, tf.int64, 1), -1))
attempt("print", lambda: tf.print("text", output_stream="file://" + there) or open(there))
"""
TORCH = """
attempt("product", lambda: (torch.ones(300, 300) @ torch.ones(300, 300)).sum().item())
attempt("convolution", lambda: torch.nn.Conv2d(3, 8, 3)(torch.ones(8, 3, 64, 64)).shape[1])
attempt("script", lambda: torch.jit.CompilationUnit(source).twice(torch.ones(2)).sum().item())
attempt("frequencies", lambda: torch.fft.fft(torch.ones(64)).shape[0])
attempt("solved", lambda: torch.linalg.solve(torch.eye(50), torch.ones(50)).shape[0])

attempt("write", lambda: torch.save(torch.ones(2), there))
attempt("read", lambda: torch.from_file(here, size=4, dtype=torch.uint8))
attempt("map", lambda: torch.from_file(there, shared=True, size=4, dtype=torch.uint8))
attempt("archive", lambda: torch._C.PyTorchFileReader(here))
attempt("archived", lambda: torch._C.PyTorchFileWriter(there))
attempt("load", lambda: torch.load(here))
attempt("script of file", lambda: torch.jit.load(here))
attempt("shared", lambda: torch.UntypedStorage._new_shared(64))
"""


@pytest.mark.parametrize(
    ("code", "framework", "before", "results"),
    [
        (
            TENSORFLOW,
            "tensorflow",
            "tf",
            ["np.float32(125000.0)", "np.float32(196608.0)", "np.int32(1998)", "None"],
        ),
        (TORCH, "torch", "torch", ["27000000.0", "8", "4.0", "64", "50"]),
    ],
    ids=["tensorflow", "torch"],
)
def test_what_is_imported_before(secret, code, framework, before, results):
    pytest.importorskip(framework)
    found = confined(
        code,
        before=f"""
        import {framework} as {before}
        source = "def twice(x):\\n    return x + x\\n"
        here, there = {str(secret)!r}, {str(secret.with_name("new"))!r}
        """,
    )
    assert [*found.values()][: len(results)] == results
    assert len(found) > len(results) + 4
    assert refused(found, *[*found][len(results) :]), found
    assert [each.name for each in secret.parent.iterdir()] == ["secret"]


def test_onnx_runtime(secret):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.UINT8
    weights = onnx.TensorProto(
        name="w", data_type=kind, dims=[8], data_location=onnx.TensorProto.EXTERNAL
    )
    weights.external_data.add(key="location", value=str(secret))
    inside = onnx.helper.make_tensor("w", kind, [8], b"inside!!", raw=True)
    blobs = []
    for each in (inside, weights):
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["w"], ["y"])],
            "g",
            [],
            [value("y", kind, [8])],
            [each],
        )
        opset = [onnx.helper.make_opsetid("", 13)]
        blobs.append(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8))
    good, bad = (each.SerializeToString() for each in blobs)
    found = confined(
        f"""
        import onnxruntime  # as workers do, for it starts threads
        there = {str(secret.with_name("new"))!r}
        def session(model, **options):
            told = onnxruntime.SessionOptions()
            for name, value in options.items():
                setattr(told, name, value)
            return onnxruntime.InferenceSession(model, told, providers=["CPUExecutionProvider"])
        attempt("run", lambda: bytes(session({good!r}).run(None, {{}})[0]))
        attempt("data", lambda: session({bad!r}).run(None, {{}}))
        attempt("file", lambda: session({str(secret)!r}))
        attempt("optimized", lambda: session({good!r}, optimized_model_filepath=there))
        attempt("library", lambda: onnxruntime.SessionOptions().register_custom_ops_library(
            {str(secret)!r}))
        """
    )
    assert found["run"] == "b'inside!!'"
    assert len(found) == 5
    assert all("Fail" in found[name] or "Error" in found[name] for name in found if name != "run")
    assert "secret" not in found["data"].replace(str(secret), "")
    assert [each.name for each in secret.parent.iterdir()] == ["secret"]


def test_litert(secret):
    pytest.importorskip("ai_edge_litert")
    found = confined(
        f"""
        attempt("file", lambda: Interpreter(model_path={str(secret)!r}))
        attempt("delegate", lambda: load_delegate({str(secret)!r}))
        """,
        before="from ai_edge_litert.interpreter import Interpreter, load_delegate",
    )
    assert "ValueError" in found["file"]
    assert DENIED.search(found["delegate"])
