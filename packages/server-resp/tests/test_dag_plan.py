"""From the arguments of a DAG to its plan, with a store and operations made up for these tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.commands.args import Args
from tensorkeep.commands.errors import CommandError
from tensorkeep.device import Device
from tensorkeep.model import LoadedModel, Model, ModelSpec
from tensorkeep_server.dag_plan import Dialect, read_dag

NO_INPUT = "ERR INPUT key cannot be found in DAG"
NO_PERSIST = "ERR PERSIST key cannot be found in DAG"


def model(device="CPU"):
    return Model(ModelSpec("FAKE", Device.parse(device)), b"", LoadedModel(None, (), ()), None)


STORE = {b"a": "tensor a", b"b": "tensor b", b"m": model(), b"n": model("cpu"), b"g": model("GPU")}


def load(store, key):
    if key not in store:
        raise CommandError(f"no {key.decode()}")
    return store[key]


def read_set(op, draft):
    """SET name value."""
    draft.put(bytes(op[1]), bytes(op[2]).decode(), ends_in_data=False)


def read_get(op, draft):
    """GET name."""
    draft.get(bytes(op[1]), "form")


def read_run(op, draft):
    """RUN model inputs outputs: each a list with commas, - for none."""
    inputs, outputs = ([] if names == b"-" else names.split(b",") for names in op[2:])
    draft.execute(op[1], draft.store[op[1]], inputs, outputs)


def read_broken(op, draft):
    raise CommandError("broken")


DIALECT = Dialect(
    name="ai.dagexecute",
    arity="",
    at_least=0,
    read_only=False,
    needs_key_option=False,
    load=load,
    readers={b"SET": read_set, b"GET": read_get, b"RUN": read_run, b"BROKEN": read_broken},
)


def read(request, dialect=DIALECT):
    items = request.encode().split() if isinstance(request, str) else request
    return read_dag(Args([b"DAG", *items]), dialect, STORE)[0]


def error_of(request, dialect=DIALECT):
    with pytest.raises(CommandError) as caught:
        read(request, dialect)
    return caught.value.line


# ---------------------------------------------------------------------- names become slots
def test_what_came_with_the_request_has_the_first_slots_and_outputs_the_last():
    plan = read("LOAD 1 a |> SET x 1 |> RUN m a,x p,q |> SET y 2 |> RUN n q,y,a r |> GET r")
    assert plan.given == ["tensor a", "1", "2"]
    first, second = plan.graph.operations
    assert (first.inputs, first.outputs) == ((0, 1), (-1, -2))
    assert (second.inputs, second.outputs) == ((-2, 2, 0), (-3,))
    assert (plan.graph.given, plan.graph.slots) == (3, 6)
    assert plan.shown == [(4, -3, "form")]
    assert (plan.size, plan.ran) == (5, [1, 3])


def test_an_operation_sees_the_value_that_its_name_has_there():
    plan = read("|> SET x 1 |> GET x |> SET x 2 |> GET x |> RUN m x x |> GET x |> RUN m x x")
    assert plan.shown == [(1, 0, "form"), (3, 1, "form"), (5, -1, "form")]
    assert [op.inputs for op in plan.graph.operations] == [(1,), (-1,)]
    assert [op.outputs for op in plan.graph.operations] == [(-1,), (-2,)]


def test_of_outputs_with_one_name_the_last_one_wins():
    plan = read("|> SET x 1 |> RUN m x y,y |> GET y")
    assert plan.graph.operations[0].outputs == (-1, -2)
    assert plan.shown == [(2, -2, "form")]


def test_the_last_value_of_a_name_is_persisted():
    plan = read("LOAD 1 a PERSIST 2 y a |> RUN m a y |> SET a 1 |> RUN m y y")
    assert plan.persisted == [(b"y", -2), (b"a", 1)]


def test_a_name_loaded_twice_is_one_name():
    plan = read("LOAD 3 a b a |> GET a |> GET b")
    assert plan.given == ["tensor a", "tensor b", "tensor a"]
    assert [plan.given[slot] for _, slot, _ in plan.shown] == ["tensor a", "tensor b"]


def test_a_model_without_inputs_reads_nothing():
    plan = read("|> RUN m - y |> GET y")
    assert plan.graph.operations[0].inputs == ()


def test_one_device_does_its_operations_in_their_order_and_devices_do_not_wait_for_each_other():
    plan = read("LOAD 1 a |> RUN m a p |> RUN g a q |> RUN n a r |> RUN g r s |> RUN m a t")
    assert [op.after for op in plan.graph.operations] == [-1, -1, 0, 1, 2]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("|> GET x", NO_INPUT),
        ("|> GET x |> SET x 1", NO_INPUT),
        ("|> RUN m x y |> SET x 1", NO_INPUT),
        ("|> RUN m y y", NO_INPUT),
        ("|> SET x 1 |> RUN m x,z y", NO_INPUT),
        ("PERSIST 1 y |> GET x", NO_INPUT),
        ("PERSIST 1 y |> SET x 1", NO_PERSIST),
        ("PERSIST 2 x a |> SET x 1", NO_PERSIST),
        ("|> GET x |> BROKEN", "broken"),
        ("PERSIST 1 y |> SET x 1 |> BROKEN", "broken"),
    ],
)
def test_names_are_judged_when_all_operations_were_read(request_, line):
    assert error_of(request_) == line


# ---------------------------------------------------------------------- where operations begin
def test_words_are_known_in_any_case_and_up_to_a_nul():
    request = [
        b"load\0",
        b"1",
        b"a",
        b"TimeOut",
        b"7",
        b"|>\0x",
        b"get\0y",
        b"a",
        b"|>\0",
        b"GET",
        b"a",
    ]
    plan = read(request)
    assert plan.timeout_ms == 7
    assert [place for place, _, _ in plan.shown] == [0, 1]


def test_data_that_begins_like_a_separator_is_data():
    plan = read([b"|>", b"SET", b"x", b"|>\0data", b"|>", b"GET", b"x"])
    assert plan.given == ["|>\0data"]
    assert plan.shown == [(1, 0, "form")]


def test_what_only_begins_like_a_separator_is_none():
    assert error_of("|>> GET x").endswith("  |>>")
    assert error_of("|> GET x |>x |> GET x") == NO_INPUT


def test_the_name_of_an_operation_may_be_large():
    large = memoryview(bytearray(b"set\0" + bytes(70_000))).toreadonly()
    assert read([b"|>", large, b"x", b"1"]).given == ["1"]
    assert error_of([b"|>", large[4:], b"x", b"1"]) == "Unsupported command within DAG"
    assert error_of([large, b"|>", b"GET", b"x"]).startswith("ERR Invalid DAG command.")


@pytest.mark.parametrize("request_", ["|> |> SET x 1", "|> SET x 1 |> |> SET x 1", "|> NOSUCH x"])
def test_an_operation_that_is_missing_or_unknown_is_refused(request_):
    assert error_of(request_) == "Unsupported command within DAG"


@pytest.mark.parametrize("request_", ["|>", "LOAD 1 a |>", "|> GET x |>", "|> BROKEN |> |>"])
def test_a_separator_at_the_end_is_an_argument_too_many(request_):
    assert error_of(request_) == "ERR Invalid DAG command. Unexpected argument:  |>"


def test_without_operations_there_is_no_dag():
    assert error_of("LOAD 1 a") == error_of("") == "ERR DAG is empty"


# ---------------------------------------------------------------------- options
def test_options_come_in_any_order():
    for request in (
        "LOAD 1 a PERSIST 1 a TIMEOUT 5 ROUTING r",
        "ROUTING r TIMEOUT 5 PERSIST 1 a LOAD 1 a",
    ):
        plan = read(f"{request} |> GET a")
        assert (plan.given, plan.persisted, plan.timeout_ms) == (["tensor a"], [(b"a", 0)], 5)


def test_lists_and_values_take_whatever_stands_there():
    assert error_of("LOAD 2 a |> GET a") == "no |>"
    assert error_of("PERSIST 2 a |> GET a").endswith("  GET")
    assert read("ROUTING |> |> SET x 1").size == 1
    assert read("ROUTING LOAD PERSIST 1 PERSIST |> SET PERSIST 1").persisted == [(b"PERSIST", 0)]


def test_after_the_first_separator_options_are_no_options():
    assert error_of("|> SET x 1 |> LOAD 1 a") == "Unsupported command within DAG"


def test_read_only_refuses_persist_and_nothing_else():
    dialect = DIALECT._replace(read_only=True)
    assert error_of("PERSIST", dialect) == "ERR PERSIST cannot be specified in a read-only DAG"
    assert read("LOAD 1 a ROUTING r TIMEOUT 5 |> GET a", dialect).size == 1


@pytest.mark.parametrize("option", ["LOAD 1 a", "PERSIST 1 x", "ROUTING r"])
def test_where_an_option_is_needed_any_but_the_timeout_will_do(option):
    dialect = DIALECT._replace(needs_key_option=True)
    assert read(f"TIMEOUT 5 {option} |> SET x 1", dialect).size == 1
    for lacking in ("", "TIMEOUT 5"):
        assert "must contain at least one out of" in error_of(f"{lacking} |> SET x 1", dialect)


@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"LOAD", b"PERSIST", b"ROUTING", b"TIMEOUT", b"1", b"2", b"a", b"|>"]),
            st.sampled_from([b"SET", b"GET", b"RUN", b"m", b"a,b", b"x", b"|>\0", b"\xff"]),
        ),
        max_size=30,
    )
)
def test_any_request_is_a_plan_or_one_error(items):
    def careful(reader, size):
        def read_op(op, draft):
            if len(op) != size or (reader is read_run and op[1] != b"m"):
                raise CommandError("arity")
            reader(op, draft)

        return read_op

    readers = {
        b"SET": careful(read_set, 3), b"GET": careful(read_get, 2), b"RUN": careful(read_run, 4),
    }  # fmt: skip
    try:
        plan = read(items, DIALECT._replace(readers=readers))
    except (CommandError, UnicodeDecodeError):
        return
    slots = range(-(plan.graph.slots - plan.graph.given), plan.graph.given)
    used = [slot for op in plan.graph.operations for slot in (*op.inputs, *op.outputs)]
    used += [slot for _, slot, _ in plan.shown] + [slot for _, slot in plan.persisted]
    assert set(used) <= set(slots)
    assert len(plan.given) == plan.graph.given
    places = sorted([*plan.ran, *(place for place, _, _ in plan.shown)])
    assert len(set(places)) == len(places) <= plan.size
