"""Models and scripts, and the plugin's hooks called as the engine calls them."""

import io
import struct
import sys
import warnings
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest

from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU, Device
from tensorkeep.errors import CommandFailed
from tensorkeep.hookspecs import RunContext, ScriptCall
from tensorkeep.model import ModelSpec, ScriptSpec
from tensorkeep.tensor import Tensor

if find_spec("torch") is None:  # tests/test_digits_torch.py then says so
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    from tensorkeep_torch import plugin


class Archives:
    """Makes archives of torch, without the warnings about their age."""

    @staticmethod
    def scripted(source, **attributes):
        """Makes an archive of TorchScript of a module whose methods are given as source."""
        builder = torch._C.ConcreteModuleTypeBuilder(torch.nn.Module)
        for name, value in attributes.items():
            kind = torch._C._jit_try_infer_type(value).type()
            builder.add_attribute(name, kind, False, isinstance(value, torch.Tensor))
        kind = builder.build()
        module = torch._C._create_module_with_type(kind.jit_type)
        for name, value in attributes.items():
            module.setattr(name, value)
        module._define(kind, source, {"torch": torch, "Exception": Exception}.get)
        return bytes(module.save_to_buffer({}))

    @staticmethod
    def saved(module, trace=None, **options):
        """Makes an archive of TorchScript of a module of Python, scripted or traced."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if trace:
                compiled = torch.jit.trace(module, trace, **options)
            else:
                compiled = torch.jit.script(module)
        return bytes(compiled._c.save_to_buffer({}))

    @staticmethod
    def exported(module, args, shapes=None, *, decomposed=False, **kwargs):
        """Makes an archive of `torch.export` of a module of Python."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module.eval(), args, kwargs, dynamic_shapes=shapes)
            if decomposed:
                program = program.run_decompositions()
            file = io.BytesIO()
            torch.export.save(program, file)
        return file.getvalue()

    @staticmethod
    def records(blob):
        """Returns what is in an archive, by its names below the top folder."""
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}

    @staticmethod
    def packed(records, method=zipfile.ZIP_STORED):
        """Makes an archive of records: sound on the outside whatever they are."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in records.items():
                archive.writestr(f"archive/{name}", content)
        return file.getvalue()

    @staticmethod
    def written(*args, **options):
        """Makes an archive byte by byte, so that it may say what torch would not write."""
        return archive_of(*args, **options)

    def changed(self, blob, name, change):
        """Makes an archive like another, with one record changed by a function."""
        records = self.records(blob)
        return self.packed(records | {name: change(records[name])})


STORAGES = {
    "float32": "Float",
    "float64": "Double",
    "int64": "Long",
    "int32": "Int",
    "bool": "Bool",
}


def pickled_text(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def pickled_number(number):
    return b"\x8a\x08" + struct.pack("<q", number)


def pickled_numbers(numbers):
    return b"(" + b"".join(map(pickled_number, numbers)) + b"t"


def pickled_tensor(key, array, strides=None, offset=0):
    kind = STORAGES[str(array.dtype)]
    strides = strides or [
        step // array.itemsize for step in np.zeros(array.shape, array.dtype).strides
    ]
    storage = (
        b"("
        + pickled_text("storage")
        + f"ctorch\n{kind}Storage\n".encode()
        + pickled_text(key)
        + pickled_text("cpu")
        + pickled_number(array.size)
        + b"tQ"
    )
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + pickled_number(offset)
        + pickled_numbers(array.shape)
        + pickled_numbers(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def archive_of(code, weights, inputs, pickles=None, version=10):
    """Makes an archive of a module `M`.

    Args:
        code: The lines of its `forward`, or all of its source.
        weights: Its tensors by name.
        inputs: The names of what it takes.
        pickles: Tensors that are pickled in another way, by name.
        version: Of the format.
    """
    if isinstance(code, list):
        lines = [f"  {name} : Tensor" for name in weights]
        taken = ",\n    ".join(f"{name}: Tensor" for name in inputs)
        head = f"  def forward(self: __torch__.M,\n    {taken}) -> Tensor:"
        code = "\n".join(
            ["class M(Module):", "  __parameters__ = []", "  __buffers__ = []", *lines, head]
            + [f"    {line}" for line in code]
        )
    parts = b"".join(
        pickled_text(name) + (pickles or {}).get(name, pickled_tensor(str(number), array))
        for number, (name, array) in enumerate(weights.items())
    )
    data = b"\x80\x02c__torch__\nM\n)\x81}(" + parts + b"ub."
    records = {
        **{f"data/{number}": array.tobytes() for number, array in enumerate(weights.values())},
        "data.pkl": data,
        "code/__torch__.py": code.encode() + b"\n",
        "constants.pkl": b"\x80\x02).",
        ".data/version" if version > 5 else "version": b"%d\n" % version,
        "byteorder": sys.byteorder.encode(),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, content in records.items():
            target.writestr(f"m/{name}", content)
    return file.getvalue()


@pytest.fixture(scope="session")
def archives():
    return Archives()


@pytest.fixture(scope="session")
def doubling(archives):
    """An archive of TorchScript whose `forward(x)` is twice `x`."""
    return archives.scripted("def forward(self, x):\n    return x * 2\n")


@pytest.fixture(scope="session")
def doubling_export(archives):
    """An archive of `torch.export` whose `forward(x)` is twice `x`, of any number of rows of 2."""

    class Double(torch.nn.Module):
        def forward(self, x):
            return x * 2

    return archives.exported(Double(), (torch.zeros(3, 2),), ({0: torch.export.Dim.DYNAMIC},))


@pytest.fixture(scope="session")
def load():
    """Creates a model: `load(blob, device="CPU", **options)`."""

    def load(blob, device="CPU", **options):
        spec = ModelSpec("TORCH", Device.parse(device))
        return plugin.model_create(spec, blob, BackendOptions(**options))

    return load


def tensor(given):
    """Returns a tensor of whatever NumPy makes an array of; lists and numbers are floats."""
    if isinstance(given, (list, int, float)):
        given = np.array(given, np.float32)
    return given if isinstance(given, Tensor) else Tensor.from_numpy(np.asarray(given))


@pytest.fixture(scope="session")
def run():
    """Runs a model and returns its outputs: `run(model, x, ...)`; a list is one of floats."""

    def run(model, *inputs, context=None):
        return plugin.model_run(model, [*map(tensor, inputs)], context or RunContext(CPU))

    return run


class Keyspace:
    """Stands for the server: answers commands from a table, and doubles what models are given.

    Attributes:
        replies: Replies by command; others are refused.
        asked: The commands and models that were asked for.
    """

    def __init__(self):
        self.replies = {}
        self.asked = []

    def execute(self, command, arguments):
        self.asked.append((command, *arguments))
        reply = self.replies.get(command, CommandFailed(f"ERR unknown command '{command}'"))
        if callable(reply):
            reply = reply(*arguments)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def model_execute(self, key, inputs, outputs):
        self.asked.append((key, outputs))
        model = self.replies.get(key, CommandFailed("ERR model key is empty"))
        if isinstance(model, Exception):
            raise model
        return model(*inputs)


@pytest.fixture
def keyspace():
    return Keyspace()


@pytest.fixture(scope="session")
def compile_script():
    """Compiles a script: `compile_script(source, "entry", ...)`."""

    def compile_script(source, *entry_points, device="CPU"):
        spec = ScriptSpec("TORCH", Device.parse(device), entry_points=entry_points)
        text = source if isinstance(source, bytes) else source.encode()
        return plugin.script_create(spec, text, BackendOptions())

    return compile_script


@pytest.fixture
def call(keyspace):
    """Calls a function: `call(script, "name", x, ..., keys=[...], arguments=[...], outputs=1)`."""

    def call(script, function, *tensors, outputs=1, context=None, **given):
        keys, arguments = given.pop("keys", ()), given.pop("arguments", ())
        assert not given
        asked = ScriptCall(function, [*map(tensor, tensors)], keys, arguments, outputs, keyspace)
        return plugin.script_run(script, asked, context or RunContext(CPU))

    return call
