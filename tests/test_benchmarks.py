"""The benchmarks read what redis-benchmark prints, and run from end to end; no speed is judged."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from tensorkeep_server.testing import port_of, running_server

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HEADER = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",'
    '"p99_latency_ms","max_latency_ms"\n'
)
FIGURES = '"1984.50","0.111","0.048","0.125","0.399","1.503","2.007"\n'


@pytest.fixture
def module_of(monkeypatch):
    """Imports one of the benchmarks' files, as they import each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.mark.parametrize(
    "command",
    ['"PING",', '"SET t \x01",\n",",', '"AI.TENSORSET t FLOAT 1 4 BLOB \ufffd\r\n,1,2",'],
)
def test_figures_are_found_behind_whatever_the_command_holds(module_of, command):
    timing = module_of("load").parse_benchmark(HEADER + command + FIGURES, 500)

    assert (timing.count, timing.rate, timing.p50_ms, timing.p99_ms) == (500, 1984.5, 0.125, 1.503)


def test_warnings_before_the_figures_are_passed_over(module_of):
    output = "WARNING: Could not fetch server CONFIG\n" + HEADER + '"PING",' + FIGURES

    assert module_of("load").parse_benchmark(output, 1).rate == 1984.5


@pytest.mark.parametrize("output", ["", HEADER, "Error from server: ERR unknown command\n"])
def test_output_without_figures_is_refused(module_of, output):
    with pytest.raises(module_of("servers").BenchError, match="no figures"):
        module_of("load").parse_benchmark(output, 1)


def test_a_ratio_compares_medians_with_medians_and_bests_with_bests(module_of):
    figures = module_of("figures")
    run = handmade(figures, {"redis-server": [100.0, 200.0, 900.0], "Tensorkeep": [50, 100, 90]})

    (small,) = [t for t in module_of("report").summaries(run) if t.title.startswith("Small")]

    assert small.sections == [
        [
            ["PING", "", "", "", ""],
            ["50 clients", "200 (900)", "90.0 (100)", "0.45 (0.11)", "1.00 (1.00)"],
        ]
    ]


def test_what_is_shared_is_compared_with_what_is_not(module_of):
    figures = module_of("figures")
    run = handmade(
        figures, {"without": [100.0, 200.0, 400.0], "BATCHSIZE": [250, 300, 400]}, "batching"
    )

    (table,) = module_of("report").summaries(run)

    assert table.header == ["", "without", "BATCHSIZE", "rates", "p50", "CPU"]
    assert table.sections == [
        [
            ["PING", "", "", "", "", ""],
            ["50 clients", "200 (400)", "300 (400)", "1.50 (1.00)", "1.00 (1.00)", "1.00 (1.00)"],
        ]
    ]


def test_what_a_batch_can_save_is_the_time_of_a_row_alone_less_its_share(module_of):
    figures = module_of("figures")
    alone = handmade(figures, {"1 row": [1.0]}, cpu_us=10.0).groups[0].measured
    together = handmade(figures, {"32 rows": [1.0]}, cpu_us=32.0).groups[0].measured
    pair = handmade(figures, {"without": [1.0], "BATCHSIZE": [2.0]}, cpu_us=27.0)
    groups = (
        figures.Group("rows of one call", "mlp", figures.Load(), alone + together),
        replace(pair.groups[0], family="batching", name="batching mlp by 32"),
    )

    tables = module_of("report").summaries(replace(pair, groups=groups))

    (table,) = [t for t in tables if t.title.startswith("What a batch")]
    assert table.sections == [[["mlp", "32", "10.0", "1.0", "9.0", "27", "1.50", "-", "-"]]]


def test_a_run_comes_back_from_json_as_it_was(module_of):
    figures = module_of("figures")
    run = handmade(figures, {"redis-server": [1.0], "Tensorkeep": [2.0]})

    assert figures.run_from(json.loads(json.dumps(module_of("dataclasses").asdict(run)))) == run


def test_the_models_are_the_same_in_every_run(module_of):
    models = module_of("models").models()
    again = module_of("models").models.__wrapped__()

    assert list(models) == ["x2", "mlp", "cnn"]
    assert [m.blob for m in models.values()] == [m.blob for m in again.values()]


def test_a_short_run_measures_both_servers_and_shows_it(tool, tmp_path):
    tool("redis-server")
    tool("redis-benchmark")
    found = tmp_path / "run.json"
    options = ["--quick", "--only", "PING, (1|50) clients?$", "--secs", "0.05", "--reps", "2"]

    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *options, "--json", str(found)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "PING" in done.stdout
    groups = json.loads(found.read_text(encoding="utf-8"))["groups"]
    assert [group["load"]["clients"] for group in groups] == [1, 50]
    for group in groups:
        assert [each["who"] for each in group["measured"]] == ["redis-server", "Tensorkeep"]
        for each in group["measured"]:
            assert [sample["rate"] > 0 for sample in each["samples"]] == [True, True]


