"""A reply to come: work elsewhere, then the making of the reply."""

import logging

from tensorkeep.commands.errors import CommandError
from tensorkeep.commands.reply import Error
from tensorkeep_server.later import Later


def test_the_reply_is_made_when_it_is_asked_for_and_not_before():
    later, made = Later(), []
    later.then(lambda: made.append("told"))
    assert not later.resolved
    later.resolve(lambda: made.append("made") or b"reply")
    assert later.resolved
    assert made == ["told"]
    assert later.finish() == b"reply"
    assert made == ["told", "made"]


def test_it_may_be_resolved_before_anybody_listens():
    later = Later()
    later.resolve(lambda: 1)
    assert later.resolved
    assert later.finish() == 1


def test_an_error_in_the_making_is_the_reply():
    def make():
        raise CommandError("ERR no")

    later = Later()
    later.resolve(make)
    assert later.finish() == Error("ERR no")


def test_a_reply_that_is_not_there_is_a_bug_and_logged(caplog):
    later = Later()
    with caplog.at_level(logging.ERROR):
        assert later.finish() == Error("ERR internal error, see the server's log")
    later.resolve(lambda: 1)
    later.finish()
    assert later.finish() == Error("ERR internal error, see the server's log")
    assert len(caplog.records) == 2


def test_work_that_nobody_waits_for_is_done_all_the_same():
    later, done = Later(), []
    later.then(lambda: done.append("told"))
    later.abandon()
    assert done == []
    later.resolve(lambda: done.append("made"))
    assert done == ["made"]


def test_work_that_can_be_ended_is_ended_when_nobody_waits():
    done = []
    later = Later(lambda: done.append("ended"))
    later.then(lambda: done.append("told"))
    later.abandon()
    later.resolve(lambda: done.append("made"))
    assert done == ["ended"]


def test_a_listener_that_fails_is_no_matter_of_who_did_the_work(caplog):
    def broken():
        raise ZeroDivisionError

    later = Later()
    later.then(broken)
    later.resolve(lambda: 1)
    assert "ZeroDivisionError" in caplog.text


def test_a_reply_is_there_although_its_end_cannot_be_noted(caplog):
    def broken(_):
        raise ZeroDivisionError

    later = Later()
    later.ended = broken
    later.resolve(lambda: 1)
    assert later.finish() == 1
    assert "ZeroDivisionError" in caplog.text
