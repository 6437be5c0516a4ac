"""The conformance suite of stores: what every store must do, as tests that its author inherits.

It needs no server and no framework, only the store. Nothing here imports pytest: the tests are
plain methods that raise `AssertionError`, or `unittest.SkipTest` where there is nothing to test.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from unittest import SkipTest

from tensorkeep.batching import Batching
from tensorkeep.commands.set_options import Lifetime
from tensorkeep.device import Device
from tensorkeep.errors import KeyMissing, NotStored, WrongType
from tensorkeep.model import Model, ModelSpec, Script, ScriptSpec
from tensorkeep.store import Record, Step, Wanted, record_of
from tensorkeep.tensor import DType, Tensor
from tensorkeep.testing.checks import check, sample
from tensorkeep.testing.opened_store import BACKEND, OpenedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorkeep.store import Host, LocalStore, RemoteStore, Result, Values
    from tensorkeep.testing.opened_store import StoreClient

_KINDS: Final[tuple[type, ...]] = (Tensor, Model, Script)
_ODD_KEYS: Final = (b"", b"\0", b"two words", b"\r\n", b"\xff\xfe", b"{a}:b", b"x" * 1000)
_LARGE: Final = 40 * 2**20  # bytes; a store may have to write more than 32 MB in pieces
_LONG: Final = 100  # seconds until a key expires that is not to expire in a test
_PATIENCE: Final = 10.0  # seconds until a key whose time has come must be gone

_KEPT: Final = Lifetime(b"KEEPTTL", 0)

_MODEL: Final = b'{"op": "multiply", "by": 2}'
_OTHER_MODEL: Final = b'{"op": "add"}'
_SCRIPT: Final = b"sum stack"
_SPEC: Final = ModelSpec(BACKEND)
_SCRIPT_SPEC: Final = ScriptSpec(BACKEND)
_FULL_SPEC: Final = ModelSpec(
    BACKEND,
    Device.parse("CPU:1"),
    tag="v1 Ünïcödé",
    batching=Batching(16, 4, 250),
    inputs=("an input", "zweiter"),
    outputs=("sum",),
    signature="serving",
)


class StoreContract:
    """Holds a store to its contract.

    Inherit it in a test module, say how the store is opened, and run pytest::

        from tensorkeep.testing import StoreContract
        from tensorkeep_mine.store import open_store

        class TestContract(StoreContract):
            def open(self, host):
                return open_store("mine://127.0.0.1", host)

    Each test opens the store and closes it, after it removed every key (FLUSHALL): give it an
    engine that holds nothing else. What it needs of the commands on plain data: SET, RPUSH, DEL,
    EXISTS, STRLEN, LLEN, RENAME, TTL, PTTL, EXPIRE, PEXPIRE, PERSIST, FLUSHALL.
    """

    # ------------------------------------------------------------------ what the author gives
    def open(self, host: Host) -> LocalStore | RemoteStore:
        """Opens the store; a remote one is not started yet."""
        raise NotImplementedError("override open(): the suite needs a store")

    @contextmanager
    def opened(self) -> Iterator[OpenedStore]:
        """Opens the store, empty, and closes it at the end."""
        store = OpenedStore(self.open)
        try:
            store.client().command(b"FLUSHALL")
            yield store
        finally:
            store.close()

    # ------------------------------------------------------------------ tensors
    def test_a_tensor_of_each_type_and_shape_comes_back_as_it_was_stored(self) -> None:
        """Type, shape and every bit, of matrices, of scalars, and of what has no elements."""
        with self.opened() as store:
            client = store.client()
            tensors = [sample(dtype, rank) for dtype in DType for rank in (0, 2)]
            tensors += [Tensor.zeros(dtype, (2, 0)) for dtype in DType]
            names = [b"t%d" % number for number in range(len(tensors))]
            client.change(_setting(*zip(names, tensors, strict=True)))
            values = client.read(*(Wanted(name, Tensor) for name in names))
            for name, tensor in zip(names, tensors, strict=True):
                check(
                    values.typed(name, Tensor) == tensor and values.get(name) == tensor,
                    f"{tensor} came back as {values.get(name)}",
                )

    def test_a_large_tensor_comes_back_as_it_was_stored(self) -> None:
        """40 MB, whatever a store does to write them."""
        with self.opened() as store:
            client = store.client()
            tensor = Tensor.from_blob(DType.UINT8, (_LARGE,), bytes(range(256)) * (_LARGE // 256))
            client.change(_setting((b"large", tensor)))
            check(_tensor(client, b"large") == tensor, "a large tensor came back as another")

    def test_a_key_may_be_any_bytes(self) -> None:
        """Empty, with spaces and line breaks, not UTF-8, long."""
        with self.opened() as store:
            client = store.client()
            for number, key in enumerate(_ODD_KEYS):
                client.change(_setting((key, _number(number))))
            for number, key in enumerate(_ODD_KEYS):
                check(_tensor(client, key) == _number(number), f"{key!r} has another value")

    def test_a_tensor_replaces_another_of_any_type_and_shape(self) -> None:
        """The second is there, whole."""
        with self.opened() as store:
            client = store.client()
            client.change(_setting((b"a", sample(DType.DOUBLE, 2))))
            client.change(_setting((b"a", sample(DType.STRING, 0))))
            check(_tensor(client, b"a") == sample(DType.STRING, 0), "it was not replaced")

    def test_one_client_reads_what_another_has_written(self) -> None:
        """From the moment when the writing is done."""
        with self.opened() as store:
            writer, reader = store.client(), store.client()
            for number in range(3):
                writer.change(_setting((b"a", _number(number))))
                check(_tensor(reader, b"a") == _number(number), "the value is an old one")

    def test_a_key_may_be_read_twice_by_one_command(self) -> None:
        """As a run does whose inputs are the same tensor."""
        with self.opened() as store:
            client = store.client()
            client.change(_setting((b"a", _number(1))))
            values = client.read(*[Wanted(b"a", Tensor)] * 2, Wanted(b"b", Tensor))
            for _ in range(2):
                check(values.typed(b"a", Tensor) == _number(1), "the value is another")

    # ------------------------------------------------------------------ keys of another kind
    def test_a_key_that_is_not_there_is_missing_and_the_error_knows_what_was_looked_for(
        self,
    ) -> None:
        """`KeyMissing` with the kind; `get` returns None."""
        with self.opened() as store:
            client = store.client()
            for kind in _KINDS:
                values = client.read(Wanted(b"nothing", kind))
                check(values.get(b"nothing") is None, "get() must return None")
                _check_missing(kind, lambda: values.typed(b"nothing", kind))  # noqa: B023 - called at once

    def test_a_key_of_another_kind_is_the_wrong_type(self) -> None:
        """Each kind under the names of all others, plain data too."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for key, own in _each_kind():
                for kind in _KINDS:
                    if kind is not own:
                        values = client.read(Wanted(key, kind))
                        _check_wrong(f"{key!r} as {kind}", lambda: values.typed(key, kind))  # noqa: B023 - called at once

    def test_what_is_wrong_with_one_key_does_not_keep_others_from_being_read(self) -> None:
        """The error is raised where that key is asked for."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            values = client.read(
                *(Wanted(key, Tensor) for key in (b"string", b"nothing", b"model", b"tensor"))
            )
            check(values.typed(b"tensor", Tensor) == _number(0), "the value is another")
            _check_wrong("string as tensor", lambda: values.typed(b"string", Tensor))
            _check_missing(Tensor, lambda: values.typed(b"nothing", Tensor))

    # ------------------------------------------------------------------ writing
    def test_what_is_expected_of_a_key_decides_whether_it_may_be_replaced(self) -> None:
        """A free key may, one of the kind may, others stay as they are."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for key in (b"free", b"tensor"):
                client.change(_replacing(Tensor, (key, _number(1))))
                check(_tensor(client, key) == _number(1), f"{key!r} was not stored")
            for key in (b"string", b"list", b"model", b"script"):
                _check_wrong(
                    f"a tensor in place of {key!r}",
                    lambda: client.change(_replacing(Tensor, (key, _number(1)))),  # noqa: B023 - called at once
                )
            _check_each_kind_is_there(store, client, but=b"tensor")

    def test_a_value_that_nothing_was_expected_of_replaces_whatever_is_there(self) -> None:
        """`set` alone looks at nothing."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for key, _ in _each_kind():
                client.change(_setting((key, _number(7))))
                check(_tensor(client, key) == _number(7), f"{key!r} was not replaced")

    def test_of_several_changes_all_are_made_or_none(self) -> None:
        """One key of another kind, at any place among them, and nothing is changed."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for keys in ((b"a", b"string"), (b"list", b"a"), (b"a", b"model", b"tensor")):
                _check_wrong(
                    f"tensors under {keys}",
                    lambda: client.change(_replacing(Tensor, *((k, _number(5)) for k in keys))),  # noqa: B023 - called at once
                )
                check(client.command(b"EXISTS", b"a") == 0, "some of the changes were made")
            _check_each_kind_is_there(store, client)
            client.change(_replacing(Tensor, (b"a", _number(1)), (b"tensor", _number(2))))
            check(_tensor(client, b"a") == _number(1), "a was not stored")
            check(_tensor(client, b"tensor") == _number(2), "tensor was not stored")

    def test_the_last_of_several_values_for_one_key_stays(self) -> None:
        """As with two outputs of one name."""
        with self.opened() as store:
            client = store.client()
            client.change(_replacing(Tensor, (b"a", _number(1)), (b"a", _number(2))))
            check(_tensor(client, b"a") == _number(2), "the first of them is there")

    def test_what_is_dropped_is_gone_and_must_be_of_its_kind(self) -> None:
        """`KeyMissing` and `WrongType` when it is not; then nothing is changed."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for kind in (Model, Script):
                _check_missing(kind, lambda: client.change(_dropping(b"nothing", kind)))  # noqa: B023 - called at once
                for key in (b"string", b"list", b"tensor"):
                    _check_wrong(
                        f"dropping {key!r} as {kind}",
                        lambda: client.change(_dropping(key, kind)),  # noqa: B023 - called at once
                    )
            _check_each_kind_is_there(store, client)
            client.change(_dropping(b"model", Model))
            client.change(_dropping(b"script", Script))
            client.change(_dropping(b"tensor", Tensor))
            for key in (b"model", b"script", b"tensor"):
                check(client.command(b"EXISTS", key) == 0, f"{key!r} is still there")

    # ------------------------------------------------------------------ expiry and renaming
    def test_replacing_a_value_ends_its_expiry(self) -> None:
        """Of tensors and models, whatever replaces them."""
        with self.opened() as store:
            client = store.client()
            model = store.model(_SPEC, _MODEL)
            for key, value in ((b"a", _number(1)), (b"m", model)):
                client.change(_setting((key, value)))
                check(client.command(b"TTL", key) == -1, "it expires without being told to")
                client.command(b"EXPIRE", key, b"%d" % _LONG)
                check(0 < client.command(b"TTL", key) <= _LONG, "EXPIRE does nothing")
                client.change(_setting((key, value)))
                check(client.command(b"TTL", key) == -1, "its expiry is still there")

    def test_a_value_may_be_stored_for_a_time_or_until_one(self) -> None:
        """A small tensor, a large one, a model; from now on, and up to a Unix time."""
        with self.opened() as store:
            client = store.client()
            for value in (_number(1), _large(), store.model(_SPEC, _MODEL)):
                until = round(time.time() + _LONG) * 1000
                for lifetime in (Lifetime(b"PX", _LONG * 1000), Lifetime(b"PXAT", until)):
                    client.change(lambda values: values.set_for(b"a", value, lifetime))  # noqa: B023 - called at once
                    left = client.command(b"PTTL", b"a") / 1000
                    check(abs(_LONG - left) < _PATIENCE, f"it expires in {left} seconds")
                    check(client.command(b"PERSIST", b"a") == 1, "PERSIST does nothing")
                    _check_is(client, b"a", value)

    def test_a_value_stored_until_a_time_that_has_passed_is_gone(self) -> None:
        """As SET does with PXAT."""
        with self.opened() as store:
            client = store.client()
            for value in (_number(1), _large()):
                client.change(_setting((b"a", value)))
                client.change(lambda values: values.set_for(b"a", value, Lifetime(b"PXAT", 1)))  # noqa: B023 - called at once
                check(client.command(b"EXISTS", b"a") == 0, "it is still there")

    def test_a_value_may_keep_the_expiry_of_the_one_that_it_replaces(self) -> None:
        """`KEEPTTL`: of a key that expires, of one that does not, and of one that is not there."""
        with self.opened() as store:
            client = store.client()
            for value in (_number(2), _large(), store.model(_SPEC, _MODEL)):
                client.command(b"DEL", b"a")
                for _ in range(2):
                    client.change(lambda values: values.set_for(b"a", value, _KEPT))  # noqa: B023 - called at once
                    check(client.command(b"TTL", b"a") == -1, "it expires without being told to")
                client.command(b"EXPIRE", b"a", b"%d" % _LONG)
                client.change(lambda values: values.set_for(b"a", value, _KEPT))  # noqa: B023 - called at once
                left = client.command(b"PTTL", b"a") / 1000
                check(abs(_LONG - left) < _PATIENCE, f"it expires in {left} seconds")
                _check_is(client, b"a", value)

    def test_a_key_that_must_be_free_or_taken_decides_whether_anything_is_stored(self) -> None:
        """One of several keys that is not as it must be, and nothing is changed."""
        with self.opened() as store:
            client = store.client()
            for value in (_number(1), _large()):
                client.command(b"FLUSHALL")
                client.change(_setting((b"taken", value)))
                items = ((b"taken", value), (b"free", value))
                for present in (True, False):
                    for ordered in (items, items[::-1]):
                        _check_unmet(lambda: client.change(_storing(*ordered, present=present)))  # noqa: B023 - called at once
                        check(client.command(b"EXISTS", b"free") == 0, "some of it was stored")
                client.change(_storing((b"taken", _number(2)), present=True))
                check(_tensor(client, b"taken") == _number(2), "what may be replaced was not")
                client.change(_storing((b"free", value), present=False))
                check(_tensor(client, b"free") == value, "what may be stored was not")

    def test_a_key_of_another_kind_is_the_wrong_type_whether_it_must_be_free_or_taken(self) -> None:
        """It comes before a key that is not as it must be, wherever it stands."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for present, other in ((True, b"free"), (False, b"tensor")):
                items = ((other, _number(1)), (b"string", _number(1)))
                for ordered in (items, items[::-1]):
                    _check_wrong(
                        "a tensor in place of a string",
                        lambda: client.change(_storing(*ordered, present=present)),  # noqa: B023 - called at once
                    )
            _check_each_kind_is_there(store, client)

    def test_what_has_expired_is_missing(self) -> None:
        """A tensor, a model, a script."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            for key, kind in ((b"tensor", Tensor), (b"model", Model), (b"script", Script)):
                client.command(b"PEXPIRE", key, b"1")
                until = time.monotonic() + _PATIENCE
                while (values := client.read(Wanted(key, kind))).get(key) is not None:
                    check(time.monotonic() < until, f"{key!r} is still there")
                _check_missing(kind, lambda: values.typed(key, kind))  # noqa: B023 - called at once

    def test_values_move_with_their_keys_when_those_are_renamed(self) -> None:
        """A renamed model is the one that was built."""
        with self.opened() as store:
            client = store.client()
            _store_each_kind(store, client)
            built = _model(client, b"model")
            for key, _ in _each_kind():
                client.command(b"RENAME", key, b"new " + key)
            check(_tensor(client, b"new tensor") == _number(0), "the value is another")
            moved = _model(client, b"new model")
            check(moved.blob == built.blob and moved.spec == built.spec, "the model is another")
            _check_missing(Model, lambda: _model(client, b"model"))

    def test_databases_are_apart(self) -> None:
        """A key of one is not there in another."""
        with self.opened() as store:
            here, there = store.client(), store.client()
            there.select(1)
            model = store.model(_SPEC, _MODEL)
            here.change(_setting((b"a", _number(1)), (b"m", model)))
            _check_missing(Tensor, lambda: _tensor(there, b"a"))
            _check_missing(Model, lambda: _model(there, b"m"))
            there.change(_setting((b"a", _number(2))))
            check(_tensor(here, b"a") == _number(1), "database 0 has another value")
            check(_tensor(there, b"a") == _number(2), "database 1 has another value")

    # ------------------------------------------------------------------ models and scripts
    def test_a_model_comes_back_with_all_that_was_said_of_it(self) -> None:
        """Its specification, blob, and the names of its inputs and outputs."""
        with self.opened() as store:
            writer, reader = store.client(), store.client()
            for key, spec, blob in ((b"m", _SPEC, _MODEL), (b"n", _FULL_SPEC, _OTHER_MODEL)):
                stored = store.model(spec, blob)
                writer.change(_setting((key, stored)))
                for client in (writer, reader):
                    model = _model(client, key)
                    check(model.spec == spec, f"{spec} came back as {model.spec}")
                    check(model.blob == blob, "the blob came back as another")
                    names = (stored.loaded.inputs, stored.loaded.outputs)
                    found = (model.loaded.inputs, model.loaded.outputs)
                    check(found == names, f"{names} came back as {found}")

    def test_a_script_comes_back_with_all_that_was_said_of_it(self) -> None:
        """Its specification and its source."""
        with self.opened() as store:
            writer, reader = store.client(), store.client()
            spec = ScriptSpec(BACKEND, Device.parse("CPU:1"), "v2", ("sum", "stack"))
            writer.change(_setting((b"s", store.script(spec, _SCRIPT))))
            for client in (writer, reader):
                script = _script(client, b"s")
                check(script.spec == spec, f"{spec} came back as {script.spec}")
                check(script.source == _SCRIPT, "the source came back as another")

    def test_what_is_stored_of_a_model_or_script_can_be_read_without_building_it(self) -> None:
        """As a `Record`; a local store may have the model itself."""
        with self.opened() as store:
            writer, reader = store.client(), store.client()
            stored = store.model(_FULL_SPEC, _OTHER_MODEL)
            script = store.script(_SCRIPT_SPEC, _SCRIPT)
            writer.change(_setting((b"m", stored), (b"s", script)))
            inputs, outputs = stored.loaded.inputs, stored.loaded.outputs
            for key, wanted in (
                (b"m", (_FULL_SPEC, inputs, outputs, _OTHER_MODEL)),
                (b"s", (_SCRIPT_SPEC, (), (), _SCRIPT)),
            ):
                found = _recorded(reader.read(Wanted(key, Record)).get(key))
                check(found == wanted, f"{wanted} came back as {found}")

    def test_a_large_model_comes_back_as_it_was_stored(self) -> None:
        """40 MB, whatever a store does to write them."""
        with self.opened() as store:
            writer, reader = store.client(), store.client()
            blob = _MODEL + b" " * _LARGE
            writer.change(_setting((b"m", store.model(_SPEC, blob))))
            check(_model(reader, b"m").blob == blob, "a large model came back as another")
            writer.change(_setting((b"m", store.model(_SPEC, _MODEL))))
            check(_model(reader, b"m").blob == _MODEL, "it was not replaced")

    def test_a_model_is_built_once_and_again_only_after_it_was_replaced(self) -> None:
        """All clients run the same one, and from the next request on the one that replaced it."""
        with self.opened() as store:
            writer, reader = store.client(), store.client()
            writer.change(_setting((b"m", store.model(_SPEC, _MODEL))))
            first = _model(reader, b"m")
            check(
                _model(reader, b"m") is first and _model(store.client(), b"m") is first,
                "the model was built again although it has not changed",
            )
            writer.change(_setting((b"m", store.model(_SPEC, _OTHER_MODEL))))
            second = _model(reader, b"m")
            check(second is not first, "the model that was replaced is still there")
            check(second.blob == _OTHER_MODEL, "the model is another")

    def test_a_model_that_was_removed_by_a_plain_command_is_gone(self) -> None:
        """DEL; and it can be stored anew."""
        with self.opened() as store:
            client = store.client()
            client.change(_setting((b"m", store.model(_SPEC, _MODEL))))
            check(client.command(b"DEL", b"m") == 1, "DEL finds nothing")
            _check_missing(Model, lambda: _model(client, b"m"))
            client.change(_replacing(Model, (b"m", store.model(_SPEC, _OTHER_MODEL))))
            check(_model(client, b"m").blob == _OTHER_MODEL, "the model is another")

    # ------------------------------------------------------------------ remote stores alone
    def test_all_models_and_scripts_of_a_database_are_listed_with_their_tags(self) -> None:
        """`catalog`: neither tensors nor plain data nor other databases."""
        with self.opened() as store:
            remote = store.remote
            if remote is None:
                raise SkipTest("a local store is asked by its keys")
            client, other = store.remote_client(), store.client()
            other.select(1)
            _store_each_kind(store, client)
            other.change(_setting((b"elsewhere", store.model(_SPEC, _MODEL))))
            client.change(_setting((b"n", store.model(_FULL_SPEC, _OTHER_MODEL))))
            for kind, wanted in (
                (Model, [(b"model", ""), (b"n", _FULL_SPEC.tag)]),
                (Script, [(b"script", "")]),
            ):
                found = store.wait(partial(remote.catalog, kind, client.session))
                check(sorted(found) == wanted, f"the catalog is {found}, not {wanted}")

    def test_a_command_of_the_front_end_takes_its_place_in_a_transaction(self) -> None:
        """It reads and writes at its place, and EXEC's reply has what it makes there."""
        with self.opened() as store:
            if store.remote is None:
                raise SkipTest("transactions of a local store are the front end's")
            client = store.remote_client()
            client.change(_setting((b"a", _number(1))))
            values = client.session.values()
            _replacing(Tensor, (b"b", _number(2)))(values)

            def make(read: Result[Values]) -> bytes:
                return b":%d\r\n" % read().typed(b"a", Tensor).values()[0]

            client.relay(b"MULTI")
            client.relay(b"SET", b"before", b"1")
            client.enqueue(Step([Wanted(b"a", Tensor)], values, make))
            client.relay(b"SET", b"after", b"1")
            check(store.client().command(b"EXISTS", b"b") == 0, "it was done before EXEC")
            reply = client.relay(b"EXEC")
            check(reply == b"*3\r\n+OK\r\n:1\r\n+OK\r\n", f"the reply to EXEC is {reply!r}")
            check(_tensor(client, b"b") == _number(2), "what it changes is not there")

    def test_what_a_store_tells_of_itself_is_sections_of_names_and_values(self) -> None:
        """`info`: of text and numbers."""
        with self.opened() as store:
            if store.remote is None:
                raise SkipTest("a local store has nothing to tell")
            for section, facts in store.remote.info().items():
                check(isinstance(section, str), f"{section!r} must be text")
                for name, value in facts.items():
                    check(isinstance(name, str), f"{name!r} of {section} must be text")
                    kind = type(value)
                    check(kind in {str, int, float}, f"{name} of {section} is {value!r}")


