"""Drive a load, and say how fast it was answered: one repetition at a time.

Four ways: redis-benchmark (C, for the rate), one socket with a request made beforehand (for large
tensors), sockets that each send several commands at once (redis-benchmark can only repeat one), and
ONNX Runtime called in this process. This file decides how a repetition is measured;
what is measured stands in plan.py.
"""

from __future__ import annotations

import csv
import os
import resource
import selectors
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import onnxruntime as ort
from figures import Load, Sample
from servers import HOST, BenchError

from tensorkeep_server.testing import request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from models import Model
    from servers import Server

    Command = Sequence[str | bytes | int]
    Repetition = Callable[[], Sample]

PATIENCE = 120.0
FIRST_REQUESTS = 200  # a first guess of the rate
MOST_RATE = 2e6  # redis-benchmark counts milliseconds: so few requests may take none
TRIAL_SECONDS = 0.2  # a better one, and the server warms up
MOST_REQUESTS = 1_000_000  # of one repetition
CHUNK = 64  # calls between two looks at the clock that ends a repetition


@dataclass(frozen=True, slots=True)
class Timing:
    """What a client saw."""

    count: int
    rate: float
    p50_ms: float
    p99_ms: float


def watched(server: Server | None, act: Callable[[], Timing]) -> Sample:
    """Do one repetition, and take down what it cost the server and what others took meanwhile.

    Without a server, the work is done by this process itself.
    """
    cpu = time.process_time if server is None else server.cpu_seconds
    busy, own, spent, began = busy_seconds(), own_seconds(), cpu(), time.perf_counter()
    timing = act()
    took, spent_after, own_after, busy_after = (
        time.perf_counter() - began,
        cpu(),
        own_seconds(),
        busy_seconds(),
    )
    used = None if spent is None or spent_after is None else spent_after - spent
    others = None
    if busy is not None and busy_after is not None and used is not None:
        ours = own_after - own + (0 if server is None else used)
        others = max(0.0, (busy_after - busy - ours) / took)
    return Sample(
        rate=timing.rate,
        p50_ms=timing.p50_ms,
        p99_ms=timing.p99_ms,
        cpu_us=None if used is None else used / timing.count * 1e6,
        other_cpus=others,
    )


