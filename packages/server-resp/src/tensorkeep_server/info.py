"""The text of INFO: which sections a request names, and what stands in each.

It reads the server's state and changes nothing. What only the operating system knows comes in as
a `Process`.
"""

from __future__ import annotations

import logging
import platform
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from tensorkeep.store import is_remote
from tensorkeep_server import isolation_info
from tensorkeep_server.identity import (
    AI_ENCODING_VERSION,
    AI_LOW_LEVEL_API_VERSION,
    AI_VERSION,
    AI_VERSION_NUMBER,
    REDIS_VERSION,
    tensorkeep_version,
)
from tensorkeep_server.settings import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorkeep.backend import Backend
    from tensorkeep.backends import BackendStatus
    from tensorkeep.lane import Lane
    from tensorkeep_server.process import Process
    from tensorkeep_server.state import Server

_log = logging.getLogger(__name__)

_DAY: Final = 24 * 60 * 60
_UNITS: Final = "BKMGTP"


_Fields: TypeAlias = "Mapping[str, object]"


def _server(server: Server, process: Process) -> _Fields:
    uptime = int(process.time - server.started_at)
    return {
        "redis_version": REDIS_VERSION,
        "tensorkeep_version": tensorkeep_version(),
        "redis_mode": "standalone",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": sys.maxsize.bit_length() + 1,
        "python_version": platform.python_version(),
        "process_id": process.pid,
        "run_id": server.run_id,
        "tcp_port": server.port or server.tls_port,
        "server_time_usec": int(process.time * 1e6),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime // _DAY,
        "executable": sys.executable,
        "config_file": server.settings.config_file,
    }


def _clients(server: Server, _process: Process) -> _Fields:
    return {
        "connected_clients": len(server.clients),
        "maxclients": server.max_clients,
        "blocked_clients": sum(client.blocked for client in server.clients.values()),
    }


def _memory(server: Server, process: Process) -> _Fields:
    memory = server.memory
    used, overhead, startup = memory.used, memory.overhead, memory.startup
    peak = max(memory.peak, used)
    dataset = used - overhead
    return {
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": process.memory,
        "used_memory_rss_human": human(process.memory),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_peak_perc": percent(used, peak),
        "used_memory_overhead": overhead,
        "used_memory_startup": startup,
        "used_memory_dataset": dataset,
        "used_memory_dataset_perc": percent(dataset, used - startup),
        "total_system_memory": process.machine_memory,
        "total_system_memory_human": human(process.machine_memory),
        "maxmemory": memory.limit,
        "maxmemory_human": human(memory.limit),
        "maxmemory_policy": memory.eviction.policy.name,
        "mem_fragmentation_ratio": f"{process.memory / max(used, 1):.2f}",
        "mem_fragmentation_bytes": process.memory - used,
        "mem_models": memory.models,
        "mem_clients_normal": server.clients_memory.total,
        "mem_allocator": "libc",
    }


def percent(part: int, whole: int) -> str:
    """Returns a part as INFO writes it: `12.34%`."""
    return f"{100 * part / max(whole, 1):.2f}%"


