"""Texts about arguments, read into the tree that COMMAND DOCS answers."""

import pytest

from tensorkeep_memory.store import MemoryStore
from tensorkeep_server.commands import with_commands_of
from tensorkeep_server.syntax import Parameter, read_syntax

COMMANDS = with_commands_of(MemoryStore())


def value(name, token="", **flags):
    return Parameter(name, "string", token, **flags)


def word(token, **flags):
    return Parameter(token.lower(), "pure-token", token, **flags)


def block(*arguments, **flags):
    return Parameter(" ".join(a.name for a in arguments), "block", arguments=arguments, **flags)


def one_of(*arguments, after="", **flags):
    name = " | ".join(a.name for a in arguments)
    return Parameter(name, "oneof", after, arguments=arguments, **flags)


@pytest.mark.parametrize(
    ("syntax", "parameters"),
    [
        ("", []),
        ("key db", [value("key"), value("db")]),
        ("[count]", [value("count", optional=True)]),
        ("[event ...]", [value("event", optional=True, multiple=True)]),
        ("ON | OFF", [one_of(word("ON"), word("OFF"))]),
        ("[NX | XX]", [one_of(word("NX"), word("XX"), optional=True)]),
        ("key INPUTS count", [value("key"), value("count", "INPUTS")]),
        ("[TAG tag] [META]", [value("tag", "TAG", optional=True), word("META", optional=True)]),
        ("GET THIS", [word("GET"), word("THIS")]),
        ("META [count]", [word("META"), value("count", optional=True)]),
        (
            "(LEFT | RIGHT) (LEFT | RIGHT)",
            [one_of(word("LEFT"), word("RIGHT")), one_of(word("LEFT"), word("RIGHT"))],
        ),
        ("[BY (A | B)]", [one_of(word("A"), word("B"), after="BY", optional=True)]),
        ("BLOB data ...", [value("data", "BLOB", multiple=True)]),
        (
            "[count [WITH]]",
            [block(value("count"), word("WITH", optional=True), optional=True)],
        ),
        (
            "EX seconds | A b c",
            [one_of(value("seconds", "EX"), block(value("b", "A"), value("c")))],
        ),
    ],
)
def test_a_text_is_read_as_people_mean_it(syntax, parameters):
    assert read_syntax(syntax) == tuple(parameters)


@pytest.mark.parametrize(
    ("syntax", "parameters"),
    [
        ("key [key ...]", [value("key", multiple=True)]),
        ("count key [key ...] [LIMIT n]", [
            *(value("count"), value("key", multiple=True), value("n", "LIMIT", optional=True)),
        ]),
        ("key field value [field value ...]", [
            value("key"), block(value("field"), value("value"), multiple=True),
        ]),
        ("|> op [|> op ...]", [value("op", "|>", multiple=True, repeats_token=True)]),
        ("key [other ...]", [value("key"), value("other", optional=True, multiple=True)]),
        ("key (key)", [value("key"), value("key")]),
    ],
)  # fmt: skip
def test_what_is_written_again_in_brackets_with_dots_may_be_repeated(syntax, parameters):
    assert read_syntax(syntax) == tuple(parameters)


@pytest.mark.parametrize("syntax", ["[key", "key]", "[key (a | b]", "key | ) b", "a [b | c"])
def test_brackets_that_do_not_match_are_an_error(syntax):
    with pytest.raises(ValueError, match=r"is (opened|closed) here"):
        read_syntax(syntax)


def test_the_words_of_every_command_can_be_read():
    for item in COMMANDS:
        for each in (item, *item.subcommands):
            assert bool(read_syntax(each.syntax)) == bool(each.syntax), each.full_name
