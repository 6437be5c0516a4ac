"""The engine in virtual time: a fake backend, real worker threads, and no sleeps."""

import gc
import json
import logging
import math
import weakref
from dataclasses import replace
from threading import current_thread
from time import sleep

import numpy as np
import pytest

from tensorkeep.backends import Backends
from tensorkeep.batching import Batching
from tensorkeep.config import EngineConfig
from tensorkeep.device import Device
from tensorkeep.engine import Engine
from tensorkeep.errors import (
    BackendNotInstalled,
    BuildTookTooLong,
    DeviceUnavailable,
    EngineClosed,
    ModelRejected,
    QueueFull,
    RunAbandoned,
    RunExpired,
    RunFailed,
    TensorkeepError,
)
from tensorkeep.graph import Graph, GraphRun, Operation, run_of
from tensorkeep.hookspecs import hookimpl
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import Tensor
from tensorkeep.testing.fake_backend import FakeBackend, fake_gpu
from tensorkeep.testing.manual_loop import ManualLoop


class Bench:
    """An engine, its loop and its backend, and what tests do with them."""

    def __init__(self, config=None, fake=None, wrappers=()):
        self.loop = ManualLoop()
        self.fake = fake or FakeBackend()
        self.backends = Backends(wrappers=wrappers, installed=lambda: ())
        self.backends.add("FAKE", self.fake)
        self.engine = Engine(self.loop, config or EngineConfig(inline_limit=0), self.backends)

    def create(self, op="identity", device="CPU", batching=None, **fields):
        blob = json.dumps({"op": op, **fields}).encode()
        got = []
        spec = ModelSpec("FAKE", Device.parse(device), batching=batching or Batching())
        self.engine.create_model(spec, blob, lambda *result: got.append(result))
        self.loop.run_until(lambda: got)
        made, error = got[0]
        if error is not None:
            raise error
        return made

    def start(self, model, *values, timeout=None):
        inputs = [Tensor.from_numpy(np.float32(v)) for v in values]
        expires_at = None if timeout is None else self.loop.now + timeout
        graph = run_of(model, inputs, expires_at)
        self.engine.execute(graph)
        return graph

    def finish(self, *graphs):
        self.loop.run_until(lambda: all(g.done for g in graphs))
        return [answer(g) for g in graphs]

    def run(self, model, *values):
        return self.finish(self.start(model, *values))[0]

    def close(self):
        self.fake.release(math.inf)
        self.fake.hurry.set()
        ended = []
        self.engine.close(1.0, lambda: ended.append(True))
        self.loop.turn()
        self.loop.advance(2.0)
        assert ended == [True]


def answer(graph):
    error = graph.error or graph.errors[0]
    if error is not None:
        return error
    return [None if t is None else t.values() for t in graph.values[graph.graph.given :]]


@pytest.fixture
def make():
    benches = []

    def build(*args, **kwargs):
        bench = Bench(*args, **kwargs)
        benches.append(bench)
        return bench

    yield build
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make):
    return make()


def test_a_model_is_created_and_run(bench):
    model = bench.create("multiply", by=3)
    assert bench.run(model, [1, 2]) == [[3, 6]]
    assert (model.stats.calls, model.stats.samples, model.stats.errors) == (1, 2, 0)


def test_a_run_that_fails_tells_the_backends_own_words_and_is_counted(bench):
    model = bench.create("fail", text="tensor too purple")
    error = bench.run(model, [1])
    assert isinstance(error, RunFailed)
    assert str(error) == "tensor too purple"
    assert (model.stats.calls, model.stats.errors, model.stats.samples) == (1, 1, 0)


def test_a_model_in_pieces_is_joined_away_from_the_loop(bench, monkeypatch):
    threads = []

    def join(pieces):
        threads.append(current_thread().name)
        return b"".join(pieces)

    monkeypatch.setattr("tensorkeep.builder.join", join)
    got = []
    pieces = [b'{"op": ', memoryview(b'"identity"'), bytearray(b"}")]
    bench.engine.create_model(ModelSpec("FAKE"), pieces, lambda *result: got.append(result))
    assert not threads
    bench.loop.run_until(lambda: got)

    assert threads == ["tensorkeep-brief"]
    assert got[0][0].blob == b'{"op": "identity"}'


