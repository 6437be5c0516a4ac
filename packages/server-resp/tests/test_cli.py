"""The command line for people, in this process: what it prints and how it ends."""

import io
import json
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tensorkeep.backends import Backends
from tensorkeep.stores import StoreStatus
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep.testing.fake_isolation import FakeIsolation
from tensorkeep_server.cli import app, info, plugins
from tensorkeep_server.cli.client import client_of
from tensorkeep_server.cli.model_archive import ModelContent
from tensorkeep_server.cli.store_model import packed
from tensorkeep_server.identity import tensorkeep_version
from tensorkeep_server.testing import port_of


def run(*arguments, env=None):
    # Wide, so that no table breaks a line; plain, without colours.
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"} | (env or {}))


@pytest.fixture
def model(tmp_path):
    """A file with a model of the fake backend."""
    path = tmp_path / "double.json"
    path.write_text(json.dumps({"op": "multiply", "by": 2}))
    return path


def test_the_version_is_shown():
    result = run("--version")
    assert result.exit_code == 0
    assert result.output == f"tensorkeep {tensorkeep_version()}\n"


# ------------------------------------------------------------------------- plugins
POINT = EntryPoint("FAKE", "tensorkeep.testing.fake_backend:plugin", "tensorkeep.backends")


@pytest.fixture
def installed(monkeypatch, fake):
    """One backend that works and one that does not."""
    backends = Backends(installed=lambda: ())
    backends.add("GOOD", fake)
    backends.add("BROKEN", object())
    monkeypatch.setattr(plugins, "Backends", lambda: backends)


def test_plugins_tells_what_works_and_why_something_does_not(installed):
    result = run("plugins", "--json")
    assert result.exit_code == 0
    broken, good = json.loads(result.output)["backends"]
    assert broken["name"] == "BROKEN"
    assert not broken["works"]
    assert "lacks the required hooks" in broken["reason"]
    assert good["works"]
    assert good["framework"] == "fake"
    assert good["devices"][0]["name"] == "CPU"
    assert "FLOAT" in good["devices"][0]["dtypes"]


def test_plugins_shows_a_table(installed):
    result = run("plugins")
    assert result.exit_code == 0
    rows = [line for line in result.output.splitlines() if "GOOD" in line or "BROKEN" in line]
    assert len(rows) == 2
    assert "does not work: it lacks" in rows[0]
    assert "CPU (a fake processor)" in rows[1]


def test_plugins_shows_what_is_isolated_and_the_sandbox(monkeypatch):
    isolation = FakeIsolation(sandbox="landlock")
    backends = isolation.backends(judge=object())
    monkeypatch.setattr(plugins, "Backends", lambda: backends)
    (told,) = json.loads(run("plugins", "--json").output)["backends"]
    assert (told["isolated"], told["sandbox"]) == ("all but harmless models", "landlock")
    assert isolation.closed
    shown = run("plugins").output
    assert "Sandbox of what is isolated: landlock" in shown
    assert not backends.loaded  # nothing was imported into this process


def test_plugins_says_why_nothing_can_be_isolated(monkeypatch):
    backends = Backends(installed=lambda: [POINT], worker_kinds=lambda: ())
    monkeypatch.setattr(plugins, "Backends", lambda: backends)
    assert "Nothing can be isolated: no package that brings workers" in run("plugins").output


def test_plugins_says_when_there_is_none(monkeypatch):
    monkeypatch.setattr(plugins, "Backends", lambda: Backends(installed=lambda: ()))
    monkeypatch.setattr(plugins.stores, "status", list)
    assert run("plugins").output == "No backend is installed.\nNo store is installed.\n"
    assert json.loads(run("plugins", "--json").output) == {"backends": [], "stores": []}


def test_plugins_lists_stores_with_their_schemes_and_why_one_does_not_work(installed, monkeypatch):
    found = [
        StoreStatus(("good", "goods"), "good-store 1.0", ""),
        StoreStatus(("bad",), "bad-store 2.0", "it cannot be loaded: [no] libfoo.so"),
    ]
    monkeypatch.setattr(plugins.stores, "status", lambda: found)
    assert json.loads(run("plugins", "--json").output)["stores"] == [
        {
            "schemes": ["good", "goods"],
            "distribution": "good-store 1.0",
            "works": True,
            "reason": "",
        },
        {
            "schemes": ["bad"],
            "distribution": "bad-store 2.0",
            "works": False,
            "reason": "it cannot be loaded: [no] libfoo.so",
        },
    ]
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in run("plugins").output.splitlines()
    ]
    assert ["good:", "good-store 1.0", "works"] in rows
    assert ["goods:", "", ""] in rows
    assert ["bad:", "bad-store 2.0", "does not work: it cannot be loaded: [no] libfoo.so"] in rows


