"""What is no model, or may not be one, is refused with a text that can be read."""

import pickle
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorkeep.errors import ModelRejected, RunFailed

NO_ARCHIVE = "Neither a TorchScript archive nor one of torch.export"
MANY = HealthCheck.function_scoped_fixture  # what the fixtures give never changes


@pytest.fixture(scope="session")
def refusal(load):
    def refusal(blob):
        with pytest.raises(ModelRejected) as caught:
            load(blob)
        text = str(caught.value)
        assert len(text) < 1100
        assert "frame #" not in text
        return text

    return refusal


@pytest.mark.parametrize("blob", [b"", b"this is no model", bytes(64), b"PK\3\4 a zip"])
def test_bytes_that_are_no_archive_are_refused(refusal, blob):
    assert refusal(blob).startswith(f"{NO_ARCHIVE}: ")


def test_an_archive_of_something_else_is_refused(archives, refusal):
    assert refusal(archives.packed({"a.txt": b"text"})) == NO_ARCHIVE


def test_what_torch_save_wrote_is_refused_with_what_to_do(refusal, tmp_path):
    for number, content in enumerate((torch.nn.Linear(2, 2).state_dict(), torch.nn.Linear(2, 2))):
        torch.save(content, tmp_path / str(number))

        assert "torch.export.save or torch.jit.save" in refusal(
            (tmp_path / str(number)).read_bytes()
        )


def test_an_archive_that_was_cut_short_anywhere_is_refused(doubling, refusal):
    for length in range(0, len(doubling), 7):
        assert refusal(doubling[:length])


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl", "code/__torch__.py", "version"])
def test_an_archive_without_one_of_its_parts_is_refused(archives, doubling, refusal, name):
    records = archives.records(doubling)
    found = next(each for each in records if each.endswith(name) or each.startswith("code/"))
    del records[name if name in records else found]

    assert refusal(archives.packed(records))


@pytest.fixture(scope="session")
def adding(archives):
    source = "def forward(self, x):\n    for i in range(2):\n        x = x + self.w\n    return x\n"
    return archives.scripted(source, w=torch.ones(2))


@settings(max_examples=60, suppress_health_check=[MANY])
@given(st.data())
def test_damaged_parts_are_refused_or_still_a_model(archives, adding, load, run, data):
    records = archives.records(adding)
    name = data.draw(st.sampled_from(sorted(set(records) - {".data/serialization_id"})))
    content = bytearray(records[name])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        model = load(archives.packed(records | {name: bytes(content)}))
        run(model, *[[1, 2]] * len(model.inputs))
    except (ModelRejected, RunFailed):
        pass


def test_a_tensor_never_reaches_beyond_its_record(archives, load, refusal):
    blob = archives.scripted("def forward(self):\n    return self.w\n", w=torch.ones(6))

    def longer(pickled):
        return pickled.replace(b"cpuq\x06K\x06", b"cpuq\x06K\x60", 1)

    assert longer(archives.records(blob)["data.pkl"]) != archives.records(blob)["data.pkl"]
    # The memory that torch is given has the size that it has, whatever is said of it.
    weights = load(archives.changed(blob, "data.pkl", longer)).native.program.function.owner
    assert weights.getattr("w").untyped_storage().nbytes() == 24
    for size in (20, 0):
        text = refusal(archives.changed(blob, "data/0", lambda content, n=size: content[:n]))
        assert "require a storage of at least 24 bytes" in text


def test_a_constant_never_reaches_beyond_its_record(archives, refusal):
    constant = torch.arange(3.0)

    class Adds(torch.nn.Module):
        def forward(self, x):
            return x + constant

    blob = archives.saved(Adds(), (torch.ones(3),))
    assert "constants/0" in archives.records(blob)
    assert "require a storage of at least 12 bytes" in refusal(
        archives.changed(blob, "constants/0", lambda content: content[:8])
    )


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("torch.save(state, 'written')", "save"),
        ("self.t = torch.from_file('/etc/passwd', False, 8, dtype=torch.uint8)", "from_file"),
        ("self.t = torch.ops.inductor._reinterpret_tensor(state, [9], [1], 0)", "ops"),
    ],
)
def test_what_runs_while_an_archive_is_loaded_reaches_no_files(
    archives, refusal, empty_folder, body, name
):
    blob = archives.scripted(
        "def forward(self, x):\n    return x\n"
        "def __getstate__(self) -> Tensor:\n    return self.t\n"
        f"def __setstate__(self, state: Tensor) -> None:\n    self.t = state\n    {body}\n",
        t=torch.ones(1),
    )

    assert refusal(blob) == f"{name} may not be used where __setstate__ is: that runs at once"
    assert not [*empty_folder.iterdir()]