def test_creation_errors_name_what_is_wrong(bench):
    with pytest.raises(ModelRejected, match="op must be one of"):
        bench.create("teleport")
    with pytest.raises(DeviceUnavailable, match="GPU"):
        bench.create(device="GPU")
    got = []
    bench.engine.create_model(ModelSpec("ABSENT"), b"", lambda *r: got.append(r))
    bench.loop.run_until(lambda: got)
    assert isinstance(got[0][1], BackendNotInstalled)


def test_a_plugin_that_raises_something_strange_does_not_stop_its_worker(make):
    class Strange:
        @hookimpl(wrapper=True)
        def model_run(self, inputs):
            if inputs[0].shape == (1,):
                raise SystemExit
            return (yield)

    bench = make(wrappers=[Strange()])
    model = bench.create("identity")
    assert str(bench.run(model, [1])) == "SystemExit"
    assert bench.run(model, [1, 2]) == [[1, 2]]


def test_runs_of_one_device_go_one_after_another_in_order(bench):
    blocker, model = bench.create("block"), bench.create("identity")
    order = []
    graphs = [bench.start(blocker, [0]), *(bench.start(model, [n]) for n in range(3))]
    for n, graph in enumerate(graphs):
        graph.on_done = lambda _, n=n: order.append(n)
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    bench.loop.turn()
    assert order == []
    bench.fake.release()
    bench.finish(*graphs)
    assert order == [0, 1, 2, 3]


def test_work_on_one_device_does_not_delay_another(bench):
    blocked = bench.start(bench.create("block"), [0])
    assert bench.run(bench.create("identity", device="CPU:1"), [5]) == [[5]]
    assert not blocked.done
    bench.fake.release()
    assert bench.finish(blocked) == [[[0]]]


def test_several_workers_run_one_model_at_once(make):
    bench = make(EngineConfig(threads_per_queue=2, inline_limit=0))
    model = bench.create("block")
    graphs = [bench.start(model, [n]) for n in range(2)]
    bench.loop.turn()
    bench.fake.await_calls("model_run", 2)
    bench.fake.release(2)
    assert bench.finish(*graphs) == [[[0]], [[1]]]


def test_gpus_are_devices_with_queues_of_their_own(make):
    bench = make(fake=FakeBackend(devices=[fake_gpu(0), fake_gpu(1)]))
    model = bench.create("identity", device="GPU:1")
    assert bench.run(model, [1]) == [[1]]
    assert bench.fake.calls_of("model_run")[0].device == "GPU:1"
    with pytest.raises(DeviceUnavailable, match="GPU:2"):
        bench.create(device="GPU:2")
    with pytest.raises(DeviceUnavailable, match="CPU"):
        bench.create(device="CPU")


def test_short_runs_are_handed_to_a_busy_worker_ahead(bench):
    model = bench.create("identity")
    blocker = bench.create("block")
    bench.run(model, [0])
    blocker.stats.note((1,), 1e-6)  # as if it were known to be short
    blocked = bench.start(blocker, [0])
    graphs = [bench.start(model, [n]) for n in range(3)]
    late = bench.start(model, [9], timeout=60)
    bench.loop.turn()
    assert len(bench.engine.lanes["CPU"].queue) == 1, "a run that may expire stays in the queue"
    bench.fake.release()
    assert bench.finish(blocked, *graphs, late) == [[[0]], [[0]], [[1]], [[2]], [[9]]]


def test_behind_a_run_of_unknown_length_nothing_is_handed_ahead(bench):
    model, blocker = bench.create("identity"), bench.create("block")
    bench.run(model, [0])
    blocked = bench.start(blocker, [0])
    waiting = bench.start(model, [1])
    bench.loop.turn()
    assert len(bench.engine.lanes["CPU"].queue) == 1
    bench.fake.release()
    bench.finish(blocked, waiting)


def test_a_run_that_was_handed_ahead_has_its_own_time(make):
    bench = make(EngineConfig(model_execution_timeout=0.1, inline_limit=0))
    model, blocker = bench.create("identity"), bench.create("block")
    bench.run(model, [0])
    blocker.stats.note((1,), 1e-6)
    blocked, waiting = bench.start(blocker, [0]), bench.start(model, [1])
    ended, answered = bench.finish(blocked, waiting)
    assert isinstance(ended, RunFailed)
    assert answered == [[1]]


# ------------------------------------------------------------------------- batching
def test_requests_that_come_together_share_one_run(bench):
    model = bench.create("multiply", by=2, batching=Batching(8))
    graphs = [bench.start(model, [[n], [n]]) for n in range(3)]
    assert bench.finish(*graphs) == [[[2 * n, 2 * n]] for n in range(3)]
    assert [c.shapes for c in bench.fake.calls_of("model_run")] == [((6, 1),)]
    assert (model.stats.calls, model.stats.samples) == (3, 6)