# --------------------------------------------------------------------------- what is stored
def _number(value: int) -> Tensor:
    return Tensor.from_values(DType.INT64, (1,), [value])


def _large() -> Tensor:
    return Tensor.zeros(DType.INT64, (100_000,))


def _each_kind() -> Sequence[tuple[bytes, type | None]]:
    """Returns keys, one of each kind, and their kinds."""
    return (
        (b"string", None),
        (b"list", None),
        (b"tensor", Tensor),
        (b"model", Model),
        (b"script", Script),
    )


def _store_each_kind(store: OpenedStore, client: StoreClient) -> None:
    client.command(b"SET", b"string", b"text")
    client.command(b"RPUSH", b"list", b"one", b"two")
    client.change(
        _setting(
            (b"tensor", _number(0)),
            (b"model", store.model(_SPEC, _MODEL)),
            (b"script", store.script(_SCRIPT_SPEC, _SCRIPT)),
        )
    )


def _check_each_kind_is_there(store: OpenedStore, client: StoreClient, but: bytes = b"") -> None:
    check(client.command(b"STRLEN", b"string") == len("text"), "the string was changed")
    check(client.command(b"LLEN", b"list") == len(("one", "two")), "the list was changed")
    if but != b"tensor":
        check(_tensor(client, b"tensor") == _number(0), "the tensor was changed")
    check(_model(client, b"model").blob == _MODEL, "the model was changed")
    check(_script(store.client(), b"script").source == _SCRIPT, "the script was changed")


