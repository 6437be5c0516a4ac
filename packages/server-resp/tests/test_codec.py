"""Requests and replies on the wire, one rule at a time."""

import math
import sys
import weakref
from pathlib import Path

import pytest

from tensorkeep.commands.reply import (
    NULL_ARRAY,
    OK,
    BigNumber,
    Error,
    Map,
    Push,
    Set,
    Simple,
    Verbatim,
)
from tensorkeep.headroom import HEADROOM
from tensorkeep.testing.scarce_memory import at_each_line
from tensorkeep_server import codec
from tensorkeep_server.codec import LARGE, Limits, RequestParser, Unread
from tensorkeep_server.encoding import LARGE_BULK, encode
from tensorkeep_server.portions import Piece, take

# Whole, so that the splitter sees it; and in the smallest pieces, so that only the reader that
# reads step by step does.
PIECES = [10**9, 1]
in_any_pieces = pytest.mark.parametrize("piece", PIECES, ids=["whole", "bytewise"])


def read(parser, data, piece=10**9):
    """Feeds data in pieces of the given size; returns the requests as lists of bytes."""
    requests = []
    for start in range(0, len(data), piece):
        requests += parser.feed(data[start : start + piece])
    return [[bytes(argument) for argument in request] for request in requests]


def wire(*arguments):
    bulks = (b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments)
    return b"*%d\r\n%b" % (len(arguments), b"".join(bulks))


def violation(parser):
    assert parser.error is not None
    return parser.error.line


def room_of(parser):
    room = parser.wants()
    assert room is not None
    return room


class TestRequests:
    @in_any_pieces
    def test_a_request_is_its_arguments(self, piece):
        assert read(RequestParser(Limits()), wire(b"SET", b"key", b""), piece) == [
            [b"SET", b"key", b""]
        ]

    @in_any_pieces
    def test_an_argument_may_contain_whatever_means_something_elsewhere(self, piece):
        argument = b"\r\n*1\r\n$4\r\nPING\r\n>\0"

        requests = read(RequestParser(Limits()), wire(b"SET", argument) + wire(b"GET"), piece)

        assert requests == [[b"SET", argument], [b"GET"]]

    def test_a_piece_that_looks_like_a_request_stays_part_of_the_argument(self):
        parser = RequestParser(Limits())

        assert read(parser, b"*2\r\n$4\r\nECHO\r\n$14\r\n") == []
        assert read(parser, wire(b"PING")) == []
        assert read(parser, b"\r\n") == [[b"ECHO", wire(b"PING")]]

    def test_a_piece_that_looks_like_a_request_stays_part_of_the_line(self):
        parser = RequestParser(Limits())

        assert read(parser, b"ECHO ") == []
        assert read(parser, wire(b"PING")) == [[b"ECHO", b"*1"], [b"$4"], [b"PING"]]

    @in_any_pieces
    @pytest.mark.parametrize("nothing", [b"*0\r\n", b"*-1\r\n", b"*-7\r\n", b"\r\n", b"\n", b" \n"])
    def test_an_empty_request_is_ignored(self, nothing, piece):
        data = nothing + wire(b"PING") + nothing + wire(b"TIME") + nothing

        assert read(RequestParser(Limits()), data, piece) == [[b"PING"], [b"TIME"]]

    def test_a_request_that_never_ends_is_never_delivered(self):
        assert read(RequestParser(Limits()), wire(b"SET", b"key", b"value")[:-1]) == []

    @in_any_pieces
    def test_what_ends_a_bulk_is_not_looked_at(self, piece):
        data = b"*2\r\n$3\r\nGETxx$1\r\nayy" + wire(b"PING")

        assert read(RequestParser(Limits()), data, piece) == [[b"GET", b"a"], [b"PING"]]

    @pytest.mark.parametrize("count", [1023, 1024, 20_000])
    def test_a_request_may_have_very_many_arguments(self, count):
        arguments = [b"DEL", *(b"%d" % number for number in range(count - 1))]

        assert read(RequestParser(Limits()), wire(*arguments) * 2) == [arguments] * 2

    @pytest.mark.parametrize("size", [999, 1000, 4095, 4096, 10_000, LARGE - 1, LARGE])
    @pytest.mark.parametrize("before", [1, 200], ids=["soon", "far behind"])
    def test_bulks_of_every_size_are_read_among_small_ones(self, size, before):
        request = [*([b"word"] * before), b"x" * size, b"word"]

        assert read(RequestParser(Limits()), wire(*request) * 3) == [request] * 3

    def test_input_of_many_windows_is_read_in_one_go(self):
        requests = [[b"SET", b"key:%d" % number, b"v" * (number % 99)] for number in range(5_000)]

        assert read(RequestParser(Limits()), b"".join(wire(*one) for one in requests)) == requests


