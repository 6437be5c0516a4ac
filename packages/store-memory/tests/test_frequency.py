"""How often a key is used, in one number."""

from tensorkeep_memory.frequency import another_use, first_use, frequency

NOW = 1_700_000_000.0


def test_a_new_key_is_not_the_first_to_go():
    assert frequency(first_use(NOW), NOW) == 5


def test_the_counter_grows_slowly_and_never_beyond_a_byte():
    number = first_use(NOW)
    counters = []
    for _ in range(20_000):
        number = another_use(number, NOW)
        counters.append(frequency(number, NOW))
    assert counters == sorted(counters)
    assert counters[0] == 6  # the first use counts in any case
    assert 6 < counters[100] < 30
    assert 20 < counters[-1] <= 255


def test_the_counter_falls_by_one_for_each_minute_without_a_use():
    number = first_use(NOW)
    assert frequency(number, NOW + 3 * 60) == 2
    assert frequency(number, NOW + 3600) == 0
    assert frequency(another_use(number, NOW + 3600), NOW + 3600) == 1


def test_a_time_in_its_place_makes_sense_of_some_kind():
    assert frequency(NOW, NOW) == 0
    assert 0 <= frequency(another_use(NOW, NOW), NOW) <= 1
