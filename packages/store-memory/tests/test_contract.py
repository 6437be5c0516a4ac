"""The conformance suite of stores on the memory store; and that each of its tests can fail."""

import inspect
from dataclasses import replace
from unittest import SkipTest

import pytest

from tensorkeep.errors import KeyMissing, NotStored, WrongType
from tensorkeep.model import Model, Script
from tensorkeep.tensor import Tensor
from tensorkeep.testing import StoreContract
from tensorkeep_memory.keyspace import Keyspace
from tensorkeep_memory.store import open_store


class TestContract(StoreContract):
    def open(self, host):
        return open_store("memory:", host)


# ------------------------------------------------------------------ stores with one fault each
class ForgetsShapes(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if isinstance(value, Tensor):
            value = Tensor.from_numpy(value.numpy().reshape(-1))
        super().set(key, value, expires_at, event)


class CutsLargeTensors(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if isinstance(value, Tensor) and len(value.blob) > 2**20:
            value = Tensor.from_numpy(value.numpy()[: 2**20])
        super().set(key, value, expires_at, event)


class CutsKeys(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        super().set(key.partition(b"\0")[0], value, expires_at, event)


class KeepsTheFirst(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if not isinstance(self.get(key), Tensor):
            super().set(key, value, expires_at, event)


class KnowsNoKinds(Keyspace):
    def typed(self, key, kind):
        value = self.get(key)
        if value is None:
            raise KeyMissing(key)
        return super().typed(key, kind)


class TakesModelsForScripts(Keyspace):
    def typed(self, key, kind):
        value = self.get(key)
        return value if isinstance(value, Model) and kind is Script else super().typed(key, kind)


class ExpectsNothing(Keyspace):
    def expect(self, key, kind, *, present=None):
        pass


class ExpectsNoPresence(Keyspace):
    def expect(self, key, kind, *, present=None):
        super().expect(key, kind)


class LooksForPresenceAlone(Keyspace):
    def expect(self, key, kind, *, present=None):
        if present is not None:
            super().expect(key, object, present=present)


class CountsFromTheEpoch(Keyspace):
    def set_for(self, key, value, lifetime, event=None):
        super().set_for(key, value, lifetime._replace(word=b"PXAT"), event)


class KeepsForEver(Keyspace):
    def set_for(self, key, value, lifetime, event=None):
        super().set_for(key, value, None, event)


class SetsWithRegard(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if isinstance(value, Tensor):
            self.expect(key, Tensor)
        super().set(key, value, expires_at, event)


class ChangesHalf(Keyspace):
    def expect(self, key, kind, *, present=None):
        value = self.get(key)
        if value is None:
            super().set(key, b"half done")
        super().expect(key, kind, present=present)


class DropsAnything(Keyspace):
    def drop(self, key, kind):
        value = self.get(key)
        self.delete(key)
        return value


class DropsNothing(Keyspace):
    def drop(self, key, kind):
        return self.typed(key, kind)


class KeepsExpiry(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        entry = self.entry(key)
        kept = entry.expires_at if entry is not None else None
        super().set(key, value, expires_at or kept, event)


class NeverExpires(Keyspace):
    def expire(self, key, expires_at, event=None):
        pass


class LosesRenamed(Keyspace):
    def rename(self, source, target):
        super().rename(source, target)
        self.delete(target)


class LosesTags(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if isinstance(value, Model | Script):
            value = replace(value, spec=replace(value.spec, tag=""))
        super().set(key, value, expires_at, event)


class CutsLargeModels(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if isinstance(value, Model):
            value = replace(value, blob=value.blob[: 2**20])
        super().set(key, value, expires_at, event)


class BuildsAgain(Keyspace):
    def get(self, key, *, touch=True):
        value = super().get(key, touch=touch)
        return replace(value) if isinstance(value, Model) else value


class RunsOldModels(Keyspace):
    def set(self, key, value, expires_at=None, event=None):
        if not isinstance(self.get(key), Model):
            super().set(key, value, expires_at, event)


class RemembersModels(Keyspace):
    last = None

    def set(self, key, value, expires_at=None, event=None):
        super().set(key, value, expires_at, event)
        self.last = value

    def typed(self, key, kind):
        removed = kind is Model and self.get(key) is None and self.last is not None
        return self.last if removed else super().typed(key, kind)


class ReadsOnce(Keyspace):
    def typed(self, key, kind):
        value = super().typed(key, kind)
        self.delete(key)
        return value


class OneDatabaseForAll(Keyspace):
    pass


class FailsForAll(Keyspace):
    def typed(self, key, kind):
        if b"string" in self:
            raise WrongType(key)
        return super().typed(key, kind)


FAULTS = {
    "test_a_tensor_of_each_type_and_shape_comes_back_as_it_was_stored": ForgetsShapes,
    "test_a_large_tensor_comes_back_as_it_was_stored": CutsLargeTensors,
    "test_a_key_may_be_any_bytes": CutsKeys,
    "test_a_tensor_replaces_another_of_any_type_and_shape": KeepsTheFirst,
    "test_one_client_reads_what_another_has_written": KeepsTheFirst,
    "test_a_key_may_be_read_twice_by_one_command": ReadsOnce,
    "test_a_key_that_is_not_there_is_missing_and_the_error_knows_what_was_looked_for": KnowsNoKinds,
    "test_a_key_of_another_kind_is_the_wrong_type": TakesModelsForScripts,
    "test_what_is_wrong_with_one_key_does_not_keep_others_from_being_read": FailsForAll,
    "test_what_is_expected_of_a_key_decides_whether_it_may_be_replaced": ExpectsNothing,
    "test_a_value_that_nothing_was_expected_of_replaces_whatever_is_there": SetsWithRegard,
    "test_of_several_changes_all_are_made_or_none": ChangesHalf,
    "test_the_last_of_several_values_for_one_key_stays": KeepsTheFirst,
    "test_what_is_dropped_is_gone_and_must_be_of_its_kind": DropsAnything,
    "test_replacing_a_value_ends_its_expiry": KeepsExpiry,
    "test_a_value_may_be_stored_for_a_time_or_until_one": CountsFromTheEpoch,
    "test_a_value_stored_until_a_time_that_has_passed_is_gone": KeepsForEver,
    "test_a_value_may_keep_the_expiry_of_the_one_that_it_replaces": KeepsForEver,
    "test_a_key_that_must_be_free_or_taken_decides_whether_anything_is_stored": ExpectsNoPresence,
    "test_a_key_of_another_kind_is_the_wrong_type_whether_it_must_be_free_or_taken": (
        LooksForPresenceAlone
    ),
    "test_what_has_expired_is_missing": NeverExpires,
    "test_values_move_with_their_keys_when_those_are_renamed": LosesRenamed,
    "test_databases_are_apart": OneDatabaseForAll,
    "test_a_model_comes_back_with_all_that_was_said_of_it": LosesTags,
    "test_a_script_comes_back_with_all_that_was_said_of_it": LosesTags,
    "test_what_is_stored_of_a_model_or_script_can_be_read_without_building_it": LosesTags,
    "test_a_large_model_comes_back_as_it_was_stored": CutsLargeModels,
    "test_a_model_is_built_once_and_again_only_after_it_was_replaced": BuildsAgain,
    "test_a_model_that_was_removed_by_a_plain_command_is_gone": RemembersModels,
}
CASES = [
    *FAULTS.items(),
    ("test_a_value_may_be_stored_for_a_time_or_until_one", NeverExpires),
    ("test_a_key_that_must_be_free_or_taken_decides_whether_anything_is_stored", ChangesHalf),
    ("test_what_is_dropped_is_gone_and_must_be_of_its_kind", DropsNothing),
    ("test_a_model_is_built_once_and_again_only_after_it_was_replaced", RunsOldModels),
]


def faulty(keys):
    """A suite on a memory store whose databases are of another class."""

    class Faulty(StoreContract):
        def open(self, host):
            store = open_store("memory:", host)
            made = tuple(keys(each.clock) for each in store.databases)
            store.databases = made[:1] * len(made) if keys is OneDatabaseForAll else made
            return store

    return Faulty()


@pytest.mark.parametrize(("test", "keys"), CASES)
def test_a_store_with_a_fault_fails_the_test_for_it(test, keys, monkeypatch):
    monkeypatch.setattr("tensorkeep.testing.store_contract._PATIENCE", 0.05)
    with pytest.raises((AssertionError, KeyMissing, NotStored, WrongType)):
        getattr(faulty(keys), test)()


def test_there_is_a_fault_for_each_test_of_a_local_store():
    remote = set()
    for name, test in inspect.getmembers(faulty(Keyspace), inspect.ismethod):
        if name.startswith("test_"):
            try:
                test()
            except SkipTest:
                remote.add(name)
    tests = {name for name in dir(StoreContract) if name.startswith("test_")}
    assert tests - remote == set(FAULTS)
    assert len(remote) == 3