def test_what_runs_while_an_archive_is_loaded_may_compute(archives, load, run):
    blob = archives.scripted(
        "def forward(self, x):\n    return x + self.t\n"
        "def __getstate__(self) -> Tensor:\n    return self.t\n"
        "def __setstate__(self, state: Tensor) -> None:\n    self.t = state + 1\n",
        t=torch.ones(1),
    )

    assert run(load(blob), [1])[0].values() == [3]


class Exploit:
    def __reduce__(self):
        return exec, ("import builtins; builtins.exploited = True",)


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl"])
def test_nothing_that_a_pickle_names_is_called(archives, doubling, refusal, name):
    exploit = pickle.dumps(Exploit(), 2)
    blob = archives.changed(doubling, name, lambda _: exploit)

    assert refusal(blob)
    assert not hasattr(__builtins__, "exploited")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("    torch.save(x, 'file')\n    return x\n", "aten::save"),
        ("    return torch.from_file('/etc/passwd', False, 8)\n", "aten::from_file"),
        ("    if bool(x[0] > 0):\n        torch.save(x, 'file')\n    return x\n", "aten::save"),
    ],
)
def test_operators_that_reach_for_files_are_refused(archives, refusal, source, name):
    blob = archives.scripted(f"def forward(self, x):\n{source}")

    assert refusal(blob) == f"{name} may not be used: it reaches beyond its tensors, or may"


def test_they_are_found_wherever_they_hide(archives, refusal):
    source = """
def hide(self, x: Tensor):
    torch.save(x, "file")
    return x
def forward(self, x):
    y = torch.jit.fork(self.hide, x)
    return torch.jit.wait(y)
"""
    assert refusal(archives.scripted(source)).startswith("aten::save may not be used")


def test_operators_of_libraries_that_are_not_there_are_named(archives, doubling, refusal):
    def unknown(source):
        return source.replace(b"torch.mul(x, 2)", b"ops.nowhere.nothing(x)")

    (name,) = [
        each
        for each in archives.records(doubling)
        if each.startswith("code/") and each.endswith(".py")
    ]
    assert "nowhere::nothing" in refusal(archives.changed(doubling, name, unknown))


def test_memory_that_is_named_in_an_unknown_way_is_refused(archives, refusal):
    blob = archives.scripted("def forward(self):\n    return self.w\n", w=torch.ones(6))
    for old, new in ((b"storage", b"storing"), (b"FloatStorage", b"Float7torage")):
        assert refusal(
            archives.changed(blob, "data.pkl", lambda at, o=old, n=new: at.replace(o, n))
        )


def test_constants_that_are_not_as_torch_writes_them_are_refused(archives, refusal):
    constant = torch.arange(3.0)

    class Adds(torch.nn.Module):
        def forward(self, x):
            return x + constant

    blob = archives.saved(Adds(), (torch.ones(3),))

    # The key as another kind of text, which torch never writes.
    changed = archives.changed(
        blob, "constants.pkl", lambda at: at.replace(b"X\1\0\0\x000", b"\x8c\x010")
    )
    assert refusal(changed).endswith("'constants.pkl' is not as torch writes it")


def test_modules_may_hold_more_than_tensors(archives, load, run):
    class Holds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.list = [torch.ones(1), torch.ones(2)]
            self.dict = {"a": torch.ones(1), "b": torch.zeros(0)}
            self.numbers = [1, 2]
            self.text = "text"
            self.pair = (1, 2.5)

        def forward(self, x):
            return x + self.list[0] + self.dict["a"] + self.numbers[1] + self.pair[1]

    assert run(load(archives.saved(Holds())), [1])[0].values() == [7.5]


def test_a_module_without_forward_is_refused_in_the_words_that_clients_look_for(archives, refusal):
    text = refusal(archives.scripted("def other(self, x):\n    return x\n"))

    assert text.startswith("Erorr while trying to retrive model inputs number: ")
    assert "forward" in text


