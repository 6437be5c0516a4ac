"""Who is trusted with what: each line of docs/threats.md that rights draw, tried to be crossed.

With the data in memory and over an engine, whose rights then hold. Lines that limits and isolation
draw are tried where those are tested; the page names those tests, and here it is seen that they
are there.
"""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tensorkeep.backends import Backends
from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_server.settings import Settings
from tensorkeep_server.testing import Wire, WireError, port_of, running_server
from tensorkeep_valkey.testing import running_engine

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/threats.md").read_text("utf-8")
SECRET = b"TOPSECRET"
IDENTITY = '{"op": "identity"}'
OF_AI = "-@tensor -@model -@script -@run"
NO_ADMIN = "-@admin -@dangerous"

# What each is allowed, in memory and at an engine, which does not tell apart what AI commands do.
TRUST = {
    "reading": ("+@read -@keyspace +exists %R~mine:*", "+@read -@dangerous %R~mine:*"),
    "storing plain data": (
        f"+@all {NO_ADMIN} {OF_AI} ~mine:*",
        f"+@all {NO_ADMIN} -@scripting ~mine:*",
    ),
    "storing tensors": ("+@tensor ~mine:*", f"+@all {NO_ADMIN} ~mine:*"),
    "running": ("+@run +@tensor ~mine:*", f"+@all {NO_ADMIN} ~mine:*"),
    "storing models": ("+@run +@tensor +@model ~mine:*", f"+@all {NO_ADMIN} ~mine:*"),
    "storing scripts": ("+@run +@tensor +@script ~mine:*", f"+@all {NO_ADMIN} ~mine:*"),
}
ACTS = {
    "read a tensor": [("AI.TENSORGET", "mine:x", "VALUES")],
    "read text": [
        ("GET", "mine:text"),
        ("MGET", "mine:text", "mine:text"),
        ("STRLEN", "mine:text"),
    ],
    "store text": [("SET", "mine:text", "new"), ("APPEND", "mine:text", "x"), ("DEL", "mine:new")],
    "store a tensor": [("AI.TENSORSET", "mine:new", "INT8", 1)],
    "run": [
        ("AI.MODELEXECUTE", "mine:m", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "mine:y"),
        ("AI.MODELRUN", "mine:m", "INPUTS", "mine:x", "OUTPUTS", "mine:y"),
        ("AI.SCRIPTEXECUTE", "mine:s", "identity", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "mine:y"),
        ("AI.SCRIPTRUN", "mine:s", "identity", "INPUTS", "mine:x", "OUTPUTS", "mine:y"),
    ],
    "store a model": [
        ("AI.MODELSTORE", "mine:m", "ONNX", "CPU", "BLOB", IDENTITY),
        ("AI.MODELSET", "mine:m", "ONNX", "CPU", "BLOB", IDENTITY),
    ],
    "store a script": [
        ("AI.SCRIPTSTORE", "mine:s", "CPU", "ENTRY_POINTS", 1, "identity", "SOURCE", "identity"),
    ],
    "administrate": [
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "maxmemory", "0"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", "me", "on", "nopass", "+@all", "~*"),
        ("ACL", "LOG"),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("AI.CONFIG", "MODEL_CHUNK_SIZE", 100_000),
        ("AI.CONFIG", "LOADBACKEND", "TF", "x"),
        ("MONITOR",),
        ("SLOWLOG", "GET"),
        ("FLUSHALL",),
        ("SHUTDOWN", "NOSAVE"),
    ],
    "hear messages": [("SUBSCRIBE", "__keyevent@0__:set"), ("PSUBSCRIBE", "*")],
}
MAY = {
    "reading": ({"read a tensor", "read text"}, {"read a tensor", "read text"}),
    "storing plain data": (
        {"read text", "store text"},
        {"read text", "store text", "read a tensor"},
    ),
    "storing tensors": ({"read a tensor", "store a tensor"}, None),
    "running": ({"read a tensor", "store a tensor", "run"}, None),
    "storing models": ({"read a tensor", "store a tensor", "run", "store a model"}, None),
    "storing scripts": ({"read a tensor", "store a tensor", "run", "store a script"}, None),
}
OF_OTHERS = (
    ("GET", "{}"),
    ("SET", "{}", 1),
    ("SET", "{}", 1, "NX"),
    ("DEL", "{}"),
    ("RENAME", "mine:x", "{}"),
    ("COPY", "{}", "mine:copy"),
    ("AI.TENSORGET", "{}", "META"),
    ("AI.TENSORSET", "{}", "INT8", 1),
    ("AI.TENSORSET", "{}", "INT8", 1, "NX", "EX", 10),
    ("AI.MODELGET", "{}", "META"),
    ("AI.MODELDEL", "{}"),
    ("AI.MODELSTORE", "{}", "ONNX", "CPU", "BLOB", IDENTITY),
    ("AI.SCRIPTGET", "{}", "SOURCE"),
    ("AI.INFO", "{}"),
    ("AI.MODELEXECUTE", "{}", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "mine:y"),
    ("AI.MODELEXECUTE", "mine:m", "INPUTS", 1, "{}", "OUTPUTS", 1, "mine:y"),
    ("AI.MODELEXECUTE", "mine:m", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "{}"),
    ("AI.SCRIPTEXECUTE", "mine:s", "identity", "INPUTS", 1, "{}", "OUTPUTS", 1, "mine:y"),
    ("AI.SCRIPTEXECUTE", "mine:s", "identity", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "{}", "NX"),
    ("AI.DAGEXECUTE", "LOAD", 1, "{}", "|>", "AI.TENSORGET", "{}", "VALUES"),
    ("AI.DAGEXECUTE", "ROUTING", "|>", "LOAD", 1, "{}", "|>", "AI.TENSORGET", "{}", "VALUES"),
    ("AI.DAGEXECUTE", "PERSIST", 1, "{}", "NX", "|>", "AI.TENSORSET", "{}", "INT8", 1),
)


