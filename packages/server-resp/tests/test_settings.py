"""Where the settings of `tensorkeep serve` come from, and which values are refused."""

import inspect
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tensorkeep_server import app as server_app
from tensorkeep_server.cli import app, serve
from tensorkeep_server.codec import Limits
from tensorkeep_server.settings import Settings

DEFAULTS = Settings()


def engine(**changes):
    """What the server is told when settings of the engine are changed."""
    return {"engine": replace(DEFAULTS.engine, **changes)}


# What is written, as text and as TOML, and what the server is told.
SETTINGS = [
    ("bind", "0.0.0.0", '"0.0.0.0"', {"bind": ("0.0.0.0",)}),  # noqa: S104 - only told
    ("port", "7000", "7000", {"port": 7000}),
    ("port", "0", "0", {"port": 0}),
    ("unix-socket", "x.sock", '"x.sock"', {"unix_socket": "x.sock"}),
    ("store", "memory:x", '"memory:x"', {"store": "memory:x"}),
    ("model-chunk-size", "1000", "1000", {"model_chunk_size": 1000}),
    ("max-clients", "5", "5", {"max_clients": 5}),
    ("shutdown-grace", "0.5", "0.5", {"shutdown_grace": 0.5}),
    ("shutdown-grace", "2", "2", {"shutdown_grace": 2.0}),
    ("log-level", "debug", '"debug"', {"log_level": "debug"}),
    ("threads-per-queue", "3", "3", engine(threads_per_queue=3)),
    (
        "intra-op-parallelism",
        "3",
        "3",
        engine(intra_op_parallelism=3),
    ),
    (
        "inter-op-parallelism",
        "3",
        "3",
        engine(inter_op_parallelism=3),
    ),
    (
        "model-execution-timeout",
        "1500",
        "1500",
        engine(model_execution_timeout=1.5),
    ),
    (
        "backend-memory-limit",
        "50",
        "50",
        engine(backend_memory_limit=50_000_000),
    ),
    ("inline-limit", "0", "0", engine(inline_limit=0)),
    ("inline-limit", "250", "250.0", engine(inline_limit=250e-6)),
    ("isolate", "none", '"none"', engine(isolate="none")),
    ("worker-memory", "50", "50", engine(worker_memory=50_000_000)),
    (
        "recycle-workers-after",
        "3",
        "3",
        engine(recycle_workers_after=3),
    ),
    (
        "store-timeout",
        "1500",
        "1500",
        engine(store_timeout=1.5),
    ),
    ("max-argument-bytes", "100", "100", {"limits": Limits(max_bulk=100)}),
    ("max-arguments", "100", "100", {"limits": Limits(max_arguments=100)}),
    ("max-inline-bytes", "100", "100", {"limits": Limits(max_inline=100)}),
    ("max-request-bytes", "100", "100", {"limits": Limits(max_request=100)}),
]
each_setting = pytest.mark.parametrize(("key", "text", "toml", "expected"), SETTINGS)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _collect_as_usual(monkeypatch):
    """What `serve` sets aside stays so for the whole process, and this one goes on with tests."""
    monkeypatch.setattr(serve, "set_aside", lambda: None)


@pytest.fixture
def told(monkeypatch):
    """Runs `tensorkeep serve` with a server that only notes its settings."""
    noted = []

    async def serve(settings, *_args, **_kwargs):
        noted.append(settings)
        return True

    monkeypatch.setattr(server_app, "serve", serve)

    def run(*arguments, env=None):
        noted.clear()
        result = CliRunner().invoke(app, ["serve", *arguments], env=env)
        assert result.exit_code == 0, result.output
        assert len(noted) == 1
        return noted[0]

    return run


def refused(*arguments, env=None):
    """What `tensorkeep serve` says when it does not start, on one line and without its frame."""
    result = CliRunner().invoke(app, ["serve", *arguments], env=env)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())


# ------------------------------------------------------------------------- the three sources
def test_without_a_word_the_settings_are_the_defaults(told):
    assert told() == DEFAULTS


@each_setting
def test_a_flag_is_told_to_the_server(told, key, text, toml, expected):
    assert told(f"--{key}", text) == replace(DEFAULTS, **expected)


@each_setting
def test_an_environment_variable_is_told_to_the_server(told, key, text, toml, expected):
    variable = f"TENSORKEEP_{key.upper().replace('-', '_')}"
    assert told(env={variable: text}) == replace(DEFAULTS, **expected)


@each_setting
def test_a_file_is_told_to_the_server(told, key, text, toml, expected):
    path = Path.cwd() / "settings.toml"
    path.write_text(f"{key} = {toml}\n")
    expected = expected | {"config_file": str(path)}
    assert told("--config", "settings.toml") == replace(DEFAULTS, **expected)
    assert told(env={"TENSORKEEP_CONFIG": "settings.toml"}) == replace(DEFAULTS, **expected)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(told, elsewhere):
    (elsewhere / "s.toml").write_text("port = 1001\nmax-clients = 1001\nmodel-chunk-size = 1001\n")
    env = {"TENSORKEEP_PORT": "1002", "TENSORKEEP_MAX_CLIENTS": "1002"}
    settings = told("--config", "s.toml", "--port", "1003", env=env)
    assert settings.port == 1003
    assert settings.max_clients == 1002
    assert settings.model_chunk_size == 1001


