"""INFO: its sections, their order and their fields."""

import json
import re
from dataclasses import replace

import pytest
import redis

from tensorkeep.backends import Backends
from tensorkeep.config import EngineConfig
from tensorkeep.hookspecs import hookimpl
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.info import human, info_text
from tensorkeep_server.process import CpuTimes, Process
from tensorkeep_server.settings import MEGABYTE, Settings
from tensorkeep_server.testing import Wire, port_of

AI_SECTIONS = [
    "Modules",
    "ai_versions",
    "ai_git",
    "ai_load_time_configs",
    "ai_backends_info",
    "ai_cpu",
]
DEFAULT_SECTIONS = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Modules",
    "Errorstats",
    "Cluster",
    "Keyspace",
]
PROCESS = Process(
    time=2_000_000_000.5,
    pid=42,
    memory=3 * 1024**2,
    peak_memory=4 * 1024**2,
    machine_memory=2 * 1024**3,
    own=CpuTimes(user=1.5, system=0.25),
    main_thread=CpuTimes(user=1.0, system=0.125),
    children=CpuTimes(user=0.0, system=0.0),
)


def titles(text):
    return re.findall(r"^# (.*)$", text.replace("\r\n", "\n"), re.MULTILINE)


def fields(text):
    """The fields of all sections; every line is one or a title, and ends as it must."""
    found = {}
    for line in text.split("\r\n"):
        assert "\n" not in line
        if line and not line.startswith("# "):
            name, _, value = line.partition(":")
            assert name not in found
            found[name] = value
    return found


def info(wire, *sections):
    return wire.read("INFO", *sections).decode()


def store(wire, key, op="identity", device="CPU"):
    blob = json.dumps({"op": op})
    assert wire.ask("AI.MODELSTORE", key, "ONNX", device, "BLOB", blob) == b"+OK\r\n"


# ------------------------------------------------------------------------- which sections
@pytest.mark.memory_store("the engine's sections come first")
def test_plain_info_shows_the_default_sections(wire):
    assert titles(info(wire)) == DEFAULT_SECTIONS
    assert titles(info(wire, "default")) == DEFAULT_SECTIONS
    assert titles(info(wire, "ALL")) == DEFAULT_SECTIONS


@pytest.mark.memory_store("the engine's sections come first")
def test_info_everything_shows_ours_and_those_of_the_module_as_well(wire):
    assert titles(info(wire, "EVERYTHING")) == [
        *DEFAULT_SECTIONS,
        "Backends",
        "Devices",
        "Isolation",
        "Models",
        *AI_SECTIONS[1:],
    ]


@pytest.mark.memory_store("the engine's modules are listed as well")
@pytest.mark.parametrize("word", ["MODULES", "ai"])
def test_the_sections_of_the_module_stand_in_their_order(wire, word):
    assert titles(info(wire, word)) == AI_SECTIONS


@pytest.mark.parametrize("section", AI_SECTIONS[1:])
def test_each_section_of_the_module_can_be_asked_for(wire, section):
    assert titles(info(wire, section.upper())) == [section]


@pytest.mark.memory_store("INFO of several sections came with Redis 7.0", on=("redis-6.2",))
def test_several_sections_can_be_asked_for(wire):
    assert titles(info(wire, "keyspace", "server", "server", "nosuch")) == ["Server", "Keyspace"]


def test_a_section_that_is_not_there_is_empty(wire):
    assert wire.ask("INFO", "nosuch") == b"$0\r\n\r\n"


@pytest.mark.memory_store("INFO of several sections came with Redis 7.0", on=("redis-6.2",))
def test_sections_are_parted_by_an_empty_line(wire):
    assert info(wire, "cluster", "keyspace") == (
        "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n"
    )


def test_info_is_text_for_people_in_resp3(wire):
    wire.ask("HELLO", "3")
    assert wire.ask("INFO", "cluster") == b"=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n"


# ------------------------------------------------------------------------- what Redis has
@pytest.mark.memory_store("this section is the engine's")
def test_the_server_says_what_it_is(wire, server):
    told = fields(info(wire, "server"))
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["redis_version"])  # what clients parse
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", told["tensorkeep_version"])
    assert told["redis_mode"] == "standalone"
    assert told["tcp_port"] == str(port_of(server))
    assert re.fullmatch(r"[0-9a-f]{40}", told["run_id"])
    assert int(told["uptime_in_seconds"]) >= 0