def test_weights_and_constants_have_keys_of_their_own(archives, load, run):
    constants = torch.tensor([10.0, 20.0]), torch.tensor([1, 2])

    class Adds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("w", torch.tensor([0.5, 0.25]))

        def forward(self, x):
            return x * constants[1] + constants[0] + self.w

    blob = archives.saved(Adds(), (torch.ones(2),))
    assert {"data/0", "constants/0", "constants/1"} < archives.records(blob).keys()

    assert run(load(blob), [100, 100])[0].values() == [110.5, 220.25]


def test_weights_that_share_memory_share_it_here(archives, load):
    linear = torch.nn.Linear(100, 100, bias=False)
    blob = archives.saved(torch.nn.Sequential(linear, linear))
    module = load(blob).native.program.function.owner
    first, second = (module.getattr(name).getattr("weight") for name in "01")

    assert first.data_ptr() == second.data_ptr()


@pytest.mark.filterwarnings("ignore")  # of torch about what it will no longer have
def test_a_quantized_module_is_a_model(archives, load, run):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    small = torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8)
    x = torch.rand(5, 3)

    (output,) = run(load(archives.saved(small)), x.numpy())

    assert np.array_equal(output.numpy(), small(x).numpy())


def test_operators_that_have_changed_do_what_they_did(archives, load, run):
    blob = archives.scripted("def forward(self, a, b):\n    return torch.div(a, b)\n")
    old = archives.changed(blob, "version", lambda _: b"3\n")  # when integers were divided so
    a, b = np.array([7], np.int64), np.array([2], np.int64)

    assert run(load(blob), a, b)[0].values() == [3.5]
    assert run(load(old), a, b)[0].values() == [3]


def test_archives_of_the_other_byte_order_are_refused(archives, doubling, refusal):
    other = {"little": b"big", "big": b"little"}[sys.byteorder]

    text = refusal(archives.changed(doubling, "byteorder", lambda _: other))

    assert text.endswith("it was written on a machine of the other byte order")


def test_archives_without_debugging_information_are_read_as_well(archives, doubling, load, run):
    records = archives.records(doubling)
    plain = {name: content for name, content in records.items() if not name.endswith("debug_pkl")}

    assert len(plain) < len(records)
    assert run(load(archives.packed(plain)), [1, 2])[0].values() == [2, 4]


def test_an_archive_of_a_later_torch_is_refused(archives, doubling, refusal):
    text = refusal(archives.changed(doubling, "version", lambda _: b"999\n"))

    assert "version" in text
    assert "\n" not in text


# --------------------------------------------------------------------------- versions of the format
class Spaced(torch.nn.Module):
    def forward(self, x):
        return torch.linspace(0.0, 1.0, 3) + torch.logspace(0.0, 1.0, 3) + x[..., :3]


class Gelu(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.gelu(x, approximate="tanh")


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    "module",
    [torch.nn.GELU(), Gelu(), Spaced()],
    ids=lambda each: type(each).__name__,
)
def test_archives_of_the_newest_versions_are_models(archives, load, run, module, traced):
    x = torch.rand(2, 3, 4)
    blob = archives.saved(module.eval(), (x,) if traced else None)

    assert ".data/version" in archives.records(blob)
    (output,) = run(load(blob), x.numpy())
    assert np.array_equal(output.numpy(), module(x).detach().numpy())


@pytest.mark.parametrize("place", ["version", ".data/version"])
def test_operators_mean_what_they_meant_in_the_version_of_the_archive(archives, load, run, place):
    records = archives.records(archives.scripted("def forward(self, x):\n    return x / 2\n"))
    del records["version"]
    given = np.array([3], np.int64)

    old, new = (load(archives.packed(records | {place: each})) for each in (b"3\n", b"4\n"))

    assert run(old, given)[0].values() == [1]  # before version 4, integers were divided so
    assert run(new, given)[0].values() == [1.5]


def test_a_version_that_torch_does_not_read_is_told(archives, doubling, refusal):
    records = archives.records(doubling)
    del records["version"]

    assert "version" in refusal(archives.packed(records))
    assert "too old" in refusal(archives.packed(records | {".data/version": b"99\n"}))