def test_who_says_when_the_last_request_has_come_needs_no_turn_of_the_loop(make):
    bench = make(EngineConfig(inline_limit=10))
    model = bench.create("identity", steady=True, batching=Batching(8))
    bench.run(model, [[1]])
    bench.engine.dispatcher.gather(2)
    graph = bench.start(model, [[2]])
    assert not graph.done
    bench.engine.dispatcher.pump()
    assert answer(graph) == [[2]]


@pytest.mark.parametrize(("minimum", "waits"), [(0, False), (2, True)])
def test_a_lone_client_spares_the_queue_unless_a_minimum_holds_it_back(make, minimum, waits):
    bench = make(EngineConfig(inline_limit=10))
    model = bench.create("identity", steady=True, batching=Batching(8, minimum))
    model.stats.note((1, 1), 1e-6)
    bench.engine.dispatcher.gather(1)
    graph = bench.start(model, [[2]])
    assert graph.done is not waits
    bench.engine.dispatcher.pump()
    assert graph.done is not waits


def test_a_lone_request_is_never_delayed(bench):
    model = bench.create("identity", batching=Batching(8))
    assert bench.run(model, [[1]]) == [[1]]
    assert bench.loop.now == 0.0


def test_a_minimum_holds_a_request_back_until_its_time_is_up(bench):
    model = bench.create("identity", batching=Batching(8, 2, 100))
    graph = bench.start(model, [[1]])
    bench.loop.advance(0.09)
    assert bench.fake.calls_of("model_run") == []
    bench.loop.advance(0.02)
    assert bench.finish(graph) == [[[1]]]


def test_while_a_request_is_held_back_another_model_runs(bench):
    held = bench.start(bench.create("identity", batching=Batching(8, 2)), [[1]])
    assert bench.run(bench.create("identity"), [2]) == [[2]]
    assert not held.done


def test_when_a_batch_fails_only_the_bad_request_fails(make):
    class Picky:
        @hookimpl(wrapper=True)
        def model_run(self, inputs):
            if inputs[0].numpy().min() < 0:
                raise ValueError("no negatives")
            return (yield)

    bench = make(wrappers=[Picky()])
    model = bench.create("identity", batching=Batching(8))
    graphs = [bench.start(model, [[n]]) for n in (1, -2, 3)]
    first, second, third = bench.finish(*graphs)
    assert (first, third) == ([[1]], [[3]])
    assert str(second) == "no negatives"
    assert (model.stats.calls, model.stats.errors) == (3, 1)


def test_before_it_is_relied_on_a_shared_run_is_compared_with_its_members_alone(bench):
    model = bench.create("multiply", by=2, batching=Batching(8), axis="declared")
    graphs = [bench.start(model, [[n], [n]]) for n in range(2)]
    assert bench.finish(*graphs) == [[[2 * n, 2 * n]] for n in range(2)]
    shapes = [call.shapes[0] for call in bench.fake.calls_of("model_run")]
    assert shapes == [(2, 1)] * 2 + [(4, 1)] * 8  # two orders, then probes
    graphs = [bench.start(model, [[n], [n]]) for n in range(3)]
    assert bench.finish(*graphs) == [[[2 * n, 2 * n]] for n in range(3)]
    assert [call.shapes[0] for call in bench.fake.calls_of("model_run")][10:] == [(6, 1)]
    assert (model.stats.calls, model.stats.samples) == (5, 10)


@pytest.mark.parametrize("axis", ["known", "declared", "possible"])
def test_a_model_without_the_expected_rows_runs_alone_from_then_on_and_the_log_says_so(
    bench, caplog, axis
):
    model = bench.create("fixed_rows", rows=1, batching=Batching(8), axis=axis)
    bench.engine.enter(b"labels", model)
    for _ in range(2):
        graphs = [bench.start(model, [[n]]) for n in range(3)]
        assert bench.finish(*graphs) == [[[n]] for n in range(3)]
    shapes = [call.shapes[0] for call in bench.fake.calls_of("model_run")]
    assert sorted(shapes) == [(1, 1)] * 6 + [(3, 1)]
    assert bench.engine.lanes["CPU"].batches == {1: 3, 3: 1}
    assert (model.stats.calls, model.stats.errors) == (6, 0)
    (line,) = [r.getMessage() for r in caplog.records if "share" in r.getMessage()]
    assert line == (
        "requests to the model labels no longer share its runs, BATCHSIZE or not:"
        " output 'output0' of a run of 3 rows is [1, 1], not as many rows"
    )


