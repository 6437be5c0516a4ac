"""Crashes: three of a model without a run in between that went well, and it is run no more."""

from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.crashes import MOST_RUNNING, Crashes

ENDS = st.lists(st.sampled_from(["died", "went well"]))


def after(ends):
    crashes = Crashes()
    for number, end in enumerate(ends):
        if end == "died":
            crashes.died(f"cause {number}")
        else:
            crashes.went_well()
    return crashes


@given(ENDS)
def test_a_model_is_refused_once_it_has_died_three_times_running_and_stays_so(ends):
    crashes = after(ends)
    assert crashes.refused is ("died" * MOST_RUNNING in "".join(ends).replace("went well", "-"))
    assert crashes.total == ends.count("died")


@given(ENDS)
def test_the_last_cause_is_known_and_each_is_news_once(ends):
    crashes = after(ends)
    causes = [f"cause {number}" for number, end in enumerate(ends) if end == "died"]
    assert crashes.cause == (causes[-1] if causes else "")
    assert crashes.news() == causes
    assert crashes.news() == []
