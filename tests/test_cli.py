"""The command line in processes of its own: starting, being found, being told, ending."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import onnx
import pytest
import redis
from counted import blocked

from tensorkeep.backends import Backends
from tensorkeep_server.identity import tensorkeep_version
from tensorkeep_server.testing import Wire

TENSORKEEP = [sys.executable, "-m", "tensorkeep_server"]
LIMIT = 60  # seconds
PATIENCE = 200  # seconds for a process that imports all frameworks, on a busy machine
READY = re.compile(
    r"Tensorkeep (?P<version>\S+) is ready on (?P<address>.+)"
    r" \(pid (?P<pid>\d+), backends: (?P<backends>.+), started in (?P<ms>\d+) ms\)\n"
)


def tensorkeep(*arguments, timeout=LIMIT, **options):
    """Runs a command to its end."""
    return subprocess.run(
        [*TENSORKEEP, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


@contextmanager
def starting(*arguments, **options):
    """Starts a server; gives the process, and what its first line says."""
    with subprocess.Popen(
        [*TENSORKEEP, "serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            line = process.stdout.readline()
            found = READY.fullmatch(line)
            assert found, line + process.stderr.read()
            yield process, found
        finally:
            process.kill()  # does nothing when it has ended


def end(process, number=signal.SIGTERM):
    """Ends a server; returns what it wrote to stderr."""
    process.send_signal(number)
    _, log = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, log
    return log


# ------------------------------------------------------------------------- starting
def test_a_server_says_once_it_is_ready_what_one_needs_to_know():
    with starting("--port", 0) as (process, ready):
        host, port = ready["address"].split(":")
        assert host == "127.0.0.1"
        with Wire(int(port)) as wire:
            assert wire.ask("PING") == b"+PONG\r\n"
        assert ready["version"] == tensorkeep_version()
        assert int(ready["pid"]) == process.pid
        assert "ONNX" in ready["backends"].split(", ")
        assert int(ready["ms"]) > 0
        end(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(number):
    with starting("--port", 0) as (process, _):
        assert "Traceback" not in end(process, number)


def test_a_terminal_that_is_closed_does_not_end_the_server():
    with starting("--port", 0) as (process, ready):
        process.send_signal(signal.SIGHUP)
        with Wire(int(ready["address"].rpartition(":")[2])) as wire:
            assert wire.ask("PING") == b"+PONG\r\n"
        assert "SIGHUP is ignored" in end(process)


def test_a_second_signal_ends_the_server_without_waiting_for_what_runs(counting):
    with starting("--port", 0, "--shutdown-grace", 100, "--model-execution-timeout", 100_000) as (
        process,
        ready,
    ):
        port = int(ready["address"].rpartition(":")[2])
        with Wire(port) as wire, Wire(port) as other:
            wire.ask("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", counting)
            wire.ask("AI.TENSORSET", "turns", "INT64", 1, "VALUES", 10**12)
            wire.ask("AI.TENSORSET", "x", "FLOAT", 1)
            wire.send("AI.MODELEXECUTE", "m", "INPUTS", 2, "turns", "x", "OUTPUTS", 1, "y")
            while not blocked(other):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            while "shutting down, once what runs has ended, in 100 s at" not in (
                line := process.stderr.readline()
            ):
                assert line, "the server ended at once"
            assert "told again to end" in end(process, signal.SIGINT)


@pytest.mark.parametrize(
    "sign",
    [
        " typer.models",  # was imported, the modules of the server were not
        "Setting LOAD parameter to: ONNX",  # the backend is being loaded
    ],
)
def test_ctrl_c_while_the_server_starts_ends_it_without_a_traceback(sign):
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *TENSORKEEP[1:], "serve", "--port=0", "--load=ONNX"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while sign not in (line := process.stderr.readline()):
            assert line, sign
        process.send_signal(signal.SIGINT)
        try:
            shown, log = process.communicate(timeout=LIMIT)
        finally:
            process.kill()  # does nothing when it has ended
    assert "Traceback" not in log
    assert "ready" not in shown
    assert process.returncode in {0, -signal.SIGINT}


def test_a_server_listens_on_several_addresses_with_one_port():
    with starting("--port", 0, "--bind", "127.0.0.1", "--bind", "127.0.0.2") as (process, ready):
        first, second = ready["address"].split(" and ")
        port = first.removeprefix("127.0.0.1:")
        assert second == f"127.0.0.2:{port}"
        for host in ("127.0.0.1", "127.0.0.2"):
            with redis.Redis(host, int(port), decode_responses=True) as client:
                assert client.config_get("bind") == {"bind": "127.0.0.1 127.0.0.2"}
        end(process)


def test_the_installed_command_is_the_same():
    command = Path(sys.executable).parent / "tensorkeep"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tensorkeep {tensorkeep_version()}\n"
    assert tensorkeep("--version").stdout == done.stdout


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path):
    (tmp_path / "s.toml").write_text(
        "port = 0\nthreads-per-queue = 2\nmodel-chunk-size = 1001\nmax-clients = 1001\n"
    )
    env = os.environ | {"TENSORKEEP_MODEL_CHUNK_SIZE": "1002", "TENSORKEEP_MAX_CLIENTS": "1002"}
    arguments = ("--config", "s.toml", "--max-clients", 1003)
    with starting(*arguments, cwd=tmp_path, env=env) as (process, ready):
        with Wire(int(ready["address"].rpartition(":")[2])) as wire:
            assert b"ai_threads_per_queue:2\r\n" in wire.read("INFO", "ai_load_time_configs")
            assert wire.read("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE") == 1002
            assert wire.read("CONFIG", "GET", "maxclients")[1] == b"1003"
            assert f"config_file:{tmp_path / 's.toml'}".encode() in wire.read("INFO", "server")
        log = end(process)
    assert "Setting THREADS_PER_QUEUE parameter to: 2" in log
    assert "Setting MAX_CLIENTS parameter to: 1003" in log


def test_a_backend_can_be_loaded_before_the_server_is_ready():
    with starting("--port", 0, "--load", "onnx") as (process, ready):
        with Wire(int(ready["address"].rpartition(":")[2])) as wire:
            assert b"ai_onnxruntime_version:" in wire.read("INFO", "ai_backends_info")
        end(process)


# ------------------------------------------------------------------------- not starting
def failed(*arguments, **options):
    """The one line that a server leaves which cannot start."""
    done = tensorkeep("serve", *arguments, **options)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = failed("--port", port)
    assert line == f"tensorkeep: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_an_address_that_is_not_ours_is_one_line():
    line = failed("--port", 0, "--bind", "192.0.2.1")  # an address for documentation
    assert line == "tensorkeep: cannot listen on 192.0.2.1:0: Cannot assign requested address"


@pytest.fixture
def broken(tmp_path):
    """A folder with a distribution whose backend fails to import."""
    (tmp_path / "broken_backend.py").write_text("raise ImportError('libfoo.so is missing')\n")
    info = tmp_path / "broken_backend-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-backend\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[tensorkeep.backends]\nBROKEN = broken_backend\n")
    return tmp_path


def test_memory_that_is_an_engines_is_not_limited_here():
    done = tensorkeep("serve", "--port", 0, "--store", "valkey://127.0.0.1:1", "--maxmemory", "1gb")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "tensorkeep: maxmemory cannot be set here: the values are an engine's, whose own maxmemory"
        " and maxmemory-policy hold (CONFIG SET maxmemory)"
    )


def test_what_is_no_size_of_memory_is_refused_at_the_start():
    done = tensorkeep("serve", "--port", 0, "--maxmemory", "lots")
    assert done.returncode == 2
    assert "must be a memory value" in done.stderr


def test_a_backend_that_cannot_be_loaded_at_the_start_says_why(broken):
    done = tensorkeep(
        "serve", "--port", 0, "--load", "BROKEN", env=os.environ | {"PYTHONPATH": str(broken)}
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tensorkeep: ")
    assert "libfoo.so is missing" in last


# ------------------------------------------------------------------------- stores
@pytest.fixture
def stores(tmp_path):
    """The environment of a server beside which stores are installed that cannot be opened."""
    (tmp_path / "unloadable.py").write_text("raise ImportError('libfoo.so is missing')\n")
    (tmp_path / "particular.py").write_text(
        "from tensorkeep.errors import StoreError\n"
        "def open_store(url, host): raise StoreError(f'ERR what is {url!r}?')\n"
    )
    schemes = {"a": ["unloadable", "particular"], "b": ["particular"]}
    for distribution, names in schemes.items():
        info = tmp_path / f"{distribution}_stores-1.5.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}-stores\nVersion: 1.5\n"
        )
        lines = [f"{name}{distribution} = {name}:open_store\n" for name in names]
        lines.append(f"both = {names[0]}:open_store\n")
        info.joinpath("entry_points.txt").write_text("[tensorkeep.stores]\n" + "".join(lines))
    return os.environ | {"PYTHONPATH": str(tmp_path)}


def test_a_store_that_cannot_be_opened_is_one_line_that_says_why(stores):
    assert failed("--port", 0, "--store", "unloadablea://x", env=stores) == (
        "tensorkeep: the store 'unloadablea' is not available: it cannot be loaded:"
        " libfoo.so is missing"
    )
    line = failed("--port", 0, "--store", "particulara://x", env=stores)
    assert line == "tensorkeep: what is 'particulara://x'?"


def test_two_distributions_with_a_store_of_one_scheme_are_both_named(stores):
    done = tensorkeep("serve", "--port", 0, "--store", "both:", env=stores)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "a-stores 1.5 and b-stores 1.5 both bring it" in said


# ------------------------------------------------------------------------- Unix sockets
@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where a Unix socket may lie; the name is short, since the system takes no long ones."""
    monkeypatch.chdir(tmp_path)
    return Path("x.sock")