def test_runs_that_were_held_back_go_alone_once_their_model_turns_out_not_to_share(bench):
    model = bench.create("fixed_rows", rows=1, batching=Batching(8, 2))
    held = bench.start(model, [[1]])
    bench.loop.turn()
    model.sharing.refuse("it was found out elsewhere")
    assert bench.finish(held, bench.start(model, [[2]])) == [[[1]], [[2]]]


def test_a_model_without_a_batch_axis_is_never_held_back_nor_shared(bench):
    model = bench.create(axis="its labels are two", batching=Batching(8, 3))
    graphs = [bench.start(model, [[n]]) for n in range(2)]
    assert bench.finish(*graphs) == [[[0]], [[1]]]
    assert bench.loop.now == 0.0
    assert [c.shapes[0] for c in bench.fake.calls_of("model_run")] == [(1, 1)] * 2


def test_by_option_a_model_without_a_batch_axis_is_refused_and_freed(make):
    bench = make(EngineConfig(strict_batching=True))
    bench.create(axis="its labels are two")
    bench.create(batching=Batching(8))
    with pytest.raises(ModelRejected, match=r"cannot share runs .*: its labels are two"):
        bench.create(axis="its labels are two", batching=Batching(8))
    bench.fake.await_calls("model_free")


@pytest.mark.parametrize("batching", [None, Batching(8)])
def test_a_run_with_an_output_that_is_no_tensor_fails_and_names_it(bench, batching):
    model = bench.create("none_output", inputs=2, batching=batching)
    graphs = [bench.start(model, [[n]], [[n + 10]]) for n in range(2)]
    errors = bench.finish(*graphs)
    assert [str(error) for error in errors] == ["output 'output0' is no tensor"] * 2
    assert (model.stats.calls, model.stats.errors) == (2, 2)


# ------------------------------------------------------------------------- deadlines
def test_a_request_that_waits_too_long_is_told_so_at_its_deadline(make):
    bench = make(EngineConfig(inline_limit=0, overtake_after=0))
    blocked = bench.start(bench.create("block"), [0])
    bench.loop.turn()
    late = bench.start(bench.create("identity"), [1], timeout=0.5)
    bench.loop.advance(0.49)
    assert not late.done
    bench.loop.advance(0.02)
    assert isinstance(late.error, RunExpired)
    assert late.done
    bench.fake.release()
    assert bench.finish(blocked) == [[[0]]]
    assert len(bench.fake.calls_of("model_run")) == 1


def test_a_request_in_time_is_answered_however_long_it_runs(bench):
    graph = bench.start(bench.create("block"), [0], timeout=0.5)
    bench.loop.turn()
    bench.loop.advance(5)
    bench.fake.release()
    assert bench.finish(graph) == [[[0]]]


def test_a_run_beyond_the_execution_timeout_is_cancelled(make):
    bench = make(EngineConfig(model_execution_timeout=0.05, inline_limit=0))
    error = bench.run(bench.create("block"), [0])
    assert isinstance(error, RunFailed)


def test_an_abandoned_request_leaves_the_queue_and_its_running_work_is_not_looked_at(bench):
    model = bench.create("block")
    running, waiting = bench.start(model, [0]), bench.start(model, [1])
    done = []
    running.on_done = waiting.on_done = done.append
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    bench.engine.abandon(waiting)
    assert done == [waiting]
    assert isinstance(waiting.error, RunAbandoned)
    bench.engine.abandon(running)
    bench.fake.release()
    bench.loop.run_until(lambda: running.done)
    assert len(bench.fake.calls_of("model_run")) == 1


def test_a_run_that_nobody_waits_for_any_more_ends_unless_it_is_over_soon(bench):
    model = bench.create("block")
    unwanted, next_ = bench.start(model, [0]), bench.start(model, [1])
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    bench.engine.abandon(unwanted)
    bench.loop.advance(0.4)
    bench.loop.turn()
    assert len(bench.fake.calls_of("model_run")) == 1
    bench.loop.advance(0.2)
    bench.loop.run_until(lambda: unwanted.done)  # without a release: the run itself was ended
    bench.fake.release()
    assert bench.finish(next_) == [[[1]]]


