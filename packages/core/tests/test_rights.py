"""What users may do: the words that say so, and what follows for requests."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep.commands.args import Args
from tensorkeep.commands.command import (
    NO_AUTH,
    READONLY,
    TO_CHANGE,
    TO_READ,
    WRITE,
    Channels,
    CommandTable,
    command,
    container,
    only_subcommands,
)
from tensorkeep.rights.passwords import fits, hashed, new_password
from tensorkeep.rights.rules import RuleError, changed
from tensorkeep.rights.user import EVERYTHING, Rights
from tensorkeep.rights.users import FileError, Users, read_lines


def _command(name, **more):
    given = {"group": "string", "arity": -1, "keys": (1, 1, 1), **more}
    return command(name, Args.take_rest, lambda *_: None, summary="", **given)


TABLE = CommandTable(
    (
        _command("get", flags=(READONLY,)),
        _command("set", flags=(WRITE,)),
        _command("incr", flags=(WRITE,), access=(TO_READ | TO_CHANGE,)),
        _command("copy", flags=(WRITE,), keys=(1, 2, 1), access=(TO_READ, TO_CHANGE)),
        _command("exists", flags=(READONLY,), keys=(1, -1, 1), access=(0,)),
        _command("select", group="connection", keys=(0, 0, 0)),
        _command("auth", group="connection", keys=(0, 0, 0), flags=(NO_AUTH,)),
        _command("publish", group="pubsub", keys=(0, 0, 0), channels=Channels(1, 1)),
        _command(
            "psubscribe", group="pubsub", keys=(0, 0, 0), channels=Channels(1, -1, patterns=True)
        ),
        _command("chain", keys=(0, 0, 0), inner=lambda request: request[1:]),
        container(
            only_subcommands("config", summary="", group="server", since="1"),
            (
                _command("get", group="server", categories=("admin",), keys=(0, 0, 0)),
                _command("set", group="server", categories=("admin",), keys=(0, 0, 0)),
            ),
        ),
    )
)


def rights(*words):
    return changed(Rights(), [word.encode() for word in words], TABLE)


def denial(given, *request):
    asked = [word.encode() for word in request]
    found, _ = TABLE.find(asked)
    return given.denial(TABLE, found, asked)


def allows(given, *request):
    return denial(given, *request) is None


# ---------------------------------------------------------------------- commands
def test_the_last_rule_that_speaks_of_a_command_holds():
    given = rights("~*", "+@all", "-@write", "+set")

    assert allows(given, "get", "k")
    assert allows(given, "set", "k", "v")
    assert not allows(given, "incr", "k")


def test_a_new_user_may_do_nothing_but_say_who_it_is():
    assert allows(Rights(), "auth", "x")
    for request in (["get", "k"], ["select", "0"], ["config", "get", "x"]):
        assert not allows(Rights(), *request)


def test_a_rule_on_a_container_is_one_on_all_its_subcommands():
    assert allows(rights("+config"), "config", "get", "x")
    assert not allows(rights("+config", "-config|set"), "config", "set", "x")
    assert allows(rights("+config|get"), "config", "get", "x")
    assert not allows(rights("+config|get"), "config", "set", "x")
    assert not allows(rights("+config|get", "-config"), "config", "get", "x")


def test_a_first_argument_may_be_allowed_alone_whatever_its_case():
    given = rights("+select|0", "+select|abc")

    assert allows(given, "select", "0")
    assert allows(given, "select", "ABC")
    assert not allows(given, "select", "1")
    assert not allows(rights("+select|0", "-select"), "select", "0")
    assert not allows(rights("+select|0", "-@connection"), "select", "0")


def test_a_command_that_does_others_needs_the_right_to_each():
    given = rights("~*", "+chain", "+get")

    assert allows(given, "chain", "get", "get")
    assert denial(given, "chain", "get", "set").what == b"set"
    assert allows(given, "chain", "no-such-command")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["+nothing"], "Unknown command or category name in ACL"),
        (["-nothing"], "Unknown command or category name in ACL"),
        (["+@nothing"], "Unknown command or category name in ACL"),
        (["+config|nothing"], "Unknown command or category name in ACL"),
        (["-select|1"], "Unknown command or category name in ACL"),
        (["+config|get|x"], "Allowing first-arg of a subcommand is not supported"),
        (["+get|"], "Syntax error"),
        (["+get|a\nuser b on nopass"], "Syntax error"),
        (["nothing"], "Syntax error"),
        (["%X~k"], "Syntax error"),
        (["%~k"], "Syntax error"),
        (["~a b"], "Syntax error"),
        (["(>password)"], "Syntax error"),
        (["#abc"], "The password hash must be exactly 64 characters"),
        (["<unknown"], "The password you are trying to remove from the user does not exist"),
        (["allkeys", "~k"], "Adding a pattern after the * pattern (or the 'allkeys' flag)"),
        (["&*", "&c"], "Adding a pattern after the * pattern (or the 'allchannels' flag)"),
        (["(+get", "~k"], "Unmatched parenthesis in acl selector starting at '(+get'."),
    ],
)
def test_a_word_that_changes_nothing_is_refused_with_the_reason(words, why):
    with pytest.raises(RuleError) as error:
        rights(*words)

    assert str(error.value).startswith(why)


# ---------------------------------------------------------------------- keys, channels
def test_reading_and_changing_a_key_are_two_rights():
    reader, writer = rights("%R~r:*", "%W~w:*", "+@all"), rights("%RW~k", "+@all")

    assert allows(reader, "get", "r:1")
    assert not allows(reader, "set", "r:1", "v")
    assert allows(reader, "set", "w:1", "v")
    assert not allows(reader, "get", "w:1")
    assert not allows(reader, "incr", "w:1")
    assert allows(reader, "copy", "r:1", "w:1")
    assert denial(reader, "copy", "r:1", "r:2").what == b"r:2"
    assert allows(writer, "incr", "k")


def test_whether_a_key_is_there_may_be_asked_by_who_may_use_it_at_all():
    given = rights("%R~r", "%W~w", "+@all")

    assert allows(given, "exists", "r", "w")
    assert denial(given, "exists", "r", "x").what == b"x"


def test_patterns_of_one_name_with_two_rights_are_one():
    assert [*rights("%R~k", "%W~k").words()][1] == b"~k"


def test_channels_are_allowed_by_patterns_and_patterns_by_their_own_words():
    given = rights("+@all", "&news:*")

    assert allows(given, "publish", "news:1", "x")
    assert not allows(given, "publish", "other", "x")
    assert allows(given, "psubscribe", "news:*")
    assert not allows(given, "psubscribe", "news:a*")


def test_a_request_needs_one_selector_that_allows_all_of_it():
    given = rights("+get", "~a", "(+set ~b)", "(+get ~c)")

    assert allows(given, "get", "a")
    assert allows(given, "set", "b", "v")
    assert allows(given, "get", "c")
    assert not allows(given, "set", "a", "v")
    assert not allows(given, "get", "b")
    assert not allows(changed(given, [b"clearselectors"], TABLE), "get", "c")


def test_of_several_denials_the_one_that_came_furthest_is_told():
    given = rights("+copy", "~a", "(+get ~*)")

    assert denial(given, "copy", "a", "b").reason == "key"
    assert denial(given, "copy", "a", "b").what == b"b"
    assert denial(given, "set", "a", "b").reason == "command"


# ---------------------------------------------------------------------- as text
WORDS = st.sampled_from(
    [
        *("on", "off", "nopass", "resetpass", ">a", ">b", "skip-sanitize-payload", "reset"),
        *("~*", "~k", "%R~k", "%W~k", "%R~x*", "resetkeys", "&*", "&c", "&d*", "resetchannels"),
        *("+@all", "-@all", "+get", "-get", "+@read", "-@write", "+config", "-config|set"),
        *("+config|get", "+select|0", "+select|1", "-select", "(+get ~s)", "(~* &c +@all -set)"),
        *("clearselectors", "#" + sha256(b"c").hexdigest()),
    ]
)


@given(st.lists(WORDS, max_size=12))
def test_the_words_that_describe_rights_make_them_again(words):
    made = Rights()
    for word in words:
        try:
            made = changed(made, [word.encode()], TABLE)
        except RuleError:
            continue

    again = changed(Rights(), b" ".join(made.words()).split(), TABLE)

    assert again == made
    for request in (["get", "k"], ["set", "x1", "v"], ["select", "0"], ["config", "set", "a"]):
        assert denial(again, *request) == denial(made, *request)


def test_who_may_do_everything_is_known_to():
    assert EVERYTHING.unrestricted
    assert rights("~*", "&*", "+@all").unrestricted
    assert not rights("~*", "&*", "+@all", "-get").unrestricted
    assert not rights("~*", "+@all").unrestricted


# ---------------------------------------------------------------------- users
def test_passwords_are_kept_as_hashes_and_several_do():
    users = Users(TABLE)
    users.change(b"a", [b"on", b">one", b">two"])

    assert users.authenticate(b"a", b"one").name == b"a"
    assert users.authenticate(b"a", b"two") is not None
    assert users.authenticate(b"a", b"three") is None
    assert users.authenticate(b"nobody", b"one") is None
    assert hashed(b"one") in users.lines()[0].decode()
    assert b"one" not in users.lines()[0]


def test_a_user_that_is_off_is_not_let_in():
    users = Users(TABLE)
    users.change(b"a", [b">one"])

    assert users.authenticate(b"a", b"one") is None


def test_each_of_several_hashes_is_looked_at():
    hashes = [hashed(b"one"), hashed(b"two")]

    assert fits(b"one", hashes)
    assert fits(b"two", hashes)
    assert not fits(b"", hashes)


@pytest.mark.parametrize(("bits", "digits"), [(1, 1), (4, 1), (5, 2), (256, 64), (4096, 1024)])
def test_a_new_password_has_enough_digits_and_is_another_each_time(bits, digits):
    assert len(new_password(bits)) == digits
    if bits > 100:
        assert new_password(bits) != new_password(bits)


def test_a_change_that_fails_changes_nothing():
    users = Users(TABLE)
    users.change(b"a", [b"on", b">one"])
    before = users.lines()

    with pytest.raises(RuleError):
        users.change(b"a", [b"off", b"resetpass", b"+nothing"])
    with pytest.raises(RuleError):
        users.change(b"b", [b"on", b"+nothing"])

    assert users.lines() == before


def test_a_client_need_not_say_who_it_is_while_the_default_user_needs_no_password():
    users = Users(TABLE)
    assert users.first() is users.default

    users.set_password(b"secret")
    assert users.first() is None
    assert users.authenticate(b"default", b"secret") is users.default

    users.set_password(b"")
    assert users.first() is users.default
    users.change(b"default", [b"off"])
    assert users.first() is None


def test_a_file_of_users_is_read_whole_or_not_at_all():
    users = Users(TABLE)
    lines = [b"# of the shop", b"", b"user default off", b"user a on >x ~a:* +@read (~b +set)"]

    users.replace(read_lines(lines, "users.acl", TABLE))
    described = users.lines()

    assert users.first() is None
    assert users.authenticate(b"a", b"x") is not None
    wrong = [b"user a on", b"user a off", b"usr b", b"user c +nothing", b"user d ~* ~x >secret <y"]
    wrong += [b"user e\0 on"]
    with pytest.raises(FileError) as error:
        read_lines(wrong, "users.acl", TABLE)
    told = str(error.value)
    for number in range(2, 7):
        assert f"users.acl:{number}: " in told
    assert "secret" not in told
    assert users.lines() == described
    assert read_lines(described, "again", TABLE)[b"a"] == users.get(b"a").rights


def test_users_that_a_file_does_not_name_are_gone_but_the_default_one():
    users = Users(TABLE)
    gone = users.change(b"gone", [b"on"])
    kept = users.change(b"kept", [b"on"])

    assert users.replace(read_lines([b"user kept on ~x +get"], "f", TABLE)) == [gone]
    assert users.get(b"kept") is kept
    assert [user.name for user in users] == [b"default", b"kept"]
    assert allows(kept.rights, "get", "x")


def test_where_commands_are_an_engines_any_may_be_named():
    found = read_lines([b"user a ~k +nobody-knows +@nothing -get"], "f", None)

    assert not allows(found[b"a"], "get", "k")


# ---------------------------------------------------------------------- what is remembered
def found(*words):
    asked = [word.encode() for word in words]
    return TABLE.find(asked)[0], asked


def test_what_is_allowed_is_remembered_until_the_rights_change():
    users = Users(TABLE)
    user = users.change(b"a", [b"on", b"~k", b"+@all"])
    get, set_, copy = found("get", "k"), found("set", "k", "v"), found("copy", "k", "k")
    assert not user.remembers(*get)

    for each in (get, copy):
        user.remember(*each)

    assert user.remembers(*get)
    assert user.remembers(*copy)
    assert not user.remembers(*set_)
    assert not user.remembers(*found("get", "other"))
    assert not user.remembers(*found("copy", "k", "other"))
    users.change(b"a", [b"-get"])
    assert not user.remembers(*get)
    assert not user.remembers(*copy)


def test_no_more_is_remembered_than_there_is_room_for():
    user = Users(TABLE).change(b"a", [b"on", b"~*", b"+@all"])
    large = found("copy", "k" * 2000, "k")
    many = found("exists", *map(str, range(100)))
    view = (found("get", "k")[0], [b"get", memoryview(bytearray(b"k"))])

    for each in (large, many, view):
        user.remember(*each)
        assert not user.remembers(*each)
    for number in range(5000):
        user.remember(*found("get", str(number)))
    assert len(user._allowed) <= 1024
