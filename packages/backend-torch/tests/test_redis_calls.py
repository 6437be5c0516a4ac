"""What scripts ask of the server: commands, and stored models."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from tensorkeep.device import CPU
from tensorkeep.errors import CommandFailed, RunFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep.tensor import DType, Tensor

ENTRY = "(tensors: List[Tensor], keys: List[str], args: List[str])"
HELPERS = """
def text(value: Any):
    return torch.tensor([ord(each) for each in str(value)], dtype=torch.int64)
def number(value: Any):
    return torch.tensor(int(str(value)))
"""


def spell(tensor):
    return "".join(map(chr, tensor.values()))


@pytest.fixture
def ask(compile_script, call):
    """Calls an entry point whose body is given, and returns its one output."""

    def ask(body, *tensors, outputs=1, **given):
        source = f"{HELPERS}def f{ENTRY}:\n{body}"
        results = call(compile_script(source, "f"), "f", *tensors, outputs=outputs, **given)
        return results[0] if outputs else None

    return ask


@pytest.fixture
def failure(ask):
    def failure(body, *arguments, **given):
        with pytest.raises(RunFailed) as caught:
            ask(body, *arguments, **given)
        return str(caught.value)

    return failure


# --------------------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ("'PING'", [b"PING"]),
        ("'SET', 'k', 'v'", [b"SET", b"k", b"v"]),
        ("'SET', ['k', 'v']", [b"SET", b"k", b"v"]),
        ("'SET', args=['k', 'v']", [b"SET", b"k", b"v"]),
        ("cmd='SET', args=['k']", [b"SET", b"k"]),
        ("'SET', 'k', 1", [b"SET", b"k", b"1"]),
        ("'SET', 'k', -9223372036854775807", [b"SET", b"k", b"-9223372036854775807"]),
        ("'SET', 'k', 0.1", [b"SET", b"k", b"0.1"]),
        ("'SET', 'k', 1e300", [b"SET", b"k", b"1e+300"]),
        ("'SET', 'k', True, False", [b"SET", b"k", b"1", b"0"]),
        (
            "'RPUSH', 'k', ['a', 'b'], [1, 2], [0.5]",
            [b"RPUSH", b"k", b"a", b"b", b"1", b"2", b"0.5"],
        ),
        ("'SET', keys[0], args[0]", [b"SET", b"a key", "ünïcode".encode()]),
        ("'SET', 'before\\000after'", [b"SET", b"before\0after"]),
        ("'SET', ''", [b"SET", b""]),
        (", ".join(["'MANY'", *map(str, range(40))]), [b"MANY", *(b"%d" % n for n in range(40))]),
    ],
)
def test_arguments_of_any_number_and_kind_become_words(ask, keyspace, arguments, asked):
    command, *words = asked
    keyspace.replies[command.decode()] = b"OK"

    ask(
        f"    redis.execute({arguments})\n    return tensors\n",
        [1],
        keys=[b"a key"],
        arguments=["ünïcode".encode()],
    )

    assert keyspace.asked == [(command.decode(), *words)]


@pytest.mark.parametrize("name", ["redis", "Redis", "REDIS"])
def test_the_name_is_matched_without_case(ask, keyspace, name):
    keyspace.replies["PING"] = b"PONG"

    assert spell(ask(f"    return text({name}.execute('PING'))\n")) == "PONG"


@pytest.mark.parametrize(
    ("value", "kind"), [("torch.ones(1)", "Tensor"), ("None", "None"), ("{'a': 1}", "dict")]
)
def test_what_cannot_be_an_argument_is_named(failure, value, kind):
    text = failure(f"    redis.execute('SET', 'k', {value})\n    return tensors\n", [1])

    assert f"redis.execute takes str, int, float and bool, not {kind}" in text


BYTES = [b"", b"\0", b"k\0z", b"\xff", b"\xfe\0\x80", b"[\"'\\\n\xc3", bytes(range(256)), b"\0" * 3]


@pytest.mark.parametrize("word", BYTES)
def test_any_bytes_reach_commands_whole(ask, keyspace, word):
    keyspace.replies["SET"] = b"OK"
    body = """
    redis.execute("SET", keys[0], args[0])
    redis.execute("SET", [keys[0], args[0]], 1)
    return tensors
