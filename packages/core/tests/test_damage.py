"""Models are damaged the same way for the same seed, and the one that ended a process is named."""

import io
import subprocess
import sys
import time
import zipfile
from random import Random

import pytest
from google.protobuf import struct_pb2

from tensorkeep.testing import damage
from tensorkeep.testing.damage import (
    damage_message,
    damaged_archive,
    damaged_bytes,
    damaged_text,
    outcomes,
)

SEEDS = range(200)


def all_of(damaged, *args):
    """Returns what comes of each seed, after a look that it comes again."""
    found = [damaged(*args, Random(seed)) for seed in SEEDS]
    assert found == [damaged(*args, Random(seed)) for seed in SEEDS]
    return found


def test_bytes_are_changed_or_cut_and_never_grow():
    blob = bytes(range(40))
    found = all_of(damaged_bytes, blob)

    assert {len(each) == len(blob) for each in found} == {True, False}
    assert max(map(len, found)) == len(blob)
    assert sum(each == blob for each in found) < len(found) / 10
    assert damaged_bytes(b"", Random(1)) == b""


def test_text_gets_other_numbers_or_loses_repeats_and_moves_lines():
    found = all_of(damaged_text, "first 1\nsecond 22\nthird")

    assert any("-9223372036854775808" in each for each in found)
    assert any("first" not in each for each in found)
    assert any(each.count("third") == 2 for each in found)
    assert any(each.endswith("\nfirst 1") for each in found)


def test_an_archive_stays_one_that_can_be_read():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"one")
        archive.writestr("b", b"two")

    def change(name, content, _draw):
        return name.encode() + content

    found = set()
    for seed in SEEDS:
        with zipfile.ZipFile(
            io.BytesIO(damaged_archive(file.getvalue(), Random(seed), change))
        ) as z:
            assert z.testzip() is None
            found.add(tuple((name, z.read(name)) for name in z.namelist()))
    one, two = ("a", b"one"), ("b", b"two")
    assert found == {(("a", b"aone"), two), (one, ("b", b"btwo")), (one,), (two,)}


def test_every_kind_of_field_of_a_message_is_changed():
    def damaged(draw):
        message = struct_pb2.Struct()
        message.update({"number": 1.5, "word": "old", "list": [1, {"deep": True}], "yes": True})
        damage_message(message, draw, ["new"])
        return message.SerializeToString(deterministic=True)

    whole = struct_pb2.Struct()
    whole.update({"number": 1.5, "word": "old", "list": [1, {"deep": True}], "yes": True})
    found = [struct_pb2.Struct.FromString(each) for each in all_of(damaged)]

    assert sum(each == whole for each in found) < len(found) / 4
    assert any("word" not in each.fields for each in found)
    assert any(each.fields["word"].string_value == "new" for each in found)
    assert any(each.fields["yes"].bool_value is False for each in found)
    assert any(each.fields["number"].number_value not in {0, 1.5} for each in found)
    assert {len(each.fields["list"].list_value.values) for each in found} >= {0, 1, 2, 3}


PROGRAM = """
import os, time
from tensorkeep import Tensor
from tensorkeep.tensor import DType
from tensorkeep.testing import FakeBackend, ModelExample
from tensorkeep.testing.damage import damage_and_use

def damaged(blob, draw):
    return eval(draw.choice({choices!r}))

one = Tensor.from_values(DType.FLOAT, (1,), [1])
damage_and_use(FakeBackend(), "FAKE", [ModelExample(b'{{"op": "identity"}}', (one,))], damaged)
"""


@pytest.fixture
def program(tmp_path):
    def program(*choices):
        path = tmp_path / "program.py"
        path.write_text(PROGRAM.format(choices=choices))
        return path

    return program


def test_what_came_of_damaged_models_is_counted(program, tmp_path):
    found = outcomes(program("blob", "b'no model'", "None"), tmp_path, "seed", 60)

    assert set(found) == {"rejected", "failed", "run", "died"}
    assert sum(found.values()) < 60  # some were not worth a try
    assert min(found["rejected"], found["run"]) > 0


def test_the_model_that_ended_the_process_is_told(program, tmp_path):
    with pytest.raises(AssertionError, match="it died of b'no model'"):
        outcomes(program("b'no model'", "os._exit(3)"), tmp_path, "seed", 60)


def test_a_process_that_does_not_end_is_told_as_well(program, tmp_path, monkeypatch):
    file = tmp_path / "damaged"

    def run(command, *, timeout, **_options):
        """Waits until the program is busy with a model instead of for some time."""
        with subprocess.Popen(command) as process:
            while not (file.exists() and file.read_bytes()):
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(damage.subprocess, "run", run)

    with pytest.raises(AssertionError, match="it never ended with b'no model'"):
        outcomes(program("b'no model'", "time.sleep(60)"), tmp_path, "seed", 60)


def test_a_process_that_has_not_even_begun_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(damage, "_PATIENCE", 0.1)
    path = tmp_path / "program.py"
    path.write_text("import time\ntime.sleep(60)\n")

    with pytest.raises(AssertionError, match="it never ended with b''"):
        outcomes(path, tmp_path, "seed", 60)


def test_a_model_that_nobody_damaged_must_run(program, tmp_path):
    path = program("blob")
    path.write_text(path.read_text().replace("identity", "fail"))

    with pytest.raises(AssertionError, match="it died of b''"):
        outcomes(path, tmp_path, "seed", 1)


def test_the_program_runs_in_this_python(program, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))

    with pytest.raises(FileNotFoundError):
        outcomes(program("blob"), tmp_path, "seed", 1)
