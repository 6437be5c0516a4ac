"""The keys that rights are asked for are among those that a request uses, however it is written."""

from types import SimpleNamespace

from hypothesis import example, given
from hypothesis import strategies as st

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import TO_CHANGE, TO_READ
from tensorkeep.commands.errors import CommandError
from tensorkeep.errors import KeyMissing
from tensorkeep.model import LoadedModel
from tensorkeep.tensor import DType, Tensor
from tensorkeep_server.commands.ai import access, wanted
from tensorkeep_server.commands.ai.deprecated_models import read_model_run
from tensorkeep_server.commands.ai.deprecated_scripts import read_script_run
from tensorkeep_server.commands.ai.execute import read_model_execute
from tensorkeep_server.commands.ai.script_execute import read_script_execute
from tensorkeep_server.dag_plan import Dialect, read_dag

TENSOR = Tensor.zeros(DType.INT8, (1,))
OTHER = (b"a", b"b", b"1", b"2", b"9", b"|>", b"|>\0c", b"|>d", b"", b"bogus")
SECTIONS = (b"KEYS", b"INPUTS", b"inputs", b"OUTPUTS", b"ARGS", b"TIMEOUT", b"$", b"NX", b"EX\0")
OPTIONS = (b"LOAD", b"PERSIST", b"ROUTING", b"TIMEOUT", b"load", b"NX", b"EX", b"KEYS")


def written(*words):
    """Returns a strategy for the words behind a name, many of them as their parsers like them."""
    word = st.sampled_from((*OTHER, *words))
    name = st.sampled_from((*OTHER, *words))

    def counted(heading, names):
        return [heading, b"%d" % len(names), *names]

    one = st.lists(word, max_size=2)
    lists = st.builds(counted, st.sampled_from(words), st.lists(name, min_size=1, max_size=3))
    plain = st.builds(lambda heading, names: [heading, *names], st.sampled_from(words), one)
    return st.lists(st.one_of(one, lists, lists, plain), max_size=4).map(
        lambda parts: [word for part in parts for word in part]
    )


def asked(found, request):
    """Returns what rights are asked for: pairs of a key and one thing that is done with it."""
    return {
        (bytes(key), kind)
        for key, kinds in found(request)
        for kind in (TO_READ, TO_CHANGE)
        if kinds & kind
    }


def uses(read, content):
    """Returns what a parser takes for inputs, outputs and keys; nothing if it refuses."""
    try:
        found = read(Args(content, 0))
    except CommandError:
        return set()
    keys = getattr(found, "keys", ())
    return {
        *((name, TO_READ) for name in (*found.inputs, *keys)),
        *((name, TO_CHANGE) for name in (*found.outputs, *keys)),
    }


def model(outputs):
    names = ("y",) * outputs
    return SimpleNamespace(loaded=LoadedModel(None, (), names, fewer_inputs=frozenset(range(9))))


@given(written(*SECTIONS), st.integers(0, 3))
def test_all_inputs_and_outputs_of_a_model_are_asked_for(content, outputs):
    request = [b"AI.MODELEXECUTE", b"m", *content]
    expected = {
        (b"m", TO_READ),
        *uses(lambda args: read_model_execute(args, model(outputs)), content),
    }
    assert expected <= asked(access.model_execute, request)
    request = [b"AI.MODELRUN", b"m", *content]
    expected = {(b"m", TO_READ), *uses(lambda args: read_model_run(args, model(outputs)), content)}
    assert expected <= asked(access.model_run, request)


@given(st.sampled_from((b"f", *SECTIONS)), written(*SECTIONS))
@example(b"ARGS", [b"INPUTS", b"1", b"a", b"OUTPUTS", b"1", b"b"])
@example(b"keys", [b"KEYS", b"1", b"a"])
@example(b"f", [b"INPUTS", b"1", b"a", b"ARGS", b"1", b"b", b"OUTPUTS", b"1", b"c"])
def test_all_keys_inputs_and_outputs_of_a_script_are_asked_for(function, content):
    content = [function, *content]
    request = [b"AI.SCRIPTEXECUTE", b"s", *content]
    expected = {(b"s", TO_READ), *uses(read_script_execute, content)}
    assert expected <= asked(access.script_execute, request)
    request = [b"AI.SCRIPTRUN", b"s", *content]
    expected = {(b"s", TO_READ), *uses(read_script_run, content)}
    assert expected <= asked(access.script_run, request)


def test_a_time_among_the_names_of_a_script_is_not_asked_for():
    words = b"AI.SCRIPTRUN s f INPUTS a TIMEOUT 5 $ b OUTPUTS TIMEOUT 5 c".split()
    expected = {(b"s", TO_READ), (b"a", TO_READ), (b"b", TO_READ), (b"c", TO_CHANGE)}
    assert asked(access.script_run, words) == expected


@given(written(*OPTIONS), st.booleans())
@example([b"ROUTING", b"|>", b"LOAD", b"1", b"a", b"PERSIST", b"1", b"a"], False)
@example([b"ROUTING", b"LOAD", b"LOAD", b"1", b"PERSIST", b"PERSIST", b"1", b"a"], False)
@example([b"LOAD", b"1", b"|>x", b"LOAD", b"1", b"a"], False)
@example([b"LOAD", b"1", b"|>\0c", b"bogus"], True)
def test_all_that_a_dag_loads_and_persists_is_asked_for(options, missing):
    loaded = set()

    def load(_, key):
        loaded.add(key)
        if missing and key[:2] == b"|>":
            raise KeyMissing(key, Tensor)
        return TENSOR

    def operation(op, draft):
        for name in op[1:]:
            draft.put(bytes(name), TENSOR, ends_in_data=False)

    dialect = Dialect(
        "", "", 0, read_only=False, needs_key_option=False, load=load, readers={b"OP": operation}
    )
    request = [b"AI.DAGRUN", *options, b"|>", b"OP", *OTHER, *OPTIONS]
    try:
        plan, _ = read_dag(Args(request), dialect, None)
        persisted = {key for key, _ in plan.persisted}
    except (CommandError, KeyMissing):
        persisted = set()
    found = asked(access.dag, request)
    assert {(key, TO_READ) for key in loaded} <= found
    assert {(key, TO_CHANGE) for key in persisted} <= found
    assert loaded <= {each.key for each in wanted.dag(request)}


def test_the_commands_of_a_dag_are_those_that_its_parser_finds():
    request = [
        b"AI.DAGEXECUTE",
        b"ROUTING",
        b"|>",
        b"|>",
        b"ai.x\0y",
        b"|>",
        b"AI.Z",
        b"|>\0",
        b"AI.V",
    ]
    assert {b"AI.X", b"AI.Z", b"AI.V"} <= set(access.commands_in_dag(request))