"""

    ask(body, [1], keys=[word], arguments=[word])

    assert keyspace.asked == [("SET", word, word), ("SET", word, word, b"1")]


@pytest.mark.parametrize("word", BYTES)
def test_any_bytes_come_back_and_go_out_again_whole(ask, keyspace, word):
    replies = [word, [word, 1, [word]], [[word], None]]
    keyspace.replies |= {"GET": lambda at: replies[int(at)], "SET": b"OK"}
    body = """
    redis.execute("SET", str(redis.execute("GET", 0)))
    outer = redis.asList(redis.execute("GET", 1))
    redis.execute("SET", str(outer[0]), str(redis.asList(outer[2])[0]))
    inner = redis.asList(redis.asList(redis.execute("GET", 2))[0])
    redis.execute("SET", str(inner[0]))
    return number(len(str(redis.execute("GET", 0))))
"""

    assert ask(body).values() == [len(word)]
    assert [words for command, *words in keyspace.asked if command == "SET"] == [
        [word],
        [word, word],
        [word],
    ]


@pytest.mark.parametrize("word", BYTES)
def test_names_of_commands_and_models_are_any_bytes(ask, keyspace, failure, word):
    name = word.decode("utf-8", "surrogateescape")
    keyspace.replies |= {name: b"OK"}

    ask("    redis.execute(keys[0])\n    return tensors\n", [1], keys=[word])
    assert keyspace.asked == [(name,)]

    keyspace.replies[name] = lambda tensor: [tensor]
    ask("    return redisAI.model_execute(keys[0], tensors, 1)\n", [1], keys=[word])
    assert keyspace.asked[1:] == [(name, 1)]


def test_the_text_of_an_error_tells_of_bytes_that_are_no_text(failure, keyspace):
    keyspace.replies["GET"] = CommandFailed("ERR no key k\0z\udcff")
    body = "    redis.execute('GET', keys[0])\n    return tensors\n"

    assert (
        failure(body, [1], keys=[b"k"])
        .rstrip()
        .endswith("Redis command returned an error: ERR no key k\\x00z\\xff")
    )


def test_a_script_may_fail_with_any_bytes(failure):
    body = "    raise Exception(keys[0])\n    return tensors\n"

    text = failure(body, [1], keys=[b"not \xff text"])
    assert text.rstrip().endswith("Exception: not \udcff text")


def test_a_call_whose_reply_is_not_used_is_made_all_the_same(ask, keyspace):
    keyspace.replies["INCR"] = 1

    ask("    redis.execute('INCR', 'k')\n    redis.execute('INCR', 'k')\n    return tensors\n", [1])

    assert keyspace.asked == [("INCR", b"k")] * 2


def test_calls_are_made_in_loops_and_helpers_in_their_order(ask, keyspace):
    keyspace.replies["ECHO"] = b""
    body = (
        "    for i in range(3):\n"
        "        redis.execute('ECHO', i)\n"
        "    return number(0 if redis.execute('ECHO', 'last') is None else 1)\n"
    )

    assert ask(body).values() == [1]
    assert keyspace.asked == [("ECHO", word) for word in (b"0", b"1", b"2", b"last")]


# --------------------------------------------------------------------------- replies
@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"a value", "a value"),
        (b"", ""),
        ("ünï".encode(), "\xc3\xbcn\xc3\xaf"),  # TorchScript looks at bytes
        (b"\xff\xfe", "\xff\xfe"),
        (b"before\0after", "before\0after"),
        (12, "12"),
        (-(2**62), str(-(2**62))),
        (None, "None"),
        ([b"a", 1, None], "[a, 1, None]"),
        ([], "[]"),
        ([b"0", [b"a", b"b"]], "[0, (a, b)]"),
    ],
)
def test_replies_of_every_kind_are_taken(ask, keyspace, reply, text):
    keyspace.replies["ASK"] = reply

    assert spell(ask("    return text(redis.execute('ASK'))\n")) == text


def test_the_kind_of_a_reply_can_be_asked_for(ask, keyspace):
    keyspace.replies.update(TEXT=b"1", NUMBER=1, NOTHING=None, LIST=[1])
    body = (
        "    n = 0\n"
        "    if isinstance(redis.execute('TEXT'), str):\n        n += 1\n"
        "    if isinstance(redis.execute('NUMBER'), int):\n        n += 10\n"
        "    if str(redis.execute('NOTHING')) == 'None':\n        n += 100\n"
        "    if isinstance(redis.execute('LIST'), List[Any]):\n        n += 1000\n"
        "    return torch.tensor(n)\n"
    )

    assert ask(body).values() == [1111]


def test_arrays_become_lists_whatever_is_in_them(ask, keyspace):
    keyspace.replies["HVALS"] = [b"2", b"3"]
    body = (
        "    values = redis.asList(redis.execute('HVALS', keys[0]))\n"
        "    return torch.cat([number(each).reshape(1, 1) for each in values], dim=0)\n"
    )

    output = ask(body, keys=[b"k"])

    assert (output.dtype, output.shape, output.values()) == (DType.INT64, (2, 1), [2, 3])


def test_arrays_within_arrays_become_lists_as_well(ask, keyspace):
    keyspace.replies["SCAN"] = [b"0", [b"a", [], [1, [2, None]]]]
    body = (
        "    inner = redis.asList(redis.asList(redis.execute('SCAN'))[1])\n"
        "    empty = redis.asList(inner[1])\n"
        "    deep = redis.asList(redis.asList(inner[2])[1])\n"
        "    return torch.tensor([len(inner), len(empty), len(deep), int(str(deep[0]))])\n"
    )

    assert ask(body).values() == [3, 0, 2, 2]


@pytest.mark.parametrize(("reply", "kind"), [(b"text", "str"), (1, "int"), (None, "None")])
def test_what_is_no_array_cannot_be_made_a_list(failure, keyspace, reply, kind):
    keyspace.replies["ASK"] = reply

    text = failure("    redis.asList(redis.execute('ASK'))\n    return tensors\n", [1])

    assert f"redis.asList takes the reply of an array, not {kind}" in text


def test_integers_keep_their_64_bits(ask, keyspace):
    keyspace.replies["GET"] = 2**40

    output = ask("    return number(redis.execute('GET', 'k'))\n")

    assert (output.dtype, output.shape, output.values()) == (DType.INT64, (), [2**40])


# --------------------------------------------------------------------------- errors
def test_an_error_reply_is_an_exception_with_its_text(failure, keyspace):
    keyspace.replies["GET"] = CommandFailed("WRONGTYPE Operation against a key")

    text = failure("    x = 1\n    redis.execute('GET', 'k')\n    return tensors\n", [1])

    assert "Redis command returned an error: WRONGTYPE Operation against a key" in text
    assert "redis.execute('GET', 'k')" in text
    for hidden in ("tensorkeep", "ScriptError", "At:", ".py", "frame #"):
        assert hidden not in text


def test_a_command_that_scripts_may_not_run_is_told(failure, keyspace):
    keyspace.replies["BLPOP"] = CommandFailed("ERR This command is not allowed from script")

    assert "not allowed from script" in failure(
        "    redis.execute('BLPOP', 'k', 0)\n    return tensors\n", [1]
    )


def test_a_script_that_would_call_itself_is_told(failure, keyspace):
    keyspace.replies["AI.SCRIPTEXECUTE"] = CommandFailed("ERR not from a script")

    text = failure(
        "    redis.execute('AI.SCRIPTEXECUTE', 'me', 'f', 'KEYS', 1, 'x')\n    return tensors\n",
        [1],
    )

    assert "Redis command returned an error: ERR not from a script" in text


def test_a_script_works_on_after_an_error(ask, failure, keyspace):
    failure("    redis.execute('NO')\n    return tensors\n", [1])
    keyspace.replies["GET"] = b"7"

    assert ask("    return number(redis.execute('GET', 'k'))\n").values() == [7]


def test_a_run_that_was_cancelled_asks_for_nothing_more(failure, keyspace):
    context = RunContext(CPU)

    def reply(*_):
        context.cancel()
        return b"OK"

    keyspace.replies["SET"] = reply
    body = "    redis.execute('SET', 'a')\n    redis.execute('SET', 'b')\n    return tensors\n"

    assert failure(body, [1], context=context).startswith("The run was ended")
    assert keyspace.asked == [("SET", b"a")]


def test_a_forked_task_cannot_ask(compile_script, call):
    source = (
        "def there(x):\n    redis.execute('PING')\n    return x\n"
        "def f(x):\n    return torch.jit.wait(torch.jit.fork(there, x))\n"
    )

    with pytest.raises(RunFailed, match=r"redis\.execute cannot be called in a task of torch\.jit"):
        call(compile_script(source), "f", [1])


# --------------------------------------------------------------------------- models
def test_a_stored_model_is_run(ask, keyspace):
    keyspace.replies["m"] = lambda a, b: [Tensor.from_numpy(a.numpy() + b.numpy())]

    output = ask("    return redisAI.model_execute(keys[0], tensors, 1)\n", [1], [2], keys=[b"m"])

    assert output.values() == [3]
    assert keyspace.asked == [("m", 1)]


def test_a_model_may_have_several_outputs(ask, keyspace):
    keyspace.replies["m"] = lambda a: [a, Tensor.from_numpy(a.numpy() * 2)]
    body = "    a, b = redisai.model_execute('m', [tensors[0]], 2)\n    return a + b\n"

    assert ask(body, [1, 2]).values() == [3, 6]


def test_what_a_model_fails_with_is_told(failure, keyspace):
    keyspace.replies["m"] = RunFailed("Invalid rank for input: X")

    text = failure("    return redisAI.model_execute('m', tensors, 1)\n", [1])

    assert "Invalid rank for input: X" in text
    assert "ScriptError" not in text


def test_a_model_that_is_not_there_is_told(failure):
    assert "model key is empty" in failure(
        "    return redisAI.model_execute('no', tensors, 1)\n", [1]
    )


def test_what_a_script_writes_to_is_its_own(ask, keyspace):
    kept = []

    def model(a):
        kept.append(a)
        return [a]

    keyspace.replies["m"] = model
    given = Tensor.from_numpy(np.zeros(10_000, np.float32))
    body = "    out = redisAI.model_execute('m', tensors, 1)\n    out[0].add_(1)\n    return out\n"

    output = ask(body, given)

    assert output.numpy().all()
    assert not given.numpy().any()
    assert not kept[0].numpy().any()


def test_each_thread_asks_its_own_server(compile_script, call, keyspace):
    script = compile_script(
        f"{HELPERS}def f{ENTRY}:\n    return number(redis.execute('ECHO', args[0]))\n", "f"
    )
    keyspace.replies["ECHO"] = lambda word: word
    wrong = []

    def work(number):
        for turn in range(50):
            word = b"%d" % (number * 1000 + turn)
            (output,) = call(script, "f", arguments=[word])
            if output.values() != [int(word)]:
                wrong.append(word)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong
    assert len(keyspace.asked) == 200


def test_nothing_is_printed_about_the_style_of_a_script():
    code = (
        "from tensorkeep.config import BackendOptions;"
        "from tensorkeep.model import ScriptSpec;"
        "from tensorkeep_torch import plugin;"
        f"source = 'def f{ENTRY}:\\n    return 1if True else 2';"
        "print(plugin.script_create(ScriptSpec(entry_points=('f',)), source.encode(),"
        " BackendOptions()) is not None)"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True
    )

    assert (ran.stdout, ran.stderr) == ("True\n", "")