def test_a_run_that_another_client_waits_for_as_well_goes_on(bench):
    model = bench.create("block", batching=Batching(8))
    unwanted, wanted = bench.start(model, [[1]]), bench.start(model, [[2]])
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    bench.engine.abandon(unwanted)
    bench.loop.advance(1.0)
    bench.fake.release()
    assert bench.finish(wanted) == [[[2]]]


def test_by_option_a_deadline_ends_a_run_that_nobody_shares(make):
    bench = make(EngineConfig(inline_limit=0, deadline_ends_runs=True))
    graph = bench.start(bench.create("block"), [0], timeout=0.5)
    answered = []
    graph.on_done = lambda g: answered.append(type(g.error))
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    bench.loop.advance(0.49)
    assert not answered
    bench.loop.advance(0.02)
    assert answered == [RunExpired]
    bench.loop.run_until(lambda: graph.done)  # without a release: the run itself was ended
    assert len(answered) == 1


def test_by_option_a_deadline_of_one_leaves_the_run_to_those_who_share_it(make):
    bench = make(EngineConfig(inline_limit=0, deadline_ends_runs=True))
    model = bench.create("block", batching=Batching(8))
    hasty, patient = bench.start(model, [[1]], timeout=0.5), bench.start(model, [[2]])
    answered = []
    hasty.on_done = lambda g: answered.append(type(g.error))
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    bench.loop.advance(0.6)
    assert answered == [RunExpired]
    bench.fake.release()
    assert bench.finish(patient) == [[[2]]]


def test_by_option_a_request_beyond_the_bound_is_refused_at_once_and_nothing_else_changes(make):
    bench = make(EngineConfig(inline_limit=0, max_waiting=2))
    model, elsewhere = bench.create("block"), bench.create("identity", device="CPU:1")
    running = bench.start(model, [0])
    bench.loop.turn()
    waiting = [bench.start(model, [n]) for n in (1, 2)]
    refused = bench.start(model, [3])
    assert isinstance(refused.error, QueueFull)
    assert "CPU" in str(refused.error)
    assert refused.done
    assert bench.run(elsewhere, [4]) == [[4]]
    bench.fake.release(3)
    assert bench.finish(running, *waiting) == [[[0]], [[1]], [[2]]]
    assert model.stats.calls == 3


def test_a_device_tells_its_batches_and_how_long_requests_waited(make):
    bench = make(EngineConfig(inline_limit=0, overtake_after=0))
    model, blocker = bench.create("identity", batching=Batching(8)), bench.create("block")
    blocked = bench.start(blocker, [0])
    bench.loop.turn()
    graphs = [bench.start(model, [[n]]) for n in range(3)]
    bench.loop.advance(2.0)
    bench.fake.release()
    bench.finish(blocked, *graphs)
    lane = bench.engine.lanes["CPU"]
    assert lane.batches == {1: 1, 3: 1}
    assert lane.waited == pytest.approx(6.0)


# ------------------------------------------------------------------------- graphs
def test_a_graph_runs_across_devices_and_each_operation_once(bench):
    double = bench.create("multiply", by=2)
    triple = bench.create("multiply", by=3, device="CPU:1")
    add = bench.create("add")
    operations = (
        Operation(double, (0,), (1,)),
        Operation(triple, (0,), (2,)),
        Operation(add, (1, 2), (3,)),
    )
    graph = GraphRun(Graph(operations, 1, 4), [Tensor.from_numpy(np.float32([1, 10]))])
    bench.engine.execute(graph)
    bench.loop.run_until(lambda: graph.done)
    assert graph.values[3].values() == [5, 50]
    assert [m.stats.calls for m in (double, triple, add)] == [1, 1, 1]


def test_a_failed_operation_stops_what_follows(bench):
    fail, after = bench.create("fail", text="no"), bench.create("identity")
    operations = (Operation(fail, (0,), (1,)), Operation(after, (1,), (2,)))
    graph = GraphRun(Graph(operations, 1, 3), [Tensor.from_numpy(np.float32([1]))])
    bench.engine.execute(graph)
    bench.loop.run_until(lambda: graph.done)
    assert str(graph.errors[0]) == "no"
    assert graph.errors[1] is None
    assert graph.ran == [False, False]
    assert after.stats.calls == 0