def test_a_server_listens_on_a_unix_socket_as_well(path):
    with starting("--port", 0, "--unix-socket", path) as (process, ready):
        assert ready["address"].endswith(" and x.sock")
        with Wire(str(path)) as wire:
            assert wire.ask("PING") == b"+PONG\r\n"
            assert b" addr=x.sock:0 " in wire.read("CLIENT", "INFO")
            assert b" flags=U " in wire.read("CLIENT", "INFO")
        end(process)
    assert not path.exists()


def test_a_server_can_listen_on_a_unix_socket_only(path):
    with starting("--no-tcp", "--unix-socket", path) as (process, ready):
        assert ready["address"] == "x.sock"
        with Wire(str(path)) as wire:
            assert b"tcp_port:0\r\n" in wire.read("INFO", "server")
        end(process)


def test_the_socket_of_a_server_that_was_killed_is_replaced(path):
    with starting("--no-tcp", "--unix-socket", path) as (process, _):
        process.kill()
        process.wait(LIMIT)
        assert path.exists()
        with starting("--no-tcp", "--unix-socket", path) as (next_process, _):
            with Wire(str(path)) as wire:
                assert wire.ask("PING") == b"+PONG\r\n"
            end(next_process)


def test_the_socket_of_a_server_that_lives_is_left_alone(path):
    with starting("--no-tcp", "--unix-socket", path) as (process, _):
        line = failed("--no-tcp", "--unix-socket", path)
        assert line == "tensorkeep: cannot listen on x.sock: Address already in use"
        with Wire(str(path)) as wire:
            assert wire.ask("PING") == b"+PONG\r\n"
        end(process)