class TestLargeBulks:
    def test_a_large_bulk_is_received_into_memory_of_its_own(self):
        parser = RequestParser(Limits())
        blob = bytes(range(256)) * (LARGE // 256)
        data = wire(b"AI.TENSORSET", b"t", blob)
        start = data.index(blob) + 100

        assert parser.wants() is None
        assert parser.feed(data[:start]) == []
        room = room_of(parser)
        assert len(room) == len(data) - start
        room[:1000] = data[start : start + 1000]
        assert parser.filled(1000) == []
        room = room_of(parser)
        room[:] = data[start + 1000 :]
        [[_, _, argument]] = parser.filled(len(room))

        assert parser.wants() is None
        assert argument == blob

    def test_a_large_argument_is_a_view_that_cannot_be_written(self):
        [[_, argument]] = RequestParser(Limits()).feed(wire(b"ECHO", bytes(LARGE)))

        assert type(argument) is memoryview
        assert argument.readonly
        assert argument.nbytes == LARGE

    def test_an_argument_below_the_size_is_bytes(self):
        [[_, argument]] = RequestParser(Limits()).feed(wire(b"ECHO", bytes(LARGE - 1)))

        assert type(argument) is bytes

    def test_the_name_of_a_command_is_bytes_however_large(self):
        [[name]] = RequestParser(Limits()).feed(wire(bytes(LARGE)))

        assert type(name) is bytes
        assert name == bytes(LARGE)

    def test_large_bulks_in_one_piece_with_what_follows_are_read_too(self):
        first, second = b"a" * (LARGE + 1), b"b" * (3 * LARGE)

        requests = read(RequestParser(Limits()), wire(b"X", first, second) + wire(b"PING"))

        assert requests == [[b"X", first, second], [b"PING"]]

    @pytest.mark.parametrize("count", [0, -1, LARGE + 3])
    def test_more_than_there_is_room_for_cannot_be_filled(self, count):
        parser = RequestParser(Limits())
        parser.feed(b"*1\r\n$%d\r\n" % LARGE)

        with pytest.raises(ValueError, match=f"count must be from 1 to {LARGE + 2}"):
            parser.filled(count)

    def test_nothing_can_be_filled_where_nothing_was_wanted(self):
        with pytest.raises(ValueError, match="count must be"):
            RequestParser(Limits()).filled(1)

    def test_the_memory_of_a_bulk_is_kept_by_nobody_but_its_request(self):
        parser = RequestParser(Limits())
        parser.feed(b"*2\r\n$3\r\nSET\r\n$%d\r\n" % LARGE)
        ((_, argument),) = parser.filled(len(room_of(parser)))
        memory = weakref.ref(argument.obj)
        assert memory() is not None

        del argument

        assert memory() is None

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_bytes_that_are_announced_and_never_sent_take_no_memory(self):
        def resident_pages():
            return int(Path("/proc/self/statm").read_text().split()[1])

        parser = RequestParser(Limits())
        before = resident_pages()
        parser.feed(b"*1\r\n$%d\r\n" % (511 * 1024 * 1024))

        assert len(room_of(parser)) == 511 * 1024 * 1024 + 2
        assert resident_pages() - before < 4096  # 16 MiB


# What calls the rest takes no memory worth mentioning.
_SPARED = {
    f"RequestParser.{name}"
    for name in (
        "__init__",
        "_forget",
        "_expect",
        "_state",
        "_read_window",
        "_fill",
        "feed",
        "filled",
    )
}


class TestNoMemory:
    """A request that there is no memory for is read to its end, and what follows is in step."""

    @pytest.fixture
    def scarce(self, monkeypatch):
        """Lets every large bulk find no memory from now on."""

        def allocate(_):
            raise MemoryError

        monkeypatch.setattr(codec, "_allocate", allocate)

    @pytest.mark.parametrize("piece", [10**9, 1000, 7])
    def test_it_is_delivered_as_unread_and_the_next_one_is_read(self, scarce, piece):
        parser = RequestParser(Limits())
        data = wire(b"SET", b"k", bytes(LARGE), b"EX", b"1" * 2000) + wire(b"PING")
        requests = []
        for start in range(0, len(data), piece):
            requests += parser.feed(data[start : start + piece])

        assert [type(request) for request in requests] == [Unread, list]
        assert requests[1] == [b"PING"]
        assert parser.error is None

    def test_nothing_is_kept_of_it_and_nothing_is_wanted(self, scarce):
        parser = RequestParser(Limits())
        parser.feed(b"*3\r\n$3\r\nSET\r\n$1000\r\n" + bytes(1000) + b"\r\n$500000000\r\nabc")

        assert parser.wants() is None
        assert parser._arguments == []

    def test_its_limits_hold_all_the_same(self, scarce):
        parser = RequestParser(Limits(max_request=3 * LARGE))
        parser.feed(wire(b"SET", bytes(LARGE), bytes(LARGE), bytes(LARGE)))

        assert violation(parser) == "ERR Protocol error: too big request"

    def test_a_large_name_that_cannot_be_copied_is_unread_too(self, monkeypatch):
        class Stingy:
            def __len__(self):
                return LARGE

            def __bytes__(self):
                raise MemoryError

        parser = RequestParser(Limits())
        parser.feed(b"*2\r\n$%d\r\n" % LARGE)
        room = room_of(parser)
        monkeypatch.setattr(codec, "bytes", lambda _: Stingy().__bytes__(), raising=False)

        assert parser.filled(len(room)) == []
        monkeypatch.undo()
        (unread,) = parser.feed(b"$1\r\na\r\n")
        assert type(unread) is Unread

    def test_where_not_even_the_end_can_be_found_the_connection_must_end(self, monkeypatch):
        def read(*_):
            raise MemoryError

        parser = RequestParser(Limits())
        monkeypatch.setattr(RequestParser, "_read", read)

        assert parser.feed(wire(b"PING")) == []
        assert violation(parser) == "OOM not enough memory to read this request"
        assert parser.feed(wire(b"PING")) == []

    def test_many_small_arguments_are_not_kept_where_there_is_no_room(self, monkeypatch):
        parser = RequestParser(Limits())
        data = wire(b"DEL", *[b"k"] * 5000) + wire(b"PING")
        parser.feed(data[:1000])
        monkeypatch.setattr(HEADROOM, "has", lambda *_: False)

        (unread, ping) = parser.feed(data[1000:])
        assert type(unread) is Unread
        assert ping == [b"PING"]

    @pytest.mark.parametrize("piece", [10**9, 1000])
    def test_wherever_memory_is_missing_once_the_connection_goes_on(self, piece):
        requests = [
            [b"PING"],
            [b"SET", b"k", b"v" * 300],
            [b"SET", b"\r\n", b"x" * LARGE, b"EX"],
            [b"ECHO", b"y" * 5000],
            [b"GET", b"k"],
        ]
        data = b"".join(wire(*request) for request in requests) + b"PING inline\r\n"
        requests.append([b"PING", b"inline"])
        promised = HEADROOM.promised
        for scarce in at_each_line("tensorkeep_server.codec", every=5, spared=_SPARED):
            parser, found = RequestParser(Limits()), []
            with scarce() as where:
                for start in range(0, len(data), piece):
                    found += parser.feed(data[start : start + piece])
            assert parser.error is None, where.where
            assert len(found) == len(requests), where.where
            for got, sent in zip(found, requests, strict=True):
                assert type(got) is Unread or [*map(bytes, got)] == sent, where.where
            assert sum(type(got) is Unread for got in found) <= 1, where.where
            parser.close()
        assert HEADROOM.promised == promised

    def test_a_closed_parser_keeps_nothing(self):
        parser = RequestParser(Limits())
        parser.feed(wire(b"SET", b"x" * 1000)[:-5])
        parser.close()

        assert parser._arguments == []
        assert not parser._part
        assert parser.wants() is None


class TestProtocolErrors:
    @in_any_pieces
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*\r\n", "invalid multibulk length"),
            (b"*1\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"* 1\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*-0\r\n", "invalid multibulk length"),
            (b"*1_0\r\n", "invalid multibulk length"),
            (b"*4294967295\r\n", "invalid multibulk length"),
            (b"*99999999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*1\r\n$4\n", "invalid bulk length"),
            (b"*1\r\n$01\r\n", "invalid bulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$10000000000\r\n", "invalid bulk length"),
            (b"*1\r\n:1\r\n", "expected '$', got ':'"),
            (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
            (b"*1\r\n\r\n", "expected '$', got '\r'"),
            (b"*1\r\n\n", "expected '$', got '\n'"),
            (b"*1\r\n\xff\r\n", "expected '$', got '\udcff'"),
            (b"*2\r\n$1\r\na\r\nb", "expected '$', got 'b'"),
            (b"*" + b"1" * LARGE + b"\r\n", "too big mbulk count string"),
            (b"*" + b"1" * LARGE, "too big mbulk count string"),
            (b"*1\r\n$" + b"1" * LARGE + b"\r\n", "too big bulk count string"),
            (b"*1\r\n$" + b"1" * LARGE, "too big bulk count string"),
            (b"PING " + b"x" * LARGE + b"\r\n", "too big inline request"),
            (b"PING " + b"x" * LARGE, "too big inline request"),
            (b"ECHO 'a\r\n", "unbalanced quotes in request"),
            (b'ECHO "a\r\n', "unbalanced quotes in request"),
            (b'ECHO "a\\\r\n', "unbalanced quotes in request"),
            (b'ECHO "a"b\r\n', "unbalanced quotes in request"),
            (b"ECHO 'a''b'\r\n", "unbalanced quotes in request"),
            (b"ECHO 'a\\'\r\n", "unbalanced quotes in request"),
        ],
    )
    def test_each_violation_has_redis_own_text(self, data, text, piece):
        parser = RequestParser(Limits())

        assert read(parser, data, piece) == []
        assert violation(parser) == f"ERR Protocol error: {text}"
        assert str(parser.error) == violation(parser)

    @in_any_pieces
    @pytest.mark.parametrize("head", [b"*", b"$", b":", b"+", b"-", b"%", b"~", b">", b"|", b"_"])
    def test_an_argument_can_be_nothing_but_a_bulk(self, head, piece):
        parser = RequestParser(Limits())

        read(parser, b"*1\r\n" + head + b"4294967295\r\n", piece)

        expected = "invalid bulk length" if head == b"$" else f"expected '$', got '{head.decode()}'"
        assert violation(parser) == f"ERR Protocol error: {expected}"

    def test_a_length_of_ten_gigabytes_is_refused_before_anything_is_kept_for_it(self):
        parser = RequestParser(Limits())

        parser.feed(b"*1\r\n$10000000000\r\n")

        assert parser.error
        assert parser.wants() is None

    @in_any_pieces
    def test_requests_before_the_violation_are_delivered(self, piece):
        parser = RequestParser(Limits())

        requests = read(parser, wire(b"PING") + wire(b"ECHO", b"\r\n") + b"*1\r\n:1\r\n", piece)

        assert requests == [[b"PING"], [b"ECHO", b"\r\n"]]
        assert parser.error

    def test_nothing_is_read_after_a_violation(self):
        parser = RequestParser(Limits())
        parser.feed(b"*x\r\n" + wire(b"PING"))

        assert parser.feed(wire(b"PING")) == []
        assert parser.wants() is None

    def test_a_violation_frees_what_was_kept_of_the_request(self):
        parser = RequestParser(Limits())
        parser.feed(wire(b"SET", b"key", bytes(LARGE)).replace(b"*3", b"*4"))
        assert repr(parser) == "<RequestParser: 3 arguments read, 1 missing>"

        parser.feed(b":1\r\n")

        assert repr(parser) == "<RequestParser: ERR Protocol error: expected '$', got ':'>"
        assert parser._arguments == []


class TestLimits:
    @pytest.mark.parametrize("name", ["max_bulk", "max_arguments", "max_request"])
    def test_a_limit_is_positive(self, name):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
            Limits(**{name: 0})

    def test_a_line_has_room_for_any_length(self):
        assert Limits(max_inline=64).max_inline == 64
        with pytest.raises(ValueError, match="max_inline must be at least 64, not 63"):
            Limits(max_inline=63)

    @in_any_pieces
    @pytest.mark.parametrize(
        ("limits", "right", "wrong", "text"),
        [
            (
                Limits(max_bulk=3),
                wire(b"GET", b"abc"),
                wire(b"GET", b"abcd"),
                "invalid bulk length",
            ),
            (
                Limits(max_arguments=2),
                wire(b"a", b"b"),
                wire(b"a", b"b", b"c"),
                "invalid multibulk length",
            ),
            (
                Limits(max_request=6),
                wire(b"abc", b"def"),
                wire(b"abc", b"def", b"g"),
                "too big request",
            ),
            (
                Limits(max_inline=64),
                b"x" * 63 + b"\r\n",
                b"x" * 64 + b"\r\n",
                "too big inline request",
            ),
            (
                Limits(max_bulk=LARGE),
                wire(b"GET", bytes(LARGE)),
                wire(b"GET", bytes(LARGE + 1)),
                "invalid bulk length",
            ),
        ],
    )
    def test_a_limit_may_be_reached_and_not_passed(self, limits, right, wrong, text, piece):
        parser = RequestParser(limits)

        assert len(read(parser, right * 2, piece)) == 2
        assert parser.error is None
        assert read(parser, wrong, piece) == []
        assert violation(parser) == f"ERR Protocol error: {text}"

    @in_any_pieces
    def test_the_number_of_arguments_is_limited_to_a_million_by_default(self, piece):
        allowed, refused = RequestParser(Limits()), RequestParser(Limits())

        read(allowed, b"*1048576\r\n$1\r\na\r\n", piece)
        read(refused, b"*1048577\r\n$1\r\na\r\n", piece)

        assert allowed.error is None
        assert violation(refused) == "ERR Protocol error: invalid multibulk length"


class TestInlineCommands:
    @in_any_pieces
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"PING", [b"PING"]),
            (b"  SET\tkey \v\f value\r ", [b"SET", b"key", b"value"]),
            (b"$3", [b"$3"]),
            (b'SET k ""', [b"SET", b"k", b""]),
            (b"SET k ''", [b"SET", b"k", b""]),
            (b'SET k "a b"', [b"SET", b"k", b"a b"]),
            (b'SET k "\\n\\r\\t\\b\\a\\"\\\\\\q"', [b"SET", b"k", b'\n\r\t\b\a"\\q']),
            (b'SET k "\\x00\\xfF\\xg0"', [b"SET", b"k", b"\x00\xffxg0"]),
            (b"SET k '\\n\\'\"'", [b"SET", b"k", b"\\n'\""]),
            (b'SET k a"b c"', [b"SET", b"k", b"ab c"]),
            (b"SET k a\vb", [b"SET", b"k", b"a\vb"]),
            (b"SET k a\\nb", [b"SET", b"k", b"a\\nb"]),
            (b"SET \"a\"\v'b'", [b"SET", b"a", b"b"]),
        ],
    )
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
    def test_a_line_is_split_into_words_by_redis_rules(self, line, words, end, piece):
        data = line + end + wire(b"PING") + line + end

        assert read(RequestParser(Limits()), data, piece) == [words, [b"PING"], words]