def test_when_an_operation_fails_what_waits_elsewhere_is_not_waited_for(bench):
    elsewhere = bench.create("block", device="CPU:1")
    blocked = bench.start(elsewhere, [0])
    bench.loop.turn()
    operations = (
        Operation(bench.create("fail", text="no"), (0,), (1,)),
        Operation(elsewhere, (0,), (2,)),
    )
    graph = GraphRun(Graph(operations, 1, 3), [Tensor.from_numpy(np.float32([1]))])
    bench.engine.execute(graph)
    bench.loop.run_until(lambda: graph.done)
    assert not blocked.done
    assert [str(graph.errors[0]), graph.errors[1]] == ["no", None]
    assert graph.error is None
    bench.fake.release(2)
    bench.finish(blocked)
    assert elsewhere.stats.calls == 1


def test_when_an_operation_fails_at_once_what_could_start_with_it_does_not(make):
    bench = make(EngineConfig(inline_limit=0.01))
    fail = bench.create("fail", text="no", steady=True)
    after = bench.create("identity", device="CPU:1", steady=True)
    warm(bench, fail, [1])
    warm(bench, after, [1])
    calls = after.stats.calls
    operations = (Operation(fail, (0,), (1,)), Operation(after, (0,), (2,)))
    graph = GraphRun(Graph(operations, 1, 3), [Tensor.from_numpy(np.float32([1]))])
    bench.engine.execute(graph)
    assert graph.done
    assert str(graph.errors[0]) == "no"
    assert graph.ran == [False, False]
    assert after.stats.calls == calls


def test_a_long_graph_of_short_runs_lets_others_have_their_turn(make):
    bench = make(EngineConfig(inline_limit=0.01))
    model = bench.create("identity", steady=True)
    warm(bench, model, [1])
    operations = tuple(Operation(model, (n,), (n + 1,)) for n in range(100))
    graph = GraphRun(Graph(operations, 1, 101), [Tensor.from_numpy(np.float32([1]))])
    ended = []
    graph.on_done = ended.append
    bench.engine.execute(graph)
    assert 0 < sum(graph.ran) < 50
    assert bench.start(model, [2]).done
    bench.loop.run_until(lambda: ended)
    assert all(graph.ran)
    assert len(ended) == 1


def test_an_operation_that_is_free_too_late_does_not_stay_on_the_loop_either(make):
    bench = make(EngineConfig(inline_limit=0.01))
    model = bench.create("identity", steady=True)
    warm(bench, model, [1])
    calls = model.stats.calls
    operations = (
        Operation(bench.create("block", device="CPU:1"), (0,), (1,)),
        Operation(model, (1,), (2,)),
    )
    one = Tensor.from_numpy(np.float32([1]))
    graph = GraphRun(Graph(operations, 1, 3), [one], bench.loop.now + 0.5)
    bench.engine.execute(graph)
    bench.loop.turn()
    bench.fake.await_calls("model_run", 1)
    bench.loop.advance(0.6)
    bench.fake.release()
    bench.loop.run_until(lambda: graph.done)
    assert isinstance(graph.error, RunExpired)
    assert model.stats.calls == calls


def test_an_operation_with_an_output_that_is_no_tensor_ends_its_graph(bench):
    none, after = bench.create("none_output"), bench.create("identity")
    operations = (Operation(none, (0,), (1,)), Operation(after, (1,), (2,)))
    graph = GraphRun(Graph(operations, 1, 3), [Tensor.from_numpy(np.float32([1]))])
    done = []
    graph.on_done = done.append
    bench.engine.execute(graph)
    bench.loop.run_until(lambda: done)
    assert str(graph.errors[0]) == "output 'output0' is no tensor"
    assert (none.stats.errors, after.stats.calls) == (1, 0)


@pytest.mark.parametrize("ops", [("none_output", "identity"), ("identity", "fail")])
def test_a_graph_that_failed_is_gone_at_once_without_the_garbage_collector(bench, ops):
    fields = {"fail": {"text": "no"}}
    models = [bench.create(op, **fields.get(op, {})) for op in ops]
    operations = (Operation(models[0], (0,), (1,)), Operation(models[1], (1,), (2,)))
    graph = GraphRun(Graph(operations, 1, 3), [Tensor.from_numpy(np.float32([1]))])
    last = weakref.ref(models[1])
    failures = []
    graph.on_done = lambda graph: failures.append(str(graph.errors))
    bench.engine.execute(graph)
    gc.collect()
    gc.disable()
    try:
        bench.loop.run_until(lambda: failures)
        del graph, operations, models
        bench.loop.run_until(lambda: last() is None)
    finally:
        gc.enable()