def test_a_file_that_is_no_socket_is_left_alone(path):
    path.write_text("mine")
    line = failed("--no-tcp", "--unix-socket", path)
    assert line == "tensorkeep: cannot listen on x.sock: Address already in use"
    assert path.read_text() == "mine"


# ------------------------------------------------------------------------- the other commands
# By backend: what it calls its framework, and the module of that.
FRAMEWORKS = {
    "ONNX": ("ONNX Runtime", "onnxruntime"),
    "TF": ("TensorFlow", "tensorflow"),
    "TFLITE": ("LiteRT", "ai_edge_litert"),
    "TORCH": ("PyTorch", "torch"),
}


@pytest.fixture(scope="module")
def frameworks():
    """By backend that is installed: what it calls its framework, and the version of that.

    TORCH is installed where it is tested, on one Python; the noxfile says why.
    """
    brings = metadata.packages_distributions()
    found = {
        name: (framework, metadata.version(brings[module][0]))
        for name, (framework, module) in FRAMEWORKS.items()
        if name in Backends().names()
    }
    assert len(found) >= 3
    return found


JUDGED = {"ONNX", "TORCH"}  # those that tell harmless models from others


@pytest.mark.timeout(PATIENCE + 40)
def test_plugins_lists_what_works_and_what_does_not(broken, frameworks):
    env = os.environ | {"PYTHONPATH": str(broken)}
    done = tensorkeep("plugins", "--json", timeout=PATIENCE, env=env)
    assert done.returncode == 0
    assert done.stderr == ""
    listed = json.loads(done.stdout)
    found = {backend["name"]: backend for backend in listed["backends"]}
    for name, (framework, version) in frameworks.items():
        backend = found[name]
        assert backend["works"]
        assert backend["distribution"] == f"tensorkeep-{name.lower()} {tensorkeep_version()}"
        assert (backend["framework"], backend["framework_version"]) == (framework, version)
        assert backend["scripts"] is (name == "TORCH")
        assert backend["devices"][0]["name"] == "CPU"
        assert "FLOAT" in backend["devices"][0]["dtypes"]
        assert backend["isolated"] != "nothing"
        assert backend["sandbox"]
    assert not found["BROKEN"]["works"]
    assert found["BROKEN"]["distribution"] == "broken-backend 1.5"
    assert "libfoo.so is missing" in found["BROKEN"]["reason"]
    stores = {scheme: store for store in listed["stores"] for scheme in store["schemes"]}
    assert stores["memory"]["works"]