def test_a_setting_given_as_its_default_wins_as_well(told):
    assert told("--port", "6379", env={"TENSORKEEP_PORT": "1002"}).port == 6379


def test_the_tcp_port_can_be_left_out(told, elsewhere):
    assert told("--no-tcp", "--unix-socket", "x.sock").port is None
    (elsewhere / "s.toml").write_text('tcp = false\nunix-socket = "x.sock"\n')
    assert told("--config", "s.toml").port is None


def test_several_backends_can_be_loaded_whatever_the_source(told, elsewhere, monkeypatch):
    monkeypatch.setattr(serve.Backends, "names", lambda _: ["ONNX", "TORCH"])
    (elsewhere / "s.toml").write_text('load = ["onnx", "Torch"]\n')
    both = ("ONNX", "TORCH")
    assert told("--load", "onnx", "--load", "TORCH").load == both
    assert told(env={"TENSORKEEP_LOAD": "onnx torch"}).load == both
    assert told("--config", "s.toml").load == both
    (elsewhere / "s.toml").write_text('load = "onnx"\n')
    assert told("--config", "s.toml").load == ("ONNX",)
    assert told("--load", "torch", env={"TENSORKEEP_LOAD": "onnx"}).load == ("TORCH",)


def test_several_addresses_can_be_listened_on_whatever_the_source(told, elsewhere):
    (elsewhere / "s.toml").write_text('bind = ["::1", "127.0.0.2"]\n')
    both = ("::1", "127.0.0.2")
    assert told("--bind", "::1", "--bind", "127.0.0.2").bind == both
    assert told(env={"TENSORKEEP_BIND": "::1 127.0.0.2"}).bind == both
    assert told("--config", "s.toml").bind == both
    assert told("--config", "s.toml", "--bind", "localhost").bind == ("localhost",)


def test_there_must_be_something_to_listen_on():
    assert "needs --unix-socket" in refused("--no-tcp")


# ------------------------------------------------------------------------- files that are refused
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "prot = 1",
            "s.toml: unknown key 'prot'; expected one of aclfile, audit-log, backend-memory-limit,",
        ),
        ("max_clients = 1", "s.toml: unknown key 'max_clients'"),
        ("config = 'x'", "s.toml: unknown key 'config'"),
        ("[serve]\nport = 1", "s.toml: unknown key 'serve'"),
        ("port = 'x'", "s.toml: port must be a whole number, not 'x'"),
        ("port = true", "s.toml: port must be a whole number, not True"),
        ("port = 1.5", "s.toml: port must be a whole number, not 1.5"),
        ("unix-socket = 5", "s.toml: unix-socket must be a string, not 5"),
        ("bind = 5", "s.toml: bind must be a string or a list of strings, not 5"),
        ("tcp = 1", "s.toml: tcp must be true or false, not 1"),
        ("shutdown-grace = '5'", "s.toml: shutdown-grace must be a number, not '5'"),
        ("load = 1", "s.toml: load must be a string or a list of strings, not 1"),
        ("load = [1]", "s.toml: load must be a string or a list of strings, not [1]"),
        ("log-level = 1", "s.toml: log-level must be a string, not 1"),
        ("port =", "s.toml is not TOML:"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_key_and_what_was_expected(
    elsewhere, content, line
):
    (elsewhere / "s.toml").write_text(content)
    assert line in refused("--config", "s.toml")


def test_a_file_that_is_not_there_is_refused():
    assert "cannot read nosuch.toml: No such file or directory" in refused(
        "--config", "nosuch.toml"
    )


def test_a_value_of_a_file_keeps_to_the_same_limits(elsewhere):
    (elsewhere / "s.toml").write_text("port = 70000")
    assert "'port' in s.toml" in refused("--config", "s.toml")


# ------------------------------------------------------------------------- values that are refused
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "x"),
        ("threads-per-queue", "0"),
        ("intra-op-parallelism", "-1"),
        ("inter-op-parallelism", "1.5"),
        ("model-execution-timeout", "999"),
        ("store-timeout", "999"),
        ("worker-memory", "-1"),
        ("recycle-workers-after", "-1"),
        ("isolate", "auto,all"),
        ("backend-memory-limit", "-1"),
        ("model-chunk-size", "0"),
        ("inline-limit", "-1"),
        ("max-clients", "0"),
        ("max-argument-bytes", "0"),
        ("max-arguments", "0"),
        ("max-inline-bytes", "63"),
        ("max-request-bytes", "0"),
        ("shutdown-grace", "-1"),
        ("log-level", "loud"),
    ],
)
def test_a_value_out_of_its_limits_is_refused_with_the_name_of_the_option(key, value):
    assert f"Invalid value for '--{key}'" in refused(f"--{key}", value)