def test_a_short_run_measures_batches_devices_and_dags(tool, tmp_path):
    tool("redis-server")
    tool("redis-benchmark")
    found = tmp_path / "run.json"
    only = "batching mlp by 32, 1 client|^mlp, |two heavy|get x2, 50"
    options = ["--only", only, "--secs", "0.05", "--reps", "1"]

    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *options, "--json", str(found)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    groups = json.loads(found.read_text(encoding="utf-8"))["groups"]
    assert [[each["who"] for each in group["measured"]] for group in groups] == [
        ["1 row", "32 rows"],
        ["without", "BATCHSIZE"],
        ["one device", "two devices"],
        ["one device", "two devices"],
        ["three commands", "one DAG"],
    ]
    rates = [s["rate"] for g in groups for each in g["measured"] for s in each["samples"]]
    assert len(rates) == 10
    assert min(rates) > 0


def test_several_commands_at_once_are_refused_when_one_of_them_fails(module_of):
    with running_server() as server:
        asked = module_of("servers").Server("ours", None, port_of(server), 0.0)
        dag = ("AI.DAGEXECUTE_RO", "ROUTING", "r", "|>", "AI.TENSORGET", "nothing")
        with pytest.raises(module_of("servers").BenchError, match="DAGEXECUTE"):
            module_of("load").by_rounds(asked, [("PING",), dag], 1, 0.05)


def test_a_pattern_that_finds_nothing_is_refused_with_what_there_is(tool):
    tool("redis-server")
    tool("redis-benchmark")

    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), "--only", "no such thing"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "MODELEXECUTE mlp" in done.stdout


def test_how_long_others_wait_is_measured_beside_a_server_that_does_nothing(tmp_path):
    found = tmp_path / "waits.json"
    program = [sys.executable, str(BENCHMARKS / "responsiveness.py"), "--quick", "--tries", "1"]
    chosen = ["--only", "values: VALUES of|nothing", "--json", str(found)]

    # Whether the goal was reached is not judged here: the machine may be doing anything.
    done = subprocess.run([*program, *chosen], capture_output=True, text=True, check=False)

    rows = json.loads(found.read_text(encoding="utf-8"))
    loads = ["nothing", "VALUES of many floats", "VALUES of many bytes"]
    assert [row["load"] for row in rows] == loads, done.stdout + done.stderr
    for row in rows:
        assert row["failure"] == ""
        assert row["pings"] > 10
        assert row["worst_ms"] > 0
        assert row["idle_ms"] > 0
        assert row["within"] is (row["worst_ms"] - row["idle_ms"] <= 20)


def test_threads_and_processes_are_compared_side_by_side(tmp_path):
    found = tmp_path / "kinds.json"
    program = [sys.executable, str(BENCHMARKS / "isolation.py"), "--json", str(found)]
    chosen = ["--backend", "TFLITE", "--network", "digits", "--clients", "2"]

    done = subprocess.run(
        [*program, *chosen, "--reps", "1", "--secs", "0.1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "processes/s" in done.stdout
    (figure,) = json.loads(found.read_text(encoding="utf-8"))
    assert (figure["backend"], figure["network"], figure["clients"]) == ("TFLITE", "digits", 2)
    assert set(figure["rates"]) == {"threads", "processes"}
    assert figure["ratio"] > 0


def test_of_several_tries_the_one_that_kept_others_waiting_least_counts(module_of):
    module = module_of("responsiveness")
    tries = [
        module.Row("load", 1.0, worst, idle, 9) for worst, idle in [(90, 5), (50, 40), (30, 9)]
    ]
    failed = module.Row("load", 1.0, 1.0, 1.0, 9, failure="refused")

    assert module.best(tries) is tries[1]
    assert tries[1].within
    assert not tries[2].within
    assert module.best([*tries, failed]) is failed
    assert not failed.within


def handmade(figures, rates, family="small commands", cpu_us=3.0):
    measured = tuple(
        figures.Measured(who, tuple(figures.Sample(r, 1.0, 2.0, cpu_us, 0.5) for r in each))
        for who, each in rates.items()
    )
    group = figures.Group(family, "PING", figures.Load(50), measured)
    return figures.Run("today", {"Python": "3"}, ("a note",), (group,), {}, {})