def name_of(trust):
    return trust.replace(" ", "-")


@pytest.fixture(scope="module", params=["memory", "engine", "engine and file"])
def place(request):
    """Where the data is; with a file, that has what the engine does not tell apart."""
    return request.param


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    backends = Backends(installed=lambda: ())
    backends.add("ONNX", FakeBackend())
    backends.add("TORCH", FakeBackend())
    if place == "memory":
        with running_server(Settings(), backends) as server:
            yield server
        return
    users = ""
    if place == "engine and file":
        path = tmp_path_factory.mktemp("users") / "users.acl"
        lines = [f"user {name_of(trust)} on {words}" for trust, (words, _) in TRUST.items()]
        path.write_text("\n".join(lines))
        users = str(path)
    with (
        running_engine() as engine,
        running_server(Settings(store=engine.unix, user_file=users), backends) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def admin(server):
    with Wire(port_of(server)) as wire:
        wire.ask("CONFIG", "SET", "notify-keyspace-events", "KEA")
        yield wire


@pytest.fixture(autouse=True)
def _data(admin):
    admin.ask("FLUSHALL")
    functions = ("ENTRY_POINTS", 2, "identity", "execute", "SOURCE", "identity execute run_model")
    for whose in ("mine", "theirs"):
        admin.ask("AI.TENSORSET", f"{whose}:x", "INT8", len(SECRET), "BLOB", whose.ljust(9)[:9])
        admin.ask("AI.MODELSTORE", f"{whose}:m", "ONNX", "CPU", "BLOB", IDENTITY)
        admin.ask("AI.SCRIPTSTORE", f"{whose}:s", "CPU", *functions)
        admin.ask("SET", f"{whose}:text", "text")
    admin.ask("AI.TENSORSET", "theirs:x", "INT8", len(SECRET), "BLOB", SECRET)
    admin.ask("SET", "theirs:text", SECRET)
    admin.ask("HSET", "theirs:hash", SECRET, SECRET)
    admin.ask("RPUSH", "theirs:list", SECRET)


@pytest.fixture
def trusted(server, admin, place):
    """Connects as a user who is trusted with something."""
    wires = []

    def connect(trust):
        words = TRUST[trust][place != "memory"].split()
        user = ("reset", "on", ">pw", "resetchannels", *words)
        assert admin.ask("ACL", "SETUSER", name_of(trust), *user) == b"+OK\r\n"
        wires.append(Wire(port_of(server)))
        assert wires[-1].ask("AUTH", name_of(trust), "pw") == b"+OK\r\n"
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


def may(place, trust):
    """Returns the acts that somebody may do."""
    in_memory, over_engine = MAY[trust]
    if over_engine is None:
        over_engine = {*ACTS} - {"administrate", "hear messages"}
    told_apart = {act for act in ACTS if ACTS[act][0][0].startswith("AI.")}
    return {
        "memory": in_memory,
        "engine": over_engine,
        "engine and file": (in_memory & over_engine & told_apart) | (over_engine - told_apart),
    }[place]


def refused(reply):
    return isinstance(reply, WireError) and reply.startswith("NOPERM")


# ---------------------------------------------------------------------- what each may do
@pytest.mark.parametrize("trust", TRUST)
def test_each_may_do_what_it_is_trusted_with_and_nothing_else(trusted, place, trust):
    wire = trusted(trust)
    allowed = may(place, trust)
    for act, requests in ACTS.items():
        for words in requests:
            reply = wire.read(*words)
            if act in allowed:
                assert not isinstance(reply, WireError), (words, reply)
            else:
                assert refused(reply), (act, words, reply)


@pytest.mark.parametrize("trust", TRUST)
def test_keys_of_others_are_refused_and_whether_they_are_there_is_not_told(trusted, admin, trust):
    wire = trusted(trust)
    keys = ("theirs:x", "theirs:m", "theirs:s", "theirs:text", "theirs:nothing")
    before = [admin.read("EXISTS", key) for key in keys]
    for words in OF_OTHERS:
        replies = [wire.read(*(str(word).replace("{}", key) for word in words)) for key in keys]
        assert refused(replies[0]), (words, replies)
        assert replies == replies[:1] * len(keys), words
    assert [admin.read("EXISTS", key) for key in keys] == before


@pytest.mark.parametrize("trust", TRUST)
def test_the_same_within_a_transaction(trusted, admin, trust):
    wire = trusted(trust)
    for words in OF_OTHERS[:12]:
        wire.ask("MULTI")
        queued = wire.read(*(str(word).replace("{}", "theirs:text") for word in words))
        done = wire.read("EXEC")
        assert refused(queued) or (isinstance(done, list) and refused(*done)), (words, queued, done)
    assert admin.read("GET", "theirs:text") == SECRET


# ---------------------------------------------------------------------- whatever words are sent
NAMES = (
    "mine:x",
    "mine:m",
    "mine:s",
    "mine:y",
    "mine:text",
    "theirs:x",
    "theirs:text",
    "theirs:new",
)
SECTIONS = (
    "INPUTS",
    "OUTPUTS",
    "KEYS",
    "ARGS",
    "LOAD",
    "PERSIST",
    "ROUTING",
    "TIMEOUT",
    "NX",
    "|>",
)
LIST = st.builds(
    lambda word, names: [word, len(names), *names],
    st.sampled_from(SECTIONS),
    st.lists(st.sampled_from((*NAMES, "|>", "LOAD")), min_size=1, max_size=2),
)
PART = st.one_of(
    LIST,
    LIST,
    st.lists(
        st.sampled_from((*NAMES, *SECTIONS, "1", "2", "identity", "args", "keys")), max_size=2
    ),
    st.sampled_from(
        (
            ["|>", "AI.TENSORGET", "theirs:x", "BLOB"],
            ["|>", "AI.TENSORSET", "theirs:new", "INT8", "1"],
            [
                "|>",
                "AI.MODELEXECUTE",
                "mine:m",
                "INPUTS",
                1,
                "theirs:x",
                "OUTPUTS",
                1,
                "theirs:new",
            ],
        )
    ),
)
BEGIN = st.sampled_from(
    (
        ["AI.DAGEXECUTE"],
        ["AI.DAGRUN"],
        ["AI.MODELEXECUTE", "mine:m"],
        ["AI.SCRIPTEXECUTE", "mine:s", "identity"],
        ["AI.SCRIPTEXECUTE", "mine:s", "keys"],
        ["AI.MODELRUN", "mine:m"],
        ["AI.SCRIPTRUN", "mine:s", "identity"],
        ["AI.TENSORSET", "mine:y", "INT8", 1],
        *([name] for name in ("MGET", "COPY", "RENAME", "LMOVE", "SUNIONSTORE", "ZUNION", "SORT")),
        *(
            [name]
            for name in ("OBJECT", "MEMORY", "BITOP", "GETEX", "EVAL", "ZMPOP", "LCS", "LMPOP")
        ),
    )
)


SHOWN = ["|>", "AI.TENSORGET", "theirs:x", "BLOB"]
PUT = ["|>", "AI.TENSORSET", "theirs:new", "INT8", 1]
TAKEN = ["OUTPUTS", 1, "mine:y", "EX", 9]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(request=["AI.DAGRUN", "ROUTING", "|>", "LOAD", 1, "theirs:x", *SHOWN])
@example(request=["AI.DAGRUN", "ROUTING", "|>", "PERSIST", 1, "theirs:new", *PUT])
@example(request=["AI.SCRIPTEXECUTE", "mine:s", "identity", "INPUTS", 1, "theirs:x", *TAKEN])
@given(
    request=st.builds(
        lambda begin, parts: [w for p in (begin, *parts) for w in p],
        BEGIN,
        st.lists(PART, max_size=5),
    )
)
def test_whatever_a_client_sends_what_others_have_is_neither_told_nor_changed(
    trusted, admin, place, request
):
    if not hasattr(trusted, "wire"):
        trusted.wire = trusted("storing scripts")
        if place == "memory":
            everything = (
                "+@all",
                "-@admin",
                "-@dangerous",
                "-@blocking",
                "-@pubsub",
                "-@connection",
            )
            admin.ask("ACL", "SETUSER", "storing-scripts", *everything)
    reply = trusted.wire.ask(*request)
    assert SECRET not in reply, request
    assert admin.read("AI.TENSORGET", "theirs:x", "BLOB") == SECRET
    assert admin.read("GET", "theirs:text") == SECRET
    assert admin.read("EXISTS", "theirs:new") == 0, request
    copied = [admin.read("AI.TENSORGET", "mine:y", "BLOB"), admin.read("GET", "mine:text")]
    assert SECRET not in copied, request


# ---------------------------------------------------------------------- scripts
def test_a_script_acts_with_the_rights_of_who_calls_it_whoever_stored_it(trusted, admin):
    wire = trusted("storing scripts")
    call = ("AI.SCRIPTEXECUTE", "mine:s", "execute", "KEYS", 1, "mine:k", "ARGS")
    for words in (("SET", "theirs:new", "1"), ("AI.TENSORSET", "theirs:new", "INT8", "1")):
        reply = wire.read(*call, len(words), *words)
        assert isinstance(reply, WireError)
        assert "NOPERM" in reply
        assert admin.read("EXISTS", "theirs:new") == 0
        admin.ask(*call, len(words), *words)
        assert admin.read("EXISTS", "theirs:new") == 1
        admin.ask("DEL", "theirs:new")


def test_a_script_does_no_ai_command_that_its_caller_may_not(trusted, admin, place):
    wire = trusted("storing scripts")
    words = ("AI.MODELSTORE", "mine:new", "ONNX", "CPU", "BLOB", IDENTITY)
    call = ("AI.SCRIPTEXECUTE", "mine:s", "execute", "INPUTS", 1, "mine:x", "ARGS", len(words))
    assert refused(wire.read(*words)) == (place != "engine")
    admin.ask("DEL", "mine:new")
    reply = wire.read(*call, *words)
    assert (isinstance(reply, WireError) and "NOPERM" in reply) == (place != "engine")
    assert admin.read("EXISTS", "mine:new") == (place == "engine")


def test_a_script_runs_no_model_that_its_caller_may_not_read(trusted):
    wire = trusted("storing scripts")
    for key in ("theirs:m", "theirs:nothing"):
        call = ("AI.SCRIPTEXECUTE", "mine:s", "run_model", "KEYS", 1, key, "INPUTS", 1, "mine:x")
        assert refused(wire.read(*call, "OUTPUTS", 1, "mine:y"))


# ---------------------------------------------------------------------- plain data
def test_plain_data_is_never_taken_for_a_model(trusted, admin, place):
    wire = trusted("storing plain data")
    record = (
        "tensorkeep",
        "MODEL/1",
        "id",
        "0",
        "backend",
        "ONNX",
        "pieces",
        "1",
        "blob:0",
        "nonsense",
    )
    wire.ask("HSET", "mine:h", *record)
    wire.ask("SET", "mine:t", "TENSOR/1 INT8 9999999 " + " " * 100)
    run = ("AI.MODELEXECUTE", "mine:h", "INPUTS", 1, "mine:x", "OUTPUTS", 1, "mine:y")
    assert isinstance(admin.read(*run), WireError)
    assert isinstance(admin.read("AI.TENSORGET", "mine:t", "VALUES"), WireError)
    assert admin.read("EXISTS", "mine:y") == 0
    if place == "memory":
        assert admin.read(*run).startswith("WRONGTYPE")


# ---------------------------------------------------------------------- administrators
def test_not_even_administrators_have_code_loaded_from_a_path_or_files_written(admin, tmp_path):
    target = tmp_path / "written"
    for words in (
        ("AI.CONFIG", "LOADBACKEND", "MINE", str(target)),
        ("MODULE", "LOAD", str(target)),
        ("CONFIG", "SET", "dir", str(tmp_path)),
        ("CONFIG", "SET", "aclfile", str(target)),
        ("CONFIG", "SET", "logfile", str(target)),
        ("ACL", "SAVE"),
    ):
        assert isinstance(admin.read(*words), WireError), words
    assert list(tmp_path.iterdir()) == []


def test_passwords_are_told_to_nobody(trusted, admin):
    trusted("reading")
    admin.ask("ACL", "SETUSER", "other", "on", ">unheardof", "+@all", "~*")
    for words in (("ACL", "LIST"), ("ACL", "GETUSER", "other"), ("ACL", "LOG"), ("CLIENT", "LIST")):
        assert b"unheardof" not in admin.ask(*words)
    admin.ask("ACL", "DELUSER", "other")


# ---------------------------------------------------------------------- the page
def test_each_line_of_the_page_names_tests_that_there_are():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    files = [*ROOT.glob("tests/test_*.py"), *ROOT.glob("packages/*/tests/test_*.py")]
    defined = set(re.findall(r"def (test_\w+)\(", "\n".join(p.read_text("utf-8") for p in files)))
    assert named - defined == set()
    own = set(re.findall(r"^def (test_\w+)\(", Path(__file__).read_text("utf-8"), re.MULTILINE))
    assert own - named == {"test_each_line_of_the_page_names_tests_that_there_are"}
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith(("| cannot", "| ---")):
            assert "`test_" in line, line
