"""How much may wait for a client that does not read."""

import pytest

from tensorkeep_server.output_limit import Arrears, OutputLimit

LIMIT = OutputLimit(hard=100, soft=10, seconds=60)


def test_what_may_never_wait_is_too_much_at_once():
    assert not Arrears().exceed(LIMIT, 100, 0.0)
    assert Arrears().exceed(LIMIT, 101, 0.0)


def test_a_little_too_much_is_borne_for_some_time():
    arrears = Arrears()
    assert not arrears.exceed(LIMIT, 11, 1000.0)
    assert not arrears.exceed(LIMIT, 50, 1060.0)
    assert arrears.exceed(LIMIT, 11, 1060.1)


def test_who_catches_up_gets_the_whole_time_again():
    arrears = Arrears()
    arrears.exceed(LIMIT, 11, 0.0)
    assert not arrears.exceed(LIMIT, 10, 50.0)
    assert not arrears.exceed(LIMIT, 11, 100.0)
    arrears.end()
    assert not arrears.exceed(LIMIT, 11, 200.0)
    assert arrears.exceed(LIMIT, 11, 261.0)


@pytest.mark.parametrize("waiting", [0, 10, 10**12])
def test_zero_is_no_limit(waiting):
    arrears = Arrears()
    for now in (0.0, 10.0**9):
        assert not arrears.exceed(OutputLimit(0, 0, 0), waiting, now)
