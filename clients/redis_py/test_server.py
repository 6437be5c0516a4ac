"""redis-py 4, 5 and 8: what the server says of itself, and what it refuses."""

import re
from pathlib import Path

import pytest
import redis
from redis.exceptions import RedisClusterException, ResponseError

try:
    from redis.cache import CacheConfig
except ModuleNotFoundError:  # before redis-py 5
    CacheConfig = None


def text(reply):
    """Makes text of the bytes in a reply; some versions have done so already."""
    if isinstance(reply, bytes):
        return reply.decode()
    if isinstance(reply, dict):
        return {text(key): text(value) for key, value in reply.items()}
    if isinstance(reply, (list, tuple, set, frozenset)):
        return [text(item) for item in reply]
    return reply


# ------------------------------------------------------------------ what it is
def test_info_is_parsed_into_numbers_and_texts(client):
    client.set("a", 1, ex=100)
    client.hset("b", "c", 1)
    info = client.info()
    assert re.fullmatch(r"\d+\.\d+\.\d+", info["redis_version"])
    assert info["redis_mode"] == "standalone"
    for name in ("uptime_in_seconds", "connected_clients", "used_memory", "tcp_port", "process_id"):
        assert isinstance(info[name], int), name
    assert info["db0"]["keys"] == 2
    assert info["db0"]["expires"] == 1
    assert info["role"] == "master"
    assert info["maxmemory"] == 0
    assert info["total_commands_processed"] > 0
    assert set(client.info("clients")) <= set(info)
    assert client.info("no such section") == {}


def test_info_tells_of_the_ai_module(client, digits):
    client.execute_command("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", digits.onnx)
    info = client.info("modules")
    assert info["modules"][0]["name"] == "ai"
    assert info["ai_RedisAI_version"] == "99.99.99"
    assert info["ai_threads_per_queue"] == 1
    assert isinstance(info["ai_queue_CPU_bthread_n1_used_cpu_total"], float)
    assert str(info["ai_onnxruntime_version"]).count(".") == 2


def test_modules_are_listed(client, named):
    (module,) = client.module_list()
    module = text(named(module))
    assert (module["name"], module["ver"]) == ("ai", 999999)
    with pytest.raises(ResponseError):
        client.module_load("/no/such/module.so")


def test_the_time_is_the_time(client):
    seconds, micros = client.time()
    assert seconds > 1_700_000_000
    assert 0 <= micros < 1_000_000


# ------------------------------------------------------------------ commands
def test_commands_are_described(client):
    table = client.command()
    assert client.command_count() == len(table)
    entry = table["ai.tensorset"]
    assert (entry["name"], entry["arity"]) == ("ai.tensorset", -1)
    assert {text(flag) for flag in entry["flags"]} == {"write", "denyoom", "module"}
    assert (entry["first_key_pos"], entry["last_key_pos"], entry["step_count"]) == (1, 1, 1)
    assert {text(flag) for flag in table["ai.modelexecute"]["flags"]} >= {"movablekeys"}
    (get, unknown) = client.execute_command("COMMAND INFO", "get", "unknown")
    assert (get[0], unknown) == (b"get", None)


def test_commands_are_listed_and_documented(client, named):
    names = text(client.command_list())
    assert {"get", "ai.dagexecute", "client|list"} <= set(names)
    assert set(text(client.command_list(module="ai"))) == {
        name for name in names if name.startswith("ai.")
    }
    assert set(text(client.command_list(pattern="ai.*scan"))) == {"ai._modelscan", "ai._scriptscan"}
    assert "get" in text(client.command_list(category="read"))
    docs = named(client.execute_command("COMMAND DOCS", "ai.tensorset"))
    assert text(named(docs[b"ai.tensorset"]))["group"] == "module"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("AI.TENSORGET", "x", "META"), ["x"]),
        (("AI.MODELEXECUTE", "m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c"), ["m", "a", "b", "c"]),
        (("MSET", "a", 1, "b", 2), ["a", "b"]),
        (
            ("AI.DAGEXECUTE", "LOAD", 1, "a", "|>", "AI.MODELEXECUTE", "m", "INPUTS", 1, "a"),
            ["a", "m"],
        ),
    ],
)
def test_keys_are_found_among_arguments(client, words, keys):
    assert text(client.command_getkeys(*words)) == keys


def test_a_command_without_keys_says_so(client):
    with pytest.raises(ResponseError, match="no key arguments"):
        client.command_getkeys("AI.CONFIG", "GET")