def busy_seconds() -> float | None:
    """Return the CPU time that all of the machine has spent, also what its host has stolen."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(
        int, stat.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the CPU time of this process and of the clients that it has started."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, whose))


# ---------------------------------------------------------------- redis-benchmark
def by_benchmark(server: Server, command: Command, load: Load, seconds: float) -> Repetition:
    """Return repetitions of about `seconds` seconds, driven by redis-benchmark."""
    burst = load.clients * load.pipeline
    guess = benchmark(server, command, load, max(burst, FIRST_REQUESTS)).rate
    trial = round(min(guess, MOST_RATE) * min(seconds, TRIAL_SECONDS))
    rate = benchmark(server, command, load, max(burst, trial)).rate
    bursts = max(1, round(min(rate * seconds, MOST_REQUESTS) / burst))
    return lambda: watched(server, lambda: benchmark(server, command, load, bursts * burst))


def benchmark(server: Server, command: Command, load: Load, count: int) -> Timing:
    """Run redis-benchmark once.

    Raises:
        BenchError: The server answered with an error, or the program failed.
    """
    options = {"-h": HOST, "-p": server.port, "-n": count, "-c": load.clients, "-P": load.pipeline}
    flags = [str(part) for option in options.items() for part in option]
    tls = ["--tls", "--cacert", server.trusted] if server.trusted else []
    parts = [str(part) if isinstance(part, int) else part for part in command]
    done = subprocess.run(
        ["redis-benchmark", *flags, *tls, "--csv", *parts],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0 or "Error" in output:
        said = (output + done.stderr.decode(errors="replace")).strip()[-300:]
        raise BenchError(f"redis-benchmark, {command[0]!r}: {said}")
    return parse_benchmark(output, count)


def parse_benchmark(output: str, count: int) -> Timing:
    """Read what `redis-benchmark --csv` prints: a header and one line.

    The line's first field is the command itself, bytes and all, so the figures are counted from
    the end.

    Args:
        output: The standard output.
        count: The requests that were asked for.

    Raises:
        BenchError: The figures are not there.
    """
    header = '"test","rps",'
    lines = output[output.rfind(header) :].splitlines() if header in output else []
    names = next(csv.reader(lines[:1]), [])[1:]
    try:
        figures = dict(
            zip(names, map(float, next(csv.reader(lines[-1:]))[-len(names) :]), strict=True)
        )
        return Timing(count, figures["rps"], figures["p50_latency_ms"], figures["p99_latency_ms"])
    except (StopIteration, ValueError, KeyError) as error:
        raise BenchError(f"no figures of redis-benchmark in {output!r}") from error


# ---------------------------------------------------------------- one socket
def by_socket(server: Server, command: Command, seconds: float) -> Repetition:
    """Return repetitions of one client that sends the same bytes again and again.

    Raises:
        BenchError: The server answered with an error.
    """
    message = request(*command)
    wire = server.connect()
    reply = wire.ask(*command)
    if reply.startswith(b"-"):
        raise BenchError(f"{command[0]!r}: {reply[:300].decode()}")
    memory = memoryview(bytearray(len(reply)))

    def once() -> None:
        wire.socket.sendall(message)
        received = 0
        while received < len(memory):
            received += wire.socket.recv_into(memory[received:])

    return lambda: watched(server, lambda: timed(once, seconds, 1))


# ---------------------------------------------------------------- several commands at once
def by_rounds(
    server: Server, commands: Sequence[Command], clients: int, seconds: float
) -> Repetition:
    """Return repetitions of clients that each send some commands at once, again and again.

    A round is over when all its replies have arrived. Each repetition connects anew.

    Raises:
        BenchError: The server answered with an error.
    """
    message = b"".join(request(*command) for command in commands)
    length = 0
    with server.connect() as wire:
        for command in commands:
            reply = wire.ask(*command)
            if reply.startswith(b"-") or b"\r\n-" in reply:  # also within a DAG's array
                raise BenchError(f"{command[0]!r}: {reply[:300]!r}")
            length += len(reply)
    return lambda: watched(server, lambda: rounds(server, message, length, clients, seconds))


def rounds(server: Server, message: bytes, length: int, clients: int, seconds: float) -> Timing:
    """Have clients send a message whenever their reply of so many bytes has arrived."""
    waits: list[float] = []
    with ExitStack() as stack:
        ready = stack.enter_context(selectors.DefaultSelector())
        for _ in range(clients):
            wire = stack.enter_context(server.connect())
            ready.register(wire.socket, selectors.EVENT_READ, [0, time.perf_counter()])
            wire.socket.sendall(message)
        began = now = time.perf_counter()
        while now < began + seconds:
            for key, _ in ready.select():
                client, state = cast("socket", key.fileobj), key.data
                state[0] += len(client.recv(length - state[0]))
                if state[0] == length:
                    now = time.perf_counter()
                    waits.append(now - state[1])
                    state[:] = 0, now
                    client.sendall(message)
    p50, p99 = np.percentile(waits, [50, 99]) * 1000
    return Timing(len(waits), len(waits) / (now - began), float(p50), float(p99))


def timed(once: Callable[[], object], seconds: float, chunk: int) -> Timing:
    """Call again and again for some seconds, and time each call."""
    marks = [time.perf_counter()]
    while marks[-1] < marks[0] + seconds:
        for _ in range(chunk):
            once()
            marks.append(time.perf_counter())
    times = np.diff(marks) * 1000
    p50, p99 = np.percentile(times, [50, 99])
    return Timing(len(times), len(times) / (marks[-1] - marks[0]), float(p50), float(p99))


def by_calling(once: Callable[[], object], seconds: float) -> Repetition:
    """Return repetitions of calls in this process."""
    return lambda: watched(None, lambda: timed(once, seconds, CHUNK))


# ---------------------------------------------------------------- ONNX Runtime
def directly(model: Model, rows: int, seconds: float) -> Repetition:
    """Return repetitions of calls of ONNX Runtime in this process, with one thread."""
    session = session_of(model)
    names, feeds = ["y"], {"x": model.x.repeat(rows, axis=0)}
    return by_calling(lambda: session.run(names, feeds), seconds)


def twice(model: Model, threads: int, cores: frozenset[int], seconds: float) -> Repetition:
    """Return repetitions of two calls of ONNX Runtime: in one thread, or in two on any core."""
    sessions = (session_of(model), session_of(model))
    names, feeds = ["y"], {"x": model.x}

    def spread() -> None:
        if cores:
            os.sched_setaffinity(0, cores)  # of the thread that asks, on Linux

    def repetition() -> Sample:
        with ThreadPoolExecutor(threads, initializer=spread) as pool:

            def both() -> None:
                for call in [pool.submit(session.run, names, feeds) for session in sessions]:
                    call.result()

            return watched(None, lambda: timed(both, seconds, 1))

    return repetition


def session_of(model: Model) -> ort.InferenceSession:
    """Return a session of ONNX Runtime with the settings that the servers have as well."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model.blob, options, providers=["CPUExecutionProvider"])