@pytest.mark.memory_store("this section is the engine's")
def test_connections_and_commands_are_counted(wire, connect):
    other = connect()
    other.ask("PING")
    other.ask("NONSENSE")
    other.ask("AI.TENSORGET", "nosuch")
    told = fields(info(wire))
    assert told["connected_clients"] == "2"
    assert told["maxclients"] == "10000"
    assert told["total_connections_received"] == "2"
    assert told["total_commands_processed"] == "4"
    assert told["total_error_replies"] == "2"


@pytest.mark.memory_store("this section is the engine's")
def test_commands_of_clients_that_left_stay_counted(wire, connect, server):
    other = connect()
    for _ in range(10):
        other.ask("PING")
    other.ask("QUIT")
    with pytest.raises(EOFError):
        other.reply()
    assert fields(info(wire))["total_commands_processed"] == "12"


@pytest.mark.memory_store("this section is the engine's")
def test_errors_are_counted_by_their_code_word(wire):
    wire.ask("NONSENSE")
    wire.ask("HELLO", "9")
    wire.ask("HELLO", "9")
    store(wire, "m")
    wire.ask("AI.TENSORGET", "m")
    # No code word at all.
    wire.ask("AI.MODELEXECUTE", "m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c")
    assert fields(info(wire, "errorstats")) == {
        "errorstat_ERR": "count=2",
        "errorstat_NOPROTO": "count=2",
        "errorstat_WRONGTYPE": "count=1",
    }


@pytest.mark.memory_store("this section is the engine's")
def test_databases_with_keys_are_counted(wire):
    for key in ("a", "b"):
        wire.ask("AI.TENSORSET", key, "FLOAT", 1)
    wire.ask("EXPIRE", "a", 100)
    wire.ask("SELECT", 5)
    wire.ask("AI.TENSORSET", "c", "FLOAT", 1)
    assert fields(info(wire, "keyspace")) == {
        "db0": "keys=2,expires=1,avg_ttl=0",
        "db5": "keys=1,expires=0,avg_ttl=0",
    }


@pytest.mark.memory_store("these sections are the engine's")
def test_what_the_system_knows_is_shown(server):
    told = fields(info_text((), server, PROCESS))
    assert told["process_id"] == "42"
    assert told["server_time_usec"] == "2000000000500000"
    assert told["uptime_in_seconds"] == str(int(2_000_000_000.5 - server.started_at))
    assert told["used_memory_rss"] == str(3 * 1024**2)
    assert told["mem_fragmentation_bytes"] == str(3 * 1024**2 - int(told["used_memory"]))
    assert told["total_system_memory_human"] == "2.00G"
    assert told["used_cpu_sys"] == "0.250000"
    assert told["used_cpu_user_main_thread"] == "1.000000"
    assert told["used_cpu_user_children"] == "0.000000"


@pytest.mark.memory_store("these sections are the engine's")
def test_the_system_is_asked(wire):
    told = fields(info(wire))
    assert int(told["used_memory"]) > 1024**2
    assert int(told["used_memory_peak"]) >= int(told["used_memory"])
    assert int(told["total_system_memory"]) > int(told["used_memory"])
    assert float(told["used_cpu_user"]) > 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.00K"),
        (1536 * 1024, "1.50M"),
        (2**50, "1.00P"),
        (2**63, "8192.00P"),
    ],
)
def test_bytes_are_written_for_people(size, text):
    assert human(size) == text


# ------------------------------------------------------------------------- what is ours
@pytest.mark.memory_store("the engine's modules are listed as well", on=("valkey-9.1",))
def test_backends_and_devices_are_shown(wire):
    told = fields(info(wire, "everything"))
    assert told["backend_ONNX"] == "loaded=no"
    assert told["device_CPU"] == (
        "workers=1,busy=0,waiting=0,runs=0,batches=0,largest_batch=0,waited_ms=0"
    )
    store(wire, "m")
    assert fields(info(wire, "backends"))["backend_ONNX"].startswith("loaded=yes,framework=")


def test_devices_with_numbers_are_fields_that_clients_can_read(wire, server):
    for device in ("CPU:3", "CPU:10", "cpu:9"):
        store(wire, "m", device=device)
    with redis.Redis(port=port_of(server)) as client:
        told = client.info("devices")
    assert [*told] == ["device_CPU", "device_CPU_3", "device_CPU_9", "device_CPU_10"]
    assert told["device_CPU_3"]["workers"] == told["device_CPU"]["workers"]