# ------------------------------------------------------------------ settings and logs
def test_settings_are_read_and_changed(client):
    assert client.config_get("maxclients") == {"maxclients": "10000"}
    assert client.config_get("no such*") == {}
    assert {"save", "maxmemory"} <= set(client.config_get("*"))
    before = client.config_get("slowlog-max-len")["slowlog-max-len"]
    assert client.config_set("slowlog-max-len", 7) is True
    assert client.config_get("slowlog-max-len") == {"slowlog-max-len": "7"}
    client.config_set("slowlog-max-len", before)
    with pytest.raises(ResponseError, match="Unknown option"):
        client.config_set("no such setting", 1)
    assert client.config_resetstat() is True
    with pytest.raises(ResponseError, match="without a config file"):
        client.config_rewrite()


def test_slow_commands_are_found(client):
    before = client.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"]
    client.config_set("slowlog-log-slower-than", 0)
    try:
        client.execute_command("AI.TENSORSET", "x", "INT8", 3, "VALUES", 1, 2, 3)
        (entry,) = client.slowlog_get(1)
    finally:
        client.config_set("slowlog-log-slower-than", before)
    assert entry["command"] == b"AI.TENSORSET x INT8 3 VALUES 1 2 3"
    assert isinstance(entry["id"], int)
    assert isinstance(entry["duration"], int)
    assert entry["start_time"] > 1_700_000_000
    assert entry["client_address"].startswith(b"127.0.0.1:")
    assert client.slowlog_len() > 0
    assert client.slowlog_reset() is True
    assert client.slowlog_len() == 0


def test_waiting_is_not_recorded(client):
    assert client.latency_latest() == []
    assert client.latency_history("command") == []
    assert client.latency_reset() == 0


def test_the_server_stands_alone_and_keeps_nothing_on_disk(client, port):
    with pytest.raises(ResponseError, match="cluster support disabled"):
        client.cluster("INFO")
    with pytest.raises(RedisClusterException):
        redis.RedisCluster(host="127.0.0.1", port=port)
    with pytest.raises(ResponseError):
        client.save()


def test_of_memory_the_process_as_a_whole_is_known(client, named):
    client.set("a", "b")
    known = text(named(client.memory_stats()))
    assert known["keys.count"] == 1
    assert known["peak.allocated"] >= known["total.allocated"] > 0
    assert text(client.memory_malloc_stats()) == "Stats not supported for the current allocator"
    assert client.memory_purge() in {True, b"OK"}


# ------------------------------------------------------------------ what is refused
def test_client_side_caching_is_refused_clearly(port, client, named):
    """A client that believes that it will be told of changes works with old values for ever."""
    with pytest.raises(ResponseError, match="CLIENT TRACKING is not supported: this server does"):
        client.client_tracking_on()
    assert client.client_tracking_off() in {True, b"OK"}
    with pytest.raises(ResponseError, match="CLIENT TRACKING is not supported"):
        client.client_tracking(on=True, bcast=True)
    assert client.client_getredir() == -1
    info = text(named(client.client_trackinginfo()))
    assert info == {"flags": ["off"], "redirect": -1, "prefixes": []}
    if CacheConfig is None:
        return
    with (
        redis.Redis(port=port, protocol=3, cache_config=CacheConfig()) as caching,
        pytest.raises(ResponseError, match="CLIENT TRACKING is not supported"),
    ):
        caching.get("a")
    assert client.ping() is True


def test_what_does_not_exist_here_is_an_error_and_no_more(client):
    for refused in (
        client.lastsave,
        client.bgsave,
        client.role,
        lambda: client.xadd("stream", {"a": 1}),
        lambda: client.blpop("list", timeout=1),
        lambda: client.script_load("return 1"),
        lambda: client.dump("a"),
        lambda: client.command_getkeysandflags("GET", "a"),
    ):
        with pytest.raises(ResponseError, match=r"^unknown (sub)?command '"):
            refused()
    assert client.client_unblock(client.client_id()) == 0
    assert client.ping() is True


def test_what_the_client_itself_will_not_ask_for(client):
    for refused in (
        client.command_docs,
        client.command_info,
        client.latency_doctor,
        client.memory_doctor,
        client.memory_help,
    ):
        with pytest.raises(NotImplementedError):
            refused()


# ------------------------------------------------------------------ the tour itself
def test_no_method_for_a_command_of_the_server_is_left_out(client):
    tour = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    names = [name.replace("|", "_").replace("-", "_") for name in text(client.command_list())]
    methods = {name for name in names if hasattr(redis.Redis, name)}
    assert len(methods) > 100
    methods -= {"shutdown"}  # it would end what the other tests need
    methods -= {"hello"}  # sent when a client connects, and refused by the client else
    assert {name for name in methods if not re.search(rf"\.{name}\b", tour)} == set()