def human(size: int) -> str:
    """Returns a number of bytes as Redis writes it for people, such as `1.50M`."""
    if size < 1024:  # noqa: PLR2004 - a kilobyte
        return f"{size}B"
    power = min((size.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.2f}{_UNITS[power]}"


def _persistence(server: Server, _process: Process) -> _Fields:
    return {
        "loading": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": int(server.started_at),
        "rdb_last_bgsave_status": "ok",
        "aof_enabled": 0,
    }


def _stats(server: Server, _process: Process) -> _Fields:
    counters = server.counters
    running = sum(client.commands_done for client in server.clients.values())
    return {
        "total_connections_received": counters["total_connections_received"],
        "total_commands_processed": counters["total_commands_processed"] + running,
        "rejected_connections": counters["rejected_connections"],
        "expired_keys": counters["expired_keys"],
        "evicted_keys": server.memory.evicted,
        "evicted_clients": counters["evicted_clients"],
        "pubsub_channels": len(server.subscriptions.channels),
        "pubsub_patterns": len(server.subscriptions.patterns),
        "pubsubshard_channels": len(server.subscriptions.shard_channels),
        **{
            f"acl_access_denied_{why}": counters[f"acl_access_denied_{why}"]
            for why in ("auth", "cmd", "key", "channel")
        },
        "total_error_replies": sum(count for _, count in _errors(server)),
        "client_query_buffer_limit_disconnections": counters[
            "client_query_buffer_limit_disconnections"
        ],
        "client_output_buffer_limit_disconnections": counters[
            "client_output_buffer_limit_disconnections"
        ],
    }


def _errors(server: Server) -> list[tuple[str, int]]:
    return sorted(item for item in server.counters.items() if item[0].startswith("errorstat_"))


def _replication(_server: Server, _process: Process) -> _Fields:
    return {"role": "master", "connected_slaves": 0}


def _cpu(_server: Server, process: Process) -> _Fields:
    return _cpu_fields(process, ("used_cpu_{}", "used_cpu_{}_children", "used_cpu_{}_main_thread"))


def _cpu_fields(process: Process, names: Iterable[str]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, times in zip(
        names, (process.own, process.children, process.main_thread), strict=True
    ):
        fields[name.format("sys")] = _seconds(times.system)
        fields[name.format("user")] = _seconds(times.user)
    return fields


def _seconds(seconds: float) -> str:
    return f"{seconds:.6f}"


def _modules(_server: Server, _process: Process) -> _Fields:
    # "name=..." stands for a field's name and value here, as Redis has it.
    return {
        "module": f"name=ai,ver={AI_VERSION_NUMBER},api=1,filters=0,usedby=[],using=[],"
        "options=[handle-io-errors]"
    }


def _tensorkeep(server: Server, process: Process) -> _Fields:
    """What of a server that has an engine's data is its own."""
    uptime = int(process.time - server.started_at)
    return {
        "tensorkeep_version": tensorkeep_version(),
        "tensorkeep_process_id": process.pid,
        "tensorkeep_run_id": server.run_id,
        "tensorkeep_tcp_port": server.port or server.tls_port,
        "tensorkeep_uptime_in_seconds": uptime,
        "tensorkeep_connected_clients": len(server.clients),
        "tensorkeep_blocked_clients": sum(client.blocked for client in server.clients.values()),
        "tensorkeep_used_memory": process.memory,
        "tensorkeep_used_memory_peak": process.peak_memory,
        "tensorkeep_used_cpu_sys": _seconds(process.own.system),
        "tensorkeep_used_cpu_user": _seconds(process.own.user),
    }


def _errorstats(server: Server, _process: Process) -> _Fields:
    return {name: f"count={count}" for name, count in _errors(server)}


def _cluster(_server: Server, _process: Process) -> _Fields:
    return {"cluster_enabled": 0}


def _keyspace(server: Server, _process: Process) -> _Fields:
    return {
        f"db{number}": f"keys={len(keys)},expires={keys.volatile},avg_ttl=0"
        for number, keys in enumerate(server.databases)
        if len(keys)
    }


# --------------------------------------------------------------------------- ours
def _backends(server: Server, _process: Process) -> _Fields:
    fields = {}
    for status in server.engine.backends.status():
        backend = status.backend or status.isolated
        if backend is not None:
            devices = "/".join(sorted({device.kind for device in backend.devices}))
            info = backend.info
            fields[f"backend_{status.name}"] = (
                f"loaded=yes,framework={info.framework},version={info.framework_version},"
                f"devices={devices},where={_where(status)}"
            )
        else:
            fields[f"backend_{status.name}"] = "loaded=failed" if status.reason else "loaded=no"
    return fields


def _where(status: BackendStatus) -> str:
    """Returns where a backend was loaded: in this process, in workers outside, or in both."""
    if status.isolated is None:
        return "here"
    return "isolated" if status.backend is None else "both"


def _devices(server: Server, _process: Process) -> _Fields:
    """What each device does: a batch of 3 is three requests in one run of the model.

    `CPU:3` is shown as `device_CPU_3`: clients take a colon for the end of a field's name.
    """
    return {
        f"device_{name.replace(':', '_')}": f"workers={len(lane.workers)},"
        f"busy={sum(map(bool, lane.workers.values()))},waiting={len(lane.queue)},"
        f"runs={sum(size * count for size, count in lane.batches.items())},"
        f"batches={sum(lane.batches.values())},largest_batch={max(lane.batches, default=0)},"
        f"waited_ms={lane.waited * 1000:.0f}"
        for name, lane in _lanes(server)
    }


def _lanes(server: Server) -> list[tuple[str, Lane]]:
    """Returns the devices with their names, `CPU:10` behind `CPU:9`."""

    def place(item: tuple[str, Lane]) -> tuple[str, int]:
        kind, _, number = item[0].partition(":")
        return kind, int(number or -1)

    return sorted(server.engine.lanes.items(), key=place)


def _isolation(server: Server, _process: Process) -> _Fields:
    return isolation_info.workers(server.engine)


def _models(server: Server, _process: Process) -> _Fields:
    return isolation_info.models(server.engine)


# --------------------------------------------------------------------------- ai
def _ai_versions(_server: Server, _process: Process) -> _Fields:
    return {
        "ai_RedisAI_version": AI_VERSION,
        "ai_low_level_API_version": AI_LOW_LEVEL_API_VERSION,
        "ai_rdb_version": AI_ENCODING_VERSION,
    }


def _ai_git(_server: Server, _process: Process) -> _Fields:
    return {"ai_git_sha": "unknown"}


def _ai_load_time_configs(server: Server, _process: Process) -> _Fields:
    config = server.settings.engine
    return {
        "ai_threads_per_queue": config.threads_per_queue,
        "ai_inter_op_parallelism": config.inter_op_parallelism,
        "ai_intra_op_parallelism": config.intra_op_parallelism,
        "ai_model_execution_timeout": round(config.model_execution_timeout * 1000),
        "ai_backend_memory_limit": config.backend_memory_limit // MEGABYTE,
    }


# What RedisAI called its backends, in its order; any other one goes by its own name.
_AI_BACKENDS: Final = {
    "TF": "TensorFlow",
    "TFLITE": "TensorFlowLite",
    "TORCH": "Torch",
    "ONNX": "onnxruntime",
}


def _ai_backends_info(server: Server, _process: Process) -> _Fields:
    loaded: dict[str, list[Backend]] = {}
    for status in server.engine.backends.status():
        handles = [each for each in (status.backend, status.isolated) if each is not None]
        if handles:
            loaded[status.name] = handles
    names = [name for name in _AI_BACKENDS if name in loaded]
    names += sorted(loaded.keys() - _AI_BACKENDS.keys())
    fields: dict[str, object] = {}
    for name in names:
        prefix = f"ai_{_AI_BACKENDS.get(name, name)}"
        fields |= _backend_fields(prefix, loaded[name])
        if name == "ONNX":
            fields[f"{prefix}_maximum_run_sessions_number"] = sum(
                lane.regular for lane in server.engine.lanes.values()
            )
    return fields


def _backend_fields(prefix: str, handles: Sequence[Backend]) -> dict[str, object]:
    """Returns the version and the figures of a backend: their sums, where it runs in two places."""
    stats: Counter[str] = Counter()
    for backend in handles:
        try:
            stats.update(backend.backend_stats())
        except Exception:  # noqa: BLE001 - a plugin may raise anything, and INFO tells of more than one plugin
            _log.exception("backend %s could not tell its statistics", backend.name)
    return {f"{prefix}_version": handles[0].info.framework_version} | {
        f"{prefix}_{name}": value for name, value in stats.items()
    }


def _ai_cpu(server: Server, process: Process) -> _Fields:
    names = ("ai_self_used_cpu_{}", "ai_children_used_cpu_{}", "ai_main_thread_used_cpu_{}")
    fields = _cpu_fields(process, names)
    for name, lane in _lanes(server):
        fields |= _worker_fields(name, lane)
    return fields


def _worker_fields(name: str, lane: Lane) -> dict[str, object]:
    return {
        f"ai_queue_{name}_bthread_n{number}_used_cpu_total": _seconds(worker.cpu_seconds())
        for number, worker in enumerate(lane.workers, 1)
    }


# --------------------------------------------------------------------------- which sections
@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    fields: Callable[[Server, Process], _Fields]
    words: tuple[str, ...]  # what names the section beside its title

    def is_named(self, words: Sequence[str]) -> bool:
        return self.title.lower() in words or any(word in words for word in self.words)


_DEFAULT: Final = ("default", "all", "everything")
_AI: Final = ("ai", "modules", "everything")

# Clients find sections of the last group by their place after `Modules`.
_SECTIONS: Final = (
    _Section("Server", _server, _DEFAULT),
    _Section("Clients", _clients, _DEFAULT),
    _Section("Memory", _memory, _DEFAULT),
    _Section("Persistence", _persistence, _DEFAULT),
    _Section("Stats", _stats, _DEFAULT),
    _Section("Replication", _replication, _DEFAULT),
    _Section("CPU", _cpu, _DEFAULT),
    _Section("Modules", _modules, (*_DEFAULT, "ai")),
    _Section("Errorstats", _errorstats, _DEFAULT),
    _Section("Cluster", _cluster, _DEFAULT),
    _Section("Keyspace", _keyspace, _DEFAULT),
    _Section("Backends", _backends, ("everything",)),
    _Section("Devices", _devices, ("everything",)),
    _Section("Isolation", _isolation, ("everything",)),
    _Section("Models", _models, ("everything",)),
    _Section("ai_versions", _ai_versions, _AI),
    _Section("ai_git", _ai_git, _AI),
    _Section("ai_load_time_configs", _ai_load_time_configs, _AI),
    _Section("ai_backends_info", _ai_backends_info, _AI),
    _Section("ai_cpu", _ai_cpu, _AI),
)


def info_text(words: Sequence[str], server: Server, process: Process) -> str:
    """Returns the text of INFO.

    Args:
        words: Names of sections or of groups of them, in lower case; none for the default ones.
            What names nothing adds nothing.
        server: The server.
        process: Its process.
    """
    chosen = [section for section in _SECTIONS if section.is_named(words or ("default",))]
    return "\r\n".join(_text(section, server, process) for section in chosen)


_OF_OURS: Final = (
    _Section("Tensorkeep", _tensorkeep, _DEFAULT),
    *(each for each in _SECTIONS if each.title in {"Backends", "Devices", "Isolation", "Models"}),
    *(each for each in _SECTIONS if each.title.startswith("ai_")),
)


def text_of_ours(words: Sequence[str], server: Server, process: Process) -> str:
    """Returns what stands in INFO behind the sections of a remote store's engine.

    Args:
        words: As in `info_text`.
        server: The server.
        process: Its process.
    """
    chosen = [section for section in _OF_OURS if section.is_named(words or ("default",))]
    texts = [_text(section, server, process) for section in chosen]
    if is_remote(server.store):
        for title, fields in server.store.info().items():
            if not words or title.lower() in words or any(word in _DEFAULT for word in words):
                texts.append(_lines(title, fields))
    return "\r\n".join(texts)


def _text(section: _Section, server: Server, process: Process) -> str:
    return _lines(section.title, section.fields(server, process))


def _lines(title: str, fields: _Fields) -> str:
    lines = [f"# {title}", *(f"{name}:{value}" for name, value in fields.items())]
    return "".join(f"{line}\r\n" for line in lines)