@pytest.mark.memory_store("the engine does not know of runs")
def test_runs_that_wait_are_counted(wire, connect, fake):
    wire.ask("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 2)
    store(wire, "m", "block")
    others = [connect() for _ in range(3)]
    others[0].send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    fake.await_calls("model_run")
    for other in others[1:]:
        other.send("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    while fields(info(wire, "clients"))["blocked_clients"] != "3":
        pass
    told = fields(info(wire, "devices"))["device_CPU"]
    assert told.startswith("workers=1,busy=1,waiting=2,runs=0,batches=0,largest_batch=0,waited_ms=")
    fake.release(3)
    assert [other.reply() for other in others] == [b"+OK\r\n"] * 3
    told = fields(info(wire, "devices"))["device_CPU"]
    assert told.startswith("workers=1,busy=0,waiting=0,runs=3,batches=3,largest_batch=1,")


# ------------------------------------------------------------------------- the module's
@pytest.mark.memory_store("the engine's modules are listed as well")
def test_the_module_says_what_it_is(wire):
    assert info(wire, "modules").startswith(
        "# Modules\r\nmodule:name=ai,ver=999999,api=1,filters=0,usedby=[],using=[],"
        "options=[handle-io-errors]\r\n\r\n"
        "# ai_versions\r\nai_RedisAI_version:99.99.99\r\nai_low_level_API_version:1\r\n"
        "ai_rdb_version:4\r\n\r\n# ai_git\r\nai_git_sha:unknown\r\n\r\n"
    )


def test_the_module_shows_how_it_was_set_up(backends, run_server):
    engine = EngineConfig(
        threads_per_queue=2,
        inter_op_parallelism=3,
        intra_op_parallelism=4,
        model_execution_timeout=7.5,
        backend_memory_limit=50 * MEGABYTE,
    )
    with (
        run_server(replace(Settings(), engine=engine), backends) as server,
        Wire(port_of(server)) as wire,
    ):
        told = info(wire, "ai_load_time_configs")
        queues = [name for name in fields(info(wire, "ai_cpu")) if name.startswith("ai_queue")]
    assert told == (
        "# ai_load_time_configs\r\nai_threads_per_queue:2\r\nai_inter_op_parallelism:3\r\n"
        "ai_intra_op_parallelism:4\r\nai_model_execution_timeout:7500\r\n"
        "ai_backend_memory_limit:50\r\n"
    )
    assert queues == [
        "ai_queue_CPU_bthread_n1_used_cpu_total",
        "ai_queue_CPU_bthread_n2_used_cpu_total",
    ]


def test_a_backend_is_shown_once_it_is_loaded(wire):
    assert info(wire, "ai_backends_info") == "# ai_backends_info\r\n"
    store(wire, "m")
    told = fields(info(wire, "ai_backends_info"))
    assert next(iter(told)) == "ai_onnxruntime_version"
    assert told["ai_onnxruntime_maximum_run_sessions_number"] == "1"


class Silent(FakeBackend):
    """A backend whose statistics are broken."""

    @hookimpl
    def backend_stats(self):
        raise RuntimeError("no idea")


def test_a_backend_that_cannot_tell_its_statistics_spoils_nothing(caplog, run_server):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", Silent())
    with run_server(backends=backends) as server, Wire(port_of(server)) as wire:
        store(wire, "m")
        assert "ai_onnxruntime_version" in fields(info(wire, "ai_backends_info"))
    assert "backend ONNX could not tell its statistics" in caplog.text


def test_processor_time_is_shown_in_its_order(wire):
    told = fields(info(wire, "ai_cpu"))
    assert list(told) == [
        "ai_self_used_cpu_sys",
        "ai_self_used_cpu_user",
        "ai_children_used_cpu_sys",
        "ai_children_used_cpu_user",
        "ai_main_thread_used_cpu_sys",
        "ai_main_thread_used_cpu_user",
        "ai_queue_CPU_bthread_n1_used_cpu_total",
    ]
    assert all(re.fullmatch(r"\d+\.\d{6}", value) for value in told.values())


@pytest.mark.memory_store("the engine's modules are listed as well")
def test_no_value_of_the_module_has_a_blank_or_a_hash(wire):
    for value in fields(info(wire, "modules")).values():
        assert " " not in value
        assert "#" not in value
