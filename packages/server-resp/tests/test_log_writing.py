"""The log is written whatever becomes of who reads it."""

import logging
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from tensorkeep_server.cli.log_writing import LogWriter
from tensorkeep_server.testing import Wire

PIPE = 64 * 1024  # bytes that Linux keeps for a reader


def record(text):
    return logging.LogRecord("tensorkeep", logging.INFO, "", 0, text, (), None)


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    reader, writer = os.fdopen(reading, "r"), os.fdopen(writing, "w")
    yield reader, writer
    for end in (reader, writer):
        with suppress(BrokenPipeError):
            end.close()


def test_lines_are_written_in_order_and_flushed(pipe):
    reader, writer = pipe
    handler = LogWriter(writer)
    for n in range(5):
        handler.emit(record(f"line {n}"))
    handler.flush()
    assert [reader.readline() for _ in range(5)] == [f"line {n}\n" for n in range(5)]


def test_nobody_waits_for_who_does_not_read_and_what_is_left_out_is_told(pipe):
    reader, writer = pipe
    handler = LogWriter(writer, most=10)
    for _ in range(100):
        handler.emit(record("x" * (PIPE // 4)))
    found = [reader.readline() for _ in range(10)]
    handler.emit(record("late"))
    while found[-1] != "late\n":
        found.append(reader.readline())
    assert any("lines of the log were left out" in line for line in found)


def test_a_reader_that_is_gone_stops_nobody(pipe):
    reader, writer = pipe
    handler = LogWriter(writer)
    reader.close()
    for _ in range(3):
        handler.emit(record("for nobody"))
    handler.flush()


def test_a_server_whose_log_nobody_reads_serves():
    command = [sys.executable, "-m", "tensorkeep_server", "serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            ready = process.stdout.readline()
            with Wire(
                int(ready.split(" is ready on ")[1].split(" ")[0].rpartition(":")[2])
            ) as wire:
                key = "k" * 150
                for _ in range(900):  # far more than a pipe takes
                    reply = wire.ask("AI.MODELSTORE", key, "ONNX", "CPU:99999", "BLOB", b"x" * 50)
                    assert reply.startswith(b"-")
                assert wire.ask("PING") == b"+PONG\r\n"
        finally:
            process.terminate()
            process.communicate(timeout=30)
