"""Who gets a message: subscriptions without clients, sockets and servers."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tensorkeep.commands.glob import compile_glob
from tensorkeep_server.subscriptions import Subscriptions


def test_a_message_goes_to_who_is_subscribed_to_its_channel():
    known = Subscriptions()
    known.channels.add("ann", b"news")
    known.channels.add("bob", b"news")
    known.channels.add("bob", b"sport")

    assert known.receivers(b"news") == [("ann", None), ("bob", None)]
    assert known.receivers(b"sport") == [("bob", None)]
    assert known.receivers(b"new") == []


def test_a_pattern_gets_the_messages_of_every_channel_that_it_matches():
    known = Subscriptions()
    known.patterns.add("ann", b"n[ae]ws*")
    known.patterns.add("bob", b"*")

    assert known.receivers(b"news") == [("ann", b"n[ae]ws*"), ("bob", b"*")]
    assert known.receivers(b"sport") == [("bob", b"*")]


def test_a_message_comes_as_often_as_there_are_subscriptions_for_it():
    known = Subscriptions()
    known.patterns.add("ann", b"n*")
    known.channels.add("ann", b"news")
    known.patterns.add("ann", b"*s")

    assert known.receivers(b"news") == [("ann", None), ("ann", b"n*"), ("ann", b"*s")]


def test_subscribing_twice_is_subscribing_once():
    known = Subscriptions()
    known.channels.add("ann", b"news")
    known.channels.add("ann", b"news")

    assert known.channels.count("ann") == 1
    assert known.receivers(b"news") == [("ann", None)]
    known.channels.remove("ann", b"news")
    assert known.receivers(b"news") == []


def test_shard_channels_are_a_world_of_their_own():
    known = Subscriptions()
    known.shard_channels.add("ann", b"news")

    assert known.receivers(b"news") == []
    assert list(known.shard_channels.subscribers(b"news")) == ["ann"]
    assert "ann" in known


def test_ending_a_subscription_that_is_not_there_changes_nothing():
    known = Subscriptions()
    known.channels.add("ann", b"news")
    known.channels.remove("bob", b"news")
    known.channels.remove("ann", b"sport")
    known.patterns.remove("ann", b"news")

    assert known.receivers(b"news") == [("ann", None)]


def test_nothing_is_left_of_who_went_away():
    known = Subscriptions()
    for name in (b"a", b"b"):
        known.channels.add("ann", name)
        known.patterns.add("ann", name)
        known.shard_channels.add("ann", name)
    known.channels.add("bob", b"a")
    known.forget("ann")

    assert "ann" not in known
    assert known.receivers(b"a") == [("bob", None)]
    assert list(known.channels) == [b"a"]
    assert (len(known.patterns), len(known.shard_channels)) == (0, 0)


NAMES = st.sampled_from([b"a", b"b", b"*", b"?", b"[ab]", b"\\*"])
PEOPLE = st.sampled_from(["ann", "bob", "cid"])


class Changes(RuleBasedStateMachine):
    """Subscriptions beside the plainest way to keep them."""

    def __init__(self):
        super().__init__()
        self.known = Subscriptions()
        self.plain = set()

    @rule(person=PEOPLE, name=NAMES, pattern=st.booleans())
    def subscribe(self, person, name, pattern):
        (self.known.patterns if pattern else self.known.channels).add(person, name)
        self.plain.add((person, name, pattern))

    @rule(person=PEOPLE, name=NAMES, pattern=st.booleans())
    def unsubscribe(self, person, name, pattern):
        (self.known.patterns if pattern else self.known.channels).remove(person, name)
        self.plain.discard((person, name, pattern))

    @rule(person=PEOPLE)
    def leave(self, person):
        self.known.forget(person)
        self.plain = {each for each in self.plain if each[0] != person}

    @rule(channel=NAMES)
    def publish(self, channel):
        expected = {
            (person, name if pattern else None)
            for person, name, pattern in self.plain
            if (compile_glob(name).fullmatch(channel) if pattern else name == channel)
        }
        receivers = self.known.receivers(channel)
        assert len(receivers) == len(expected)
        assert set(receivers) == expected

    @invariant()
    def counts_are_right(self):
        for person in ("ann", "bob", "cid"):
            mine = {each for each in self.plain if each[0] == person}
            assert (person in self.known) == bool(mine)
            assert self.known.channels.count(person) == sum(not each[2] for each in mine)
            assert set(self.known.patterns.names(person)) == {each[1] for each in mine if each[2]}
        assert set(self.known.channels) == {name for _, name, pattern in self.plain if not pattern}
        assert len(self.known.patterns) == len({each[1] for each in self.plain if each[2]})


TestChanges = Changes.TestCase