# --------------------------------------------------------------------------- changes
def _setting(*items: tuple[bytes, object]) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        for key, value in items:
            values.set(key, value)

    return change


def _replacing(kind: type, *items: tuple[bytes, object]) -> Callable[[Values], None]:
    """Returns what stores values, all of which may only replace what is of their kind."""

    def change(values: Values) -> None:
        for key, _ in items:
            values.expect(key, kind)
        for key, value in items:
            values.set(key, value)

    return change


def _storing(*items: tuple[bytes, object], present: bool) -> Callable[[Values], None]:
    """Returns what stores tensors under keys, all of which must be taken, or free."""

    def change(values: Values) -> None:
        for key, _ in items:
            values.expect(key, Tensor)
        for key, _ in items:
            values.expect(key, Tensor, present=present)
        for key, value in items:
            values.set_for(key, value, Lifetime(b"PX", _LONG * 1000))

    return change


def _dropping(key: bytes, kind: type) -> Callable[[Values], object]:
    return lambda values: values.drop(key, kind)


# --------------------------------------------------------------------------- what comes back
def _tensor(client: StoreClient, key: bytes) -> Tensor:
    return client.read(Wanted(key, Tensor)).typed(key, Tensor)


def _model(client: StoreClient, key: bytes) -> Model:
    return client.read(Wanted(key, Model)).typed(key, Model)


def _script(client: StoreClient, key: bytes) -> Script:
    return client.read(Wanted(key, Script)).typed(key, Script)


def _recorded(value: object) -> object:
    """Returns what is stored of a model or script, with the content in one piece."""
    record = record_of(value) if isinstance(value, Model | Script) else value
    if not isinstance(record, Record):
        return record
    return (record.spec, record.inputs, record.outputs, b"".join(record.content))


def _check_missing(kind: type, action: Callable[[], object]) -> None:
    try:
        action()
    except KeyMissing as error:
        check(error.kind is kind, f"KeyMissing must carry {kind}, not {error.kind}")
    else:
        raise AssertionError("a key that is not there must raise KeyMissing")


def _check_is(client: StoreClient, key: bytes, value: object) -> None:
    kind = type(value)
    found = client.read(Wanted(key, kind)).typed(key, kind)
    check(_recorded(found) == _recorded(value), "the value is another")


def _check_unmet(action: Callable[[], object]) -> None:
    try:
        action()
    except NotStored:
        return
    raise AssertionError("a key that is not as it must be must raise NotStored")


def _check_wrong(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except WrongType:
        return
    raise AssertionError(f"{what} must raise WrongType")