def test_plugins_lists_the_memory_store(installed):
    listed = json.loads(run("plugins", "--json").output)["stores"]
    (memory,) = [each for each in listed if "memory" in each["schemes"]]
    assert memory["works"]
    assert memory["distribution"] == f"tensorkeep-memory {tensorkeep_version()}"


# ------------------------------------------------------------------------- store-model
def test_a_stored_model_runs(server, wire, model):
    result = run("store-model", model, "--key", "m", "--backend", "onnx", "--port", port_of(server))
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"{model} is stored under m: OK"
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    assert wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == b"+OK\r\n"
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [b"4"]


def test_a_model_is_stored_with_what_was_said_of_it(server, wire, model):
    said = {
        "tag": "v1",
        "batch-size": 8,
        "min-batch-size": 2,
        "min-batch-timeout": 10,
        "device": "cpu:1",
    }
    options = [part for name, value in said.items() for part in (f"--{name}", value)]
    url = f"redis://127.0.0.1:{port_of(server)}"
    result = run(
        "store-model",
        model,
        "--key",
        "m",
        "--backend",
        "ONNX",
        *options,
        env={"TENSORKEEP_URL": url},
    )
    assert result.exit_code == 0, result.output
    meta = wire.read("AI.MODELGET", "m", "META")
    told = dict(zip(meta[::2], meta[1::2], strict=True))
    assert told[b"tag"] == b"v1"
    assert told[b"device"] == b"cpu:1"
    assert (told[b"batchsize"], told[b"minbatchsize"], told[b"minbatchtimeout"]) == (8, 2, 10)


def test_a_model_is_sent_in_the_chunks_that_the_server_wants(server, wire, model):
    model.write_text(model.read_text().ljust(1000 - 1))
    wire.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", 256)
    result = run("store-model", model, "--key", "m", "--backend", "ONNX", "--port", port_of(server))
    assert result.exit_code == 0, result.output
    wire.ask("AI.CONFIG", "MODEL_CHUNK_SIZE", 1000)
    assert wire.read("AI.MODELGET", "m", "BLOB") == model.read_bytes()


def test_a_backend_that_is_not_installed_comes_with_how_to_install_it(server, model):
    result = run(
        "store-model",
        model,
        "--key",
        "m",
        "--backend",
        "tf",
        "--port",
        port_of(server),
        "--inputs",
        "a",
        "--outputs",
        "b",
    )
    assert result.exit_code == 1
    assert (
        "Could not load backend. The server's log says why; if it is not installed there: pip"
        in (result.output)
    )
    assert 'pip install "tensorkeep[server,tf]"' in result.output


def test_names_of_inputs_and_outputs_are_counted(server, model):
    names = ("--inputs", "a", "--inputs", "b", "--outputs", "c")
    where = ("--backend", "ONNX", "--port", port_of(server))
    result = run("store-model", model, "--key", "m", *names, *where)
    assert result.exit_code == 1
    # The server's own words: names are for other backends, and it understood the count.
    assert "INPUTS argument should not be specified for this backend" in result.output


@pytest.mark.parametrize("patience", [None, 2.5])
def test_replies_are_awaited_as_long_as_is_said(server, patience):
    where = ("", None, port_of(server), None)
    with client_of(*where, patience=patience) as client:
        assert client.connection_pool.get_connection().socket_timeout == patience


def test_the_server_may_take_its_time_to_build_a_model(server, model, monkeypatch):
    seen = []

    def watched(*where, **options):
        seen.append(options)
        return client_of(*where, **options)

    monkeypatch.setattr("tensorkeep_server.cli.store_model.client_of", watched)
    run("store-model", model, "--key", "m", "--backend", "ONNX", "--port", port_of(server))
    assert seen == [{"patience": None}]


