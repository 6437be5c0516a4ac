"""When memory that was freed goes back to the system."""

from tensorkeep_server.freed_memory import FreedMemory, give_back

MIB = 1024 * 1024


def test_a_little_is_kept():
    freed = FreedMemory()
    assert not freed.is_due(16 * MIB, 100 * MIB, 0.0)
    assert freed.is_due(17 * MIB, 100 * MIB, 0.0)
    assert not freed.is_due(17 * MIB, 1000 * MIB, 0.0)
    assert freed.is_due(51 * MIB, 1000 * MIB, 0.0)


def test_where_little_went_back_it_is_not_tried_again_soon():
    freed = FreedMemory()
    freed.done(40 * MIB, 35 * MIB, began=0.0, now=0.001)
    assert not freed.is_due(50 * MIB, 100 * MIB, 2.9)
    assert freed.is_due(50 * MIB, 100 * MIB, 3.1)
    freed.done(40 * MIB, 35 * MIB, began=4.0, now=4.1)
    assert not freed.is_due(50 * MIB, 100 * MIB, 100.0)
    assert freed.is_due(50 * MIB, 100 * MIB, 105.0)


def test_where_much_went_back_it_takes_at_most_a_hundredth_of_the_time():
    freed = FreedMemory()
    freed.done(40 * MIB, 5 * MIB, began=10.0, now=10.2)
    assert not freed.is_due(500 * MIB, MIB, 29.0)
    assert freed.is_due(500 * MIB, MIB, 31.0)


def test_it_can_be_given_back_at_any_time():
    give_back()