def encoded(reply, version):
    out: list[Piece] = []
    encode(reply, version, out)
    return b"".join(all_of(out))


def all_of(out: list[Piece]):
    """Gives everything that waits to be sent."""
    while out:
        yield from take(out)


class TestReplies:
    @pytest.mark.parametrize(
        ("reply", "resp2", "resp3"),
        [
            (OK, b"+OK\r\n", b"+OK\r\n"),
            (Simple("TIMEDOUT"), b"+TIMEDOUT\r\n", b"+TIMEDOUT\r\n"),
            (Error("ERR no such key"), b"-ERR no such key\r\n", b"-ERR no such key\r\n"),
            (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
            (bytearray(b"ab"), b"$2\r\nab\r\n", b"$2\r\nab\r\n"),
            (memoryview(b"ab"), b"$2\r\nab\r\n", b"$2\r\nab\r\n"),
            (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
            (-12, b":-12\r\n", b":-12\r\n"),
            (True, b":1\r\n", b"#t\r\n"),
            (False, b":0\r\n", b"#f\r\n"),
            (None, b"$-1\r\n", b"_\r\n"),
            (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
            (BigNumber(2**63), b"$19\r\n%d\r\n" % 2**63, b"(%d\r\n" % 2**63),
            ([], b"*0\r\n", b"*0\r\n"),
            ([b"a", 1, None], b"*3\r\n$1\r\na\r\n:1\r\n$-1\r\n", b"*3\r\n$1\r\na\r\n:1\r\n_\r\n"),
            ((b"a", [2, 3]), b"*2\r\n$1\r\na\r\n*2\r\n:2\r\n:3\r\n", None),
            ([True, 1], b"*2\r\n:1\r\n:1\r\n", b"*2\r\n#t\r\n:1\r\n"),
            ([True, False], b"*2\r\n:1\r\n:0\r\n", b"*2\r\n#t\r\n#f\r\n"),
            (Map(((b"a", 1),)), b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
            (Set((b"a", b"b")), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"~2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            (Push((b"a", 1)), b"*2\r\n$1\r\na\r\n:1\r\n", b">2\r\n$1\r\na\r\n:1\r\n"),
            (Verbatim("h\xe9\n"), b"$4\r\nh\xc3\xa9\n\r\n", b"=8\r\ntxt:h\xc3\xa9\n\r\n"),
        ],
        ids=lambda value: None if isinstance(value, bytes | memoryview) else repr(value),
    )
    def test_each_type_has_its_form_in_each_version(self, reply, resp2, resp3):
        assert encoded(reply, 2) == resp2
        assert encoded(reply, 3) == (resp2 if resp3 is None else resp3)

    @pytest.mark.parametrize(
        ("number", "text"),
        [
            (1.0, b"1"),
            (3.5, b"3.5"),
            (0.10000000149011612, b"0.10000000149011612"),
            (0.1, b"0.10000000000000001"),
            (1e17, b"1e+17"),
            (1e300, b"1.0000000000000001e+300"),
            (-2.2250738585072014e-308, b"-2.2250738585072014e-308"),
            (float("inf"), b"inf"),
            (float("-inf"), b"-inf"),
            (-0.0, b"-0"),
            (float("nan"), b"nan"),
            (-float("nan"), b"-nan"),  # what a processor makes of 0 / 0
        ],
    )
    def test_a_double_is_what_c_prints_with_17_digits(self, number, text):
        resp2, resp3 = b"$%d\r\n%b\r\n" % (len(text), text), b",%b\r\n" % text

        assert encoded(number, 2) == resp2
        assert encoded(number, 3) == resp3
        assert encoded([number] * 3, 2) == b"*3\r\n" + resp2 * 3
        assert encoded((number, number), 3) == b"*2\r\n" + resp3 * 2

    def test_what_is_not_a_number_changes_nothing_of_its_neighbours(self):
        numbers = [1.5, -math.nan, -0.0, math.nan, math.inf]
        texts = (b"1.5", b"-nan", b"-0", b"nan", b"inf")

        assert encoded(numbers, 3) == b"*5\r\n" + b"".join(b",%b\r\n" % each for each in texts)
        assert encoded(numbers, 2) == b"*5\r\n" + b"".join(
            b"$%d\r\n%b\r\n" % (len(each), each) for each in texts
        )

    @pytest.mark.parametrize("count", [4095, 4096, 4097, 9000])
    def test_a_long_list_of_numbers_is_complete(self, count):
        integers = b"".join(b":%d\r\n" % number for number in range(count))
        doubles = b"".join(b",%d\r\n" % number for number in range(count))

        assert encoded(list(range(count)), 2) == b"*%d\r\n%b" % (count, integers)
        assert encoded([float(n) for n in range(count)], 3) == b"*%d\r\n%b" % (count, doubles)

    @pytest.mark.parametrize("count", [32, 33, 4095, 4096, 4097, 9000])
    @pytest.mark.parametrize(
        "odd",
        [b"member", b"x" * 1023, b"x" * 1024, None, 7, b"x" * LARGE_BULK],
        ids=["none", "short", "long", "null", "integer", "large"],
    )
    def test_a_long_list_of_bulks_is_complete_whatever_is_among_them(self, count, odd):
        items = [b"m%d" % number for number in range(count)]
        items[count // 2] = odd
        body = b"".join(encoded(item, 3) for item in items)
        pairs = tuple(zip(items, items, strict=True))
        twice = b"".join(encoded(item, 3) * 2 for item in items)

        assert encoded(items, 3) == b"*%d\r\n%b" % (count, body)
        assert encoded(Set(tuple(items)), 3) == b"~%d\r\n%b" % (count, body)
        assert encoded(Map(pairs), 3) == b"%%%d\r\n%b" % (count, twice)

    def test_a_line_break_in_an_error_or_a_status_becomes_blanks(self):
        assert encoded(Error("ERR a\r\nb\n"), 2) == b"-ERR a  b \r\n"
        assert encoded(Simple("a\r\nb"), 2) == b"+a  b\r\n"

    def test_an_error_gives_back_bytes_that_are_no_text(self):
        assert encoded(Error("ERR '\udcff\xe9'"), 2) == b"-ERR '\xff\xc3\xa9'\r\n"

    @pytest.mark.parametrize("reply", ["text", {b"a": 1}, {1}, object(), [b"a", "text"]])
    def test_what_is_no_reply_is_refused(self, reply):
        with pytest.raises(TypeError, match=r"a reply must be one of Simple, .* not "):
            encode(reply, 2, [])

    @pytest.mark.parametrize("kind", [bytes, bytearray, lambda blob: memoryview(blob).cast("d")])
    def test_a_large_bulk_stands_alone_and_is_not_copied(self, kind):
        blob = kind(bytes(range(256)) * (LARGE_BULK // 256))
        out: list[Piece] = []

        encode([b"blob", blob], 2, out)
        encode(OK, 2, out)
        before, large, after = take(out)

        assert before == b"*2\r\n$4\r\nblob\r\n$%d\r\n" % LARGE_BULK
        assert large == bytes(blob)
        assert isinstance(large, memoryview)
        assert large.obj is (blob.obj if isinstance(blob, memoryview) else blob)
        assert after == b"\r\n+OK\r\n"

    def test_replies_without_a_large_bulk_are_joined_into_one_buffer(self):
        out: list[Piece] = []
        for reply in (OK, b"x" * (LARGE_BULK - 1), [1, 2.5], memoryview(b"abc"), None):
            encode(reply, 2, out)
        whole = b"".join(out)

        assert take(out) == [whole]
        assert not out

    def test_a_view_of_anything_contiguous_is_sent_as_bytes(self):
        assert encoded(memoryview(bytes(16)).cast("d"), 2) == b"$16\r\n%b\r\n" % bytes(16)