def test_the_name_of_a_signature_is_sent(server, model):
    where = ("--backend", "ONNX", "--port", port_of(server))
    result = run("store-model", model, "--key", "m", "--signature", "other", *where)
    assert result.exit_code == 1
    assert "models of backend ONNX have no signatures" in result.output


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [(0, 10), (1, 10), (9, 10), (10, 10), (11, 10), (25, 10), (3 * MIB, 10 * MIB), (3 * MIB, MIB)],
)
def test_a_request_is_packed_in_chunks_and_sent_in_pieces(tmp_path, size, chunk_size):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    file = tmp_path / "model"
    file.write_bytes(content)
    steps = []
    with ModelContent({"model": file}) as model:
        pieces = list(packed(["A", "ä"], model, chunk_size, steps.append))
    chunks = [content[at : at + chunk_size] for at in range(0, size, chunk_size)] or [b""]
    arguments = [b"A", "ä".encode(), *chunks]
    assert b"".join(pieces) == b"*%d\r\n" % len(arguments) + b"".join(
        b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments
    )
    assert sum(steps) == size
    assert max(map(len, pieces)) <= MIB


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(tmp_path):
    file = tmp_path / "model"
    file.write_bytes(b"long enough")
    with ModelContent({"model": file}) as model:
        file.write_bytes(b"short")
        with pytest.raises(OSError, match="became shorter"):
            list(packed(["A"], model, 100))


@given(
    st.dictionaries(st.sampled_from(["a.onnx", "b/c", "d"]), st.binary(max_size=60), min_size=2),
    st.integers(1, 70),
)
def test_several_files_are_sent_as_one_archive(contents, most):
    with TemporaryDirectory() as folder:
        files = {name: Path(folder, str(number)) for number, name in enumerate(contents)}
        for name, path in files.items():
            path.write_bytes(contents[name])
        with ModelContent(files) as model:
            size, sent = model.size, b""
            while piece := model.read(most):
                assert len(piece) <= most
                sent += piece
    assert len(sent) == size
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        assert all(each.compress_type == zipfile.ZIP_STORED for each in archive.infolist())


def test_a_model_that_the_server_refuses_is_an_error(server, tmp_path):
    file = tmp_path / "broken"
    file.write_bytes(b"no model")
    result = run("store-model", file, "--key", "m", "--backend", "ONNX", "--port", port_of(server))
    assert result.exit_code == 1
    last = result.output.splitlines()[-1]
    assert last.startswith("tensorkeep: ")
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_refused(tmp_path):
    result = run("store-model", tmp_path / "nosuch", "--key", "m", "--backend", "ONNX")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "where", [("--port", 1), ("--host", "127.0.0.1", "--port", 1), ("--unix-socket", "nosuch.sock")]
)
def test_a_server_that_is_not_there_is_an_error_of_one_line(model, where):
    result = run("store-model", model, "--key", "m", "--backend", "ONNX", *where)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("tensorkeep: ")]
    assert "connect" in line or "No such file" in line


def test_a_url_that_is_none_is_an_error_of_one_line():
    result = run("info", "--url", "nonsense")
    assert result.exit_code == 1
    assert result.output.startswith("tensorkeep: ")


# ------------------------------------------------------------------------- info
SOURCE = "sum\n"


@pytest.fixture
def backends(backends):
    """The backends of every test here, and one for scripts."""
    backends.add("TORCH", FakeBackend())
    return backends


@pytest.fixture
def used(server, wire):
    """A server with a model that was run, once well and once badly."""
    blob = json.dumps({"op": "multiply", "by": 2})
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "TAG", "v1", "BLOB", blob)
    wire.ask("AI.TENSORSET", "x", "FLOAT", 3, 1, "VALUES", 1, 2, 3)
    wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    return server


def test_info_describes_the_server_and_its_models(used):
    result = run("info", "--json", "--port", port_of(used))
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["server"]["version"] == tensorkeep_version()
    assert told["server"]["clients"] == 2
    assert told["databases"].keys() == {"0"}
    assert told["databases"]["0"].items() >= {"keys": 3, "expires": 0, "avg_ttl": 0}.items()
    assert told["backends"]["ONNX"]["loaded"] == "yes"
    assert told["devices"]["CPU"].items() >= {"workers": 1, "busy": 0, "waiting": 0}.items()
    (model,) = told["models"]
    assert (model["key"], model["tag"], model["calls"], model["samples"]) == ("m", "v1", 1, 3)