def test_a_graph_that_expires_leaves_every_queue(bench):
    here, there = bench.create("block"), bench.create("block", device="CPU:1")
    blockers = [bench.start(here, [0]), bench.start(there, [0])]
    bench.loop.turn()
    operations = (Operation(here, (0,), (1,)), Operation(there, (0,), (2,)))
    given = [Tensor.from_numpy(np.float32([1]))]
    graph = GraphRun(Graph(operations, 1, 3), given, bench.loop.now + 1)
    bench.engine.execute(graph)
    bench.loop.advance(1.1)
    assert graph.done
    assert isinstance(graph.error, RunExpired)
    assert all(not lane.queue for lane in bench.engine.lanes.values())
    bench.fake.release(2)
    bench.finish(*blockers)


# ------------------------------------------------------------------------- on the loop
def warm(bench, model, *values):
    """Runs a model until the engine knows that it is short."""
    for _ in range(200):
        graph = bench.start(model, *values)
        if graph.done:
            return
        bench.finish(graph)
    raise AssertionError(model.stats)


def test_a_short_steady_run_stays_on_the_loop_once_it_is_known(make):
    bench = make(EngineConfig(inline_limit=0.01))
    model = bench.create("identity", steady=True)
    warm(bench, model, [1])
    before = model.stats.calls
    graph = bench.start(model, [2])
    assert graph.done
    assert answer(graph) == [[2]]
    assert model.stats.calls == before + 1
    assert bench.fake.calls_of("model_run")[-1].thread == "MainThread"


def test_a_run_of_other_shapes_is_measured_anew(make):
    bench = make(EngineConfig(inline_limit=0.01))
    model = bench.create("identity", steady=True)
    warm(bench, model, [1])
    assert not bench.start(model, [1, 2]).done


@pytest.mark.parametrize(
    ("config", "steady"),
    [(EngineConfig(inline_limit=0), True), (EngineConfig(inline_limit=10), False)],
    ids=["turned off", "time depends on values"],
)
def test_other_runs_never_stay_on_the_loop(make, config, steady):
    bench = make(config)
    model = bench.create("identity", steady=steady)
    for _ in range(5):
        bench.run(model, [1])
    assert "MainThread" not in {c.thread for c in bench.fake.calls_of("model_run")}


def test_while_a_device_is_busy_nothing_overtakes_on_the_loop(make):
    bench = make(EngineConfig(inline_limit=0.01))
    model, blocker = bench.create("identity", steady=True), bench.create("block")
    warm(bench, model, [1])
    blocked = bench.start(blocker, [0])
    bench.loop.turn()
    waiting = bench.start(model, [1])
    bench.loop.turn()
    assert not waiting.done
    bench.fake.release()
    bench.finish(blocked, waiting)


def test_a_batch_of_short_runs_stays_on_the_loop(make):
    bench = make(EngineConfig(inline_limit=0.01))
    model = bench.create("multiply", by=2, steady=True, batching=Batching(8))
    for _ in range(200):
        graphs = [bench.start(model, [[n]]) for n in range(4)]
        assert bench.finish(*graphs) == [[[2 * n]] for n in range(4)]
        if bench.fake.calls_of("model_run")[-1].thread == "MainThread":
            break
    last = bench.fake.calls_of("model_run")[-1]
    assert (last.thread, last.shapes) == ("MainThread", ((4, 1),))


# ------------------------------------------------------------------------- the rest
def test_every_model_run_can_be_wrapped_by_a_plugin_that_is_no_backend(make):
    seen = []

    class Tracer:
        @hookimpl(wrapper=True)
        def model_run(self, model, inputs):
            outputs = yield
            seen.append((model.inputs, len(inputs), len(outputs)))
            return outputs

    bench = make(wrappers=[Tracer()])
    bench.run(bench.create("add"), [1], [2])
    assert seen == [(("input0", "input1"), 2, 1)]


def test_a_model_is_freed_when_its_last_user_is_gone(bench):
    model = bench.create("block")
    bench.engine.catalog[b"m"] = model
    graph = bench.start(model, [1])
    bench.loop.turn()
    del model
    gc.collect()
    assert b"m" in bench.engine.catalog
    bench.fake.release()
    bench.finish(graph)
    del graph
    gc.collect()
    assert b"m" not in bench.engine.catalog
    bench.fake.await_calls("model_free")