def test_a_backend_that_is_not_installed_is_refused_with_those_that_are():
    said = refused("--load", "nosuch")
    assert "Invalid value for '--load': nosuch is not an installed backend (installed: " in said


def test_only_installed_backends_can_be_isolated_by_name(told, monkeypatch):
    monkeypatch.setattr(serve.Backends, "names", lambda _: ["ONNX", "TORCH"])
    assert told("--isolate", "onnx,torch").engine.isolate == "onnx,torch"
    said = refused("--isolate", "torch,nosuch")
    assert "Invalid value for '--isolate': NOSUCH is not an installed backend" in said


def test_workers_may_be_let_out_of_the_sandbox(told):
    assert told().engine.sandbox
    assert not told("--no-sandbox").engine.sandbox


# ------------------------------------------------------------------------- the environment
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TENSORKEEP_PORT", "tcp://10.0.0.1:6379"),  # as Kubernetes sets it for a service
        ("TENSORKEEP_TCP", "maybe"),
        ("TENSORKEEP_LOAD", "nosuch"),
        ("TENSORKEEP_LOG_LEVEL", "loud"),
        ("TENSORKEEP_CONFIG", "nosuch.toml"),
    ],
)
def test_a_variable_that_is_wrong_is_named(variable, value):
    said = refused(env={variable: value})
    assert f"Invalid value for {variable}:" in said
    assert "--" not in said.partition("Error:")[2]


def test_a_flag_is_blamed_where_it_is_wrong_although_there_is_a_variable():
    said = refused("--port", "x", env={"TENSORKEEP_PORT": "7000"})
    assert "Invalid value for '--port':" in said


def test_nothing_to_listen_on_is_blamed_on_the_variable_that_says_so():
    assert "Invalid value for TENSORKEEP_TCP:" in refused(env={"TENSORKEEP_TCP": "no"})


def test_a_variable_that_is_no_setting_is_warned_of(told, caplog):
    told(env={"TENSORKEEP_PROT": "1", "TENSORKEEP_URL": "redis://x", "TENSORKEEP_QQ": "1"})
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "TENSORKEEP_PROT is no setting and has no effect, is TENSORKEEP_PORT meant?",
        "TENSORKEEP_QQ is no setting and has no effect",
    ]


# ------------------------------------------------------------------------- the store
def test_a_store_that_is_not_installed_is_refused_and_said_where_it_was_asked_for(elsewhere):
    (elsewhere / "s.toml").write_text('store = "nothere:"\n')
    why = "the store 'nothere' is not available: no installed package brings it (installed: "
    for arguments, env, place in (
        (("--store", "nothere://me:secret@host"), None, "'--store'"),
        ((), {"TENSORKEEP_STORE": "nothere"}, "TENSORKEEP_STORE"),
        (("--config", "s.toml"), None, "'store' in s.toml"),
    ):
        said = refused(*arguments, env=env)
        assert f"Invalid value for {place}: {why}" in said
        assert "secret" not in said


def test_the_password_of_a_store_is_not_logged(told, caplog, monkeypatch):
    monkeypatch.setattr(serve, "find_store", lambda _url: None)
    with caplog.at_level(logging.INFO):
        assert told("--store", "x://me:secret@host").store == "x://me:secret@host"
    assert "Setting STORE parameter to: x://me:***@host" in caplog.text
    assert "secret" not in caplog.text


# ------------------------------------------------------------------------- the help
@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_the_help_names_every_option_whole_on_a_terminal_of_any_width(columns):
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": columns}).output
    options = [f"--{name.replace('_', '-')}" for name in inspect.signature(serve.serve).parameters]
    assert len(options) > 20
    words = re.split(r"[\s/]+", shown)
    assert [option for option in options[1:] if option not in words] == []
    assert "…" not in shown


# ------------------------------------------------------------------------- what is logged
def test_each_setting_that_was_changed_is_logged_as_redisai_did(told, elsewhere, caplog):
    (elsewhere / "s.toml").write_text("model-chunk-size = 1000\nmax-clients = 10000\n")
    with caplog.at_level(logging.INFO):
        told(
            *("--config", "s.toml", "--threads-per-queue", "2", "--port", "6379"),
            env={"TENSORKEEP_INLINE_LIMIT": "0"},
        )
    logged = {record.getMessage() for record in caplog.records if "Setting" in record.getMessage()}
    assert logged == {
        "Setting CONFIG parameter to: s.toml",
        "Setting THREADS_PER_QUEUE parameter to: 2",
        "Setting INLINE_LIMIT parameter to: 0.0",
        "Setting MODEL_CHUNK_SIZE parameter to: 1000",
    }