def test_info_is_readable(used):
    result = run("info", "--port", port_of(used))
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Tensorkeep {tensorkeep_version()}, pid ")
    assert "3 keys" in result.output
    row = next(line for line in result.output.splitlines() if "v1" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][:7] == [
        *("m", "ONNX", "CPU", "v1", "1", "0", "3"),
    ]


def test_titles_of_info_break_between_words_in_a_terminal_of_80_columns(used):
    shown = run("info", "--port", port_of(used), env={"COLUMNS": "80"}).output
    titles = [
        [cell.strip() for cell in line.strip("┃").split("┃")]
        for line in shown.splitlines()
        if line.startswith("┃")
    ]
    words = {word for line in titles for cell in line for word in cell.split()}
    assert {"largest", "batch", "waited", "ms", "workers", "errors", "samples"} <= words


@pytest.mark.parametrize(("number", "said"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys")])
def test_info_says_one_key_and_several_keys(server, wire, number, said):
    for key in range(number):
        wire.ask("SET", key, "value")
    assert f", {said}," in run("info", "--port", port_of(server)).output


def test_info_says_why_requests_to_a_model_share_no_runs(server, wire):
    blob = json.dumps({"op": "identity", "axis": "its labels are two"})
    wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BATCHSIZE", 4, "BLOB", blob)
    assert "none: its labels are two" in run("info", "--port", port_of(server)).output


LONG = "a/long/key/" * 12


def test_info_lists_models_and_scripts_by_key_and_shows_long_keys_whole(used, wire):
    blob = json.dumps({"op": "multiply", "by": 2})
    for key in ("z", LONG, "b"):
        wire.ask("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", blob)
    for key in ("t", "s"):
        wire.ask("AI.SCRIPTSTORE", key, "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", SOURCE)
    told = json.loads(run("info", "--json", "--port", port_of(used)).output)
    assert [model["key"] for model in told["models"]] == [LONG, "b", "m", "z"]
    assert [script["key"] for script in told["scripts"]] == ["s", "t"]
    shown = run("info", "--port", port_of(used), env={"COLUMNS": "80"}).output
    first = "".join(line.split("│")[1].strip() for line in shown.splitlines() if "│" in line)
    assert LONG in first
    assert "…" not in shown


def test_a_key_of_control_characters_stays_in_its_row(used, wire):
    wire.ask(
        "AI.MODELSTORE", b"a\nb\0\x1b[31m", "ONNX", "CPU", "BLOB", '{"op": "multiply", "by": 2}'
    )
    shown = run("info", "--port", port_of(used)).output
    (row,) = [line for line in shown.splitlines() if "a\\nb" in line]
    assert "a\\nb\\x00\\x1b[31m" in row


def test_info_of_one_script_tells_of_it_as_a_script(used, wire):
    wire.ask("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "sum", "SOURCE", SOURCE)
    told = json.loads(run("info", "s", "--json", "--port", port_of(used)).output)
    assert list(told) == ["scripts"]
    assert told["scripts"][0]["type"] == "SCRIPT"


def test_info_of_one_model_tells_of_nothing_else(used):
    result = run("info", "m", "--json", "--port", port_of(used))
    assert result.exit_code == 0
    assert list(json.loads(result.output)) == ["models"]
    assert "v1" in run("info", "m", "--port", port_of(used)).output


def test_info_of_a_model_that_is_not_there_is_an_error(used):
    result = run("info", "nosuch", "--port", port_of(used))
    assert result.exit_code == 1
    assert result.output == "tensorkeep: cannot find run info for key\n"


def test_info_of_another_server_is_an_error(server, monkeypatch):
    monkeypatch.setattr(info, "parsed", lambda _: {"redis_version": "7.0.15"})
    result = run("info", "--port", port_of(server))
    assert result.exit_code == 1
    assert result.output == "tensorkeep: this server is not Tensorkeep\n"


def test_the_lines_of_info_become_fields():
    assert info.parsed("# A\r\nx:1\r\ny:a:b\r\n\r\n# B\r\nz:\r\n") == {
        "x": "1",
        "y": "a:b",
        "z": "",
    }