@pytest.mark.timeout(PATIENCE + 40)
def test_plugins_shows_people_a_table_of_the_same(frameworks):
    done = tensorkeep("plugins", timeout=PATIENCE, env=os.environ | {"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in done.stdout.splitlines()]
    shown = {cells[0]: cells[1:] for cells in rows if cells}
    for name, (framework, version) in frameworks.items():
        package, known, devices, isolated, state = shown[name]
        assert package == f"tensorkeep-{name.lower()} {tensorkeep_version()}"
        assert known == f"{framework} {version}"
        assert re.fullmatch(r"CPU \(.+\)", devices)
        assert isolated == ("all but harmless models" if name in JUDGED else "everything")
        assert state == "works"


def test_a_stored_model_classifies(serving, digits, tmp_path):
    file = tmp_path / "digits.onnx"
    file.write_bytes(digits.blob)
    where = ("--port", serving.port)
    done = tensorkeep("store-model", file, "--key", "digits", "--backend", "ONNX", *where)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{file} is stored under digits: OK\n"
    with serving.wire() as wire:
        assert wire.read("AI.MODELGET", "digits", "BLOB") == digits.blob
    done = tensorkeep("info", "digits", "--json", *where)
    assert json.loads(done.stdout)["models"][0]["backend"] == "ONNX"


@pytest.fixture
def beside(digits, tmp_path):
    """The digits' model with its weights in a file beside it."""
    model = onnx.load_from_string(digits.blob)
    place = {"location": "digits.data", "size_threshold": 0}
    onnx.save(model, str(tmp_path / "d.onnx"), save_as_external_data=True, **place)
    assert (tmp_path / "digits.data").stat().st_size
    return tmp_path / "d.onnx"


def test_a_model_is_stored_with_the_weights_beside_it(serving, digits, beside):
    words = ("--backend", "ONNX", "--port", serving.port)
    done = tensorkeep("store-model", beside, "--key", "apart", *words)
    assert (done.returncode, done.stdout) == (0, f"{beside} is stored under apart: OK\n")
    for path in (beside, beside.parent / "digits.data"):
        path.unlink()

    with serving.wire() as wire:
        blob = wire.read("AI.MODELGET", "apart", "BLOB")
        assert wire.read("AI.MODELSTORE", "again", "ONNX", "CPU", "BLOB", blob) == "OK"
        assert wire.read("AI.MODELSTORE", "whole", "ONNX", "CPU", "BLOB", digits.blob) == "OK"
        given = digits.pictures[:4]
        wire.ask("AI.TENSORSET", "x", "FLOAT", *given.shape, "BLOB", given.tobytes())
        replies = []
        for key in ("apart", "again", "whole"):
            run = ("AI.MODELEXECUTE", key, "INPUTS", 1, "x", "OUTPUTS", 1, "y")
            assert wire.read(*run) == "OK"
            replies.append(wire.read("AI.TENSORGET", "y", "BLOB"))
        assert replies[0] == replies[1] == replies[2]


def test_over_the_wire_a_model_alone_is_refused_with_the_way_to_make_one_file(serving, beside):
    with serving.wire() as wire:
        reply = wire.read("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", beside.read_bytes())
    assert str(reply).startswith("Initializer tensors with external data is not allowed.")
    assert "onnx.save(" in str(reply)
    assert "tensorkeep store-model" in str(reply)


def test_a_model_whose_weights_are_missing_is_not_sent(serving, beside):
    (beside.parent / "digits.data").unlink()
    words = ("--backend", "ONNX", "--port", serving.port)
    done = tensorkeep("store-model", beside, "--key", "m", *words)
    assert done.returncode == 2
    assert "digits.data" in done.stderr
    assert "missing" in done.stderr


def test_info_over_a_unix_socket(path):
    with starting("--no-tcp", "--unix-socket", path) as (process, _):
        done = tensorkeep("info", "--json", "--unix-socket", path)
        assert json.loads(done.stdout)["server"]["pid"] == process.pid
        assert tensorkeep("info", "--url", f"unix://{path.resolve()}").returncode == 0
        end(process)
