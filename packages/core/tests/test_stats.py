"""What is counted of runs, and how long they usually take."""

import math

from tensorkeep.stats import SCRIPT_SAMPLES, RunStats


def test_a_run_that_ends_well_is_counted_with_its_time_and_rows():
    stats = RunStats()
    stats.succeed(0.0015, samples=3)
    stats.succeed(0.0005, samples=1)
    assert stats == RunStats(calls=2, errors=0, duration_us=2000, samples=4)


def test_a_failed_run_is_a_call_and_an_error_and_no_time():
    stats = RunStats()
    stats.fail()
    assert stats == RunStats(calls=1, errors=1, duration_us=0, samples=0)


def test_scripts_have_no_rows_to_count():
    stats = RunStats(samples=SCRIPT_SAMPLES)
    stats.succeed(0.001, samples=7)
    assert stats == RunStats(calls=1, duration_us=1000, samples=SCRIPT_SAMPLES)


def test_reset_starts_counting_anew():
    for samples in (0, SCRIPT_SAMPLES):
        stats = RunStats(samples=samples)
        stats.succeed(0.001, samples=2)
        stats.fail()
        stats.reset()
        assert stats == RunStats(samples=samples)


def test_an_unknown_shape_takes_forever():
    assert RunStats().usual((1, 4)) == math.inf


def test_a_faster_run_counts_at_once():
    stats = RunStats()
    stats.note("shape", 1.0)
    stats.note("shape", 0.5)
    assert stats.usual("shape") == 0.5


def test_a_slower_run_counts_bit_by_bit():
    stats = RunStats()
    stats.note("shape", 1.0)
    stats.note("shape", 9.0)
    assert 1.0 < stats.usual("shape") <= 2.0
    for _ in range(1000):
        stats.note("shape", 9.0)
    assert math.isclose(stats.usual("shape"), 9.0, rel_tol=1e-3)


def test_each_shape_has_its_own_time():
    stats = RunStats()
    stats.note("small", 1.0)
    stats.note("large", 2.0)
    assert (stats.usual("small"), stats.usual("large")) == (1.0, 2.0)


def test_many_shapes_do_not_fill_the_memory():
    stats = RunStats()
    for shape in range(1000):
        stats.note(shape, 1.0)
        assert stats.usual(shape) == 1.0
    assert len(stats._usual) <= 64


def test_reset_keeps_what_is_known_of_times():
    stats = RunStats()
    stats.note("shape", 1.0)
    stats.reset()
    assert stats.usual("shape") == 1.0