def test_a_backend_that_cannot_free_a_model_is_logged_and_nothing_stops(make, caplog):
    class Clumsy:
        @hookimpl(wrapper=True)
        def model_free(self):
            yield
            raise RuntimeError("stuck")

    bench = make(wrappers=[Clumsy()])
    with caplog.at_level(logging.ERROR):
        bench.create("identity")
        gc.collect()
        bench.loop.run_until(lambda: caplog.records)
    assert "could not free a model" in caplog.text
    assert bench.run(bench.create("identity"), [1]) == [[1]]


def test_a_backend_can_be_loaded_ahead(bench):
    got = []
    bench.engine.load_backend("fake", lambda *r: got.append(r))
    bench.loop.run_until(lambda: got)
    backend, error = got[0]
    assert error is None
    assert backend is bench.backends.loaded["FAKE"]


def test_an_unexpected_failure_while_loading_is_logged_and_answered_neutrally(bench, caplog):
    got = []
    bench.engine.create_model(ModelSpec("FAKE", batching=None), b"{}", lambda *r: got.append(r))
    bench.loop.run_until(lambda: got)
    assert isinstance(got[0][1], TensorkeepError)


def test_closing_waits_for_running_work_and_takes_no_new(bench):
    model = bench.create("block")
    running = bench.start(model, [1])
    bench.loop.turn()
    ended = []
    bench.engine.close(10.0, lambda: ended.append(True))
    bench.loop.turn()
    assert not ended
    refused = bench.start(model, [2])
    assert isinstance(refused.error, EngineClosed)
    got = []
    bench.engine.create_model(ModelSpec("FAKE"), b"", lambda *r: got.append(r))
    bench.loop.turn()
    assert isinstance(got[0][1], EngineClosed)
    bench.fake.release()
    bench.loop.run_until(lambda: ended)
    assert answer(running) == [[1]]
    bench.close = lambda: None


def test_closing_ends_what_does_not_end_in_time(bench):
    graph = bench.start(bench.create("block"), [1])
    bench.loop.turn()
    bench.fake.await_calls("model_run")
    ended = []
    bench.engine.close(1.0, lambda: ended.append(True))
    bench.loop.advance(1.1)
    assert ended == [True]
    bench.loop.run_until(lambda: graph.done)
    assert "cancel" in str(answer(graph))
    bench.close = lambda: None


def test_a_worker_tells_its_processor_time(bench):
    bench.run(bench.create("identity"), [1])
    seconds = next(iter(bench.engine.lanes["CPU"].workers)).cpu_seconds()
    assert 0 < seconds < 60


@pytest.mark.parametrize("limits_runs", [False, True])
def test_a_memory_limit_that_a_backend_cannot_keep_is_said_once(make, caplog, limits_runs):
    class Said(FakeBackend):
        @hookimpl
        def backend_info(self):
            return replace(super().backend_info(), limits_runs=limits_runs)

    bench = make(EngineConfig(backend_memory_limit=1_000_000), fake=Said())
    for _ in range(2):
        bench.create()
    said = [line for line in caplog.messages if "cannot limit the memory that runs take" in line]
    assert len(said) == (not limits_runs)


def test_without_a_memory_limit_nothing_is_said(bench, caplog):
    bench.create()
    assert not caplog.messages


# ------------------------------------------------------------------ builds beyond their time
def test_a_build_in_this_process_that_goes_on_beyond_its_time_is_given_up(make, caplog):
    """Others are built meanwhile, and what comes of it in the end is freed."""
    bench = make(EngineConfig(store_timeout=0.05))
    got = []
    blob = json.dumps({"op": "slow_create", "seconds": 30}).encode()
    bench.engine.create_model(ModelSpec("FAKE"), blob, lambda *result: got.append(result))
    while not got:
        sleep(0.01)  # threads have the time of a clock
        bench.loop.advance(0.1)
    assert type(got[0][1]) is BuildTookTooLong
    assert str(got[0][1]) == "building it took longer than 0.05 s, the --store-timeout"
    assert f"{len(blob)} bytes, goes on being built in this process" in caplog.text
    assert "cannot be ended: it is given up" in caplog.text
    assert bench.run(bench.create("multiply", by=2), [1]) == [[2]]

    bench.fake.hurry.set()
    bench.loop.run_until(lambda: not bench.engine.busy)
    kept = bench.create()  # behind what frees it
    assert bench.run(kept, [1]) == [[1]]
    assert bench.fake.backend_stats()["models"] == 1
    assert len(got) == 1
