"""AI.TENSORSET and AI.TENSORGET, as they go over the wire."""

import struct

import pytest

OK = b"+OK\r\n"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SET_ARITY = "ERR wrong number of arguments for 'AI.TENSORSET' command"
GET_ARITY = "ERR wrong number of arguments for 'AI.TENSORGET' command"
NO_TYPE = "ERR invalid data type"
NO_SHAPE = "ERR invalid or negative value found in tensor shape"
NO_BLOB = "ERR a single binary string should come after the BLOB argument in 'AI.TENSORSET' command"
NO_VALUES = "ERR wrong number of values was given in 'AI.TENSORSET' command"
NO_FIT = "ERR data length does not match tensor shape and type"
NO_BOOL = "ERR BOOL tensor elements must be 0 or 1"
NO_STRINGS = "ERR Number of string elements in data blob does not match tensor length"
NO_VALUE = "ERR invalid value"
NUL_INSIDE = "ERR C-string value contains null character"
NO_KEY = "ERR tensor key is empty or in a different shard"

LARGE = 64 * 1024  # from here on an argument is received as a view of memory of its own

TYPES = {
    "FLOAT": ("f", 1.5),
    "DOUBLE": ("d", -2.25),
    "INT8": ("b", 127),
    "INT16": ("h", 32767),
    "INT32": ("i", 2**31 - 1),
    "INT64": ("q", 2**63 - 1),
    "UINT8": ("B", 255),
    "UINT16": ("H", 65535),
    "UINT32": ("I", 2**32 - 1),
    "UINT64": ("Q", 2**63 - 1),
    "FLOAT16": ("e", -0.0999755859375),
    "BOOL": ("?", 1),
}
FLOATS = {"FLOAT16", "BFLOAT16", "FLOAT", "DOUBLE"}


@pytest.fixture
def model(wire):
    """A key that holds something that is not a tensor."""
    assert wire.ask("AI.MODELSTORE", "model", "ONNX", "CPU", "BLOB", '{"op": "identity"}') == OK


def error(line):
    return f"-{line}\r\n".encode()


# ---------------------------------------------------------------------- what is stored
@pytest.mark.parametrize("name", TYPES)
def test_values_of_every_type_come_back_as_the_bytes_of_that_type(wire, name):
    code, value = TYPES[name]
    assert wire.ask("AI.TENSORSET", "x", name, 1, 2, "VALUES", value, 0) == OK
    blob = struct.pack(f"<2{code}", value, 0)
    reply = wire.read("AI.TENSORGET", "x", "META", "BLOB")
    assert reply == [b"dtype", name.encode(), b"shape", [1, 2], b"blob", blob]


@pytest.mark.parametrize("name", TYPES)
def test_bytes_of_every_type_come_back_as_values(wire, name):
    code, value = TYPES[name]
    assert wire.ask("AI.TENSORSET", "x", name, 2, "BLOB", struct.pack(f"<2{code}", value, 0)) == OK
    values = wire.read("AI.TENSORGET", "x", "VALUES")
    if name in FLOATS:
        assert values == [str(value).encode(), b"0"]
    else:
        assert values == [value, 0]


@pytest.mark.parametrize("name", ["INT8", "INT16", "INT32", "INT64"])
def test_negative_integers_are_taken_down_to_the_least_of_the_type(wire, name):
    code, largest = TYPES[name]
    least = -largest - 1
    assert wire.ask("AI.TENSORSET", "x", name, 3, "VALUES", -1, least, largest) == OK
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [-1, least, largest]
    assert wire.read("AI.TENSORGET", "x", "BLOB") == struct.pack(f"<3{code}", -1, least, largest)
    assert wire.ask("AI.TENSORSET", "x", name, 1, "VALUES", least - 1) == error(NO_VALUE)


@pytest.mark.parametrize("name", ["UINT8", "UINT16", "UINT32", "UINT64", "BOOL"])
def test_a_type_without_a_sign_takes_no_negative_integer(wire, name):
    assert wire.ask("AI.TENSORSET", "x", name, 2, "VALUES", 1, -1) == error(NO_VALUE)


@pytest.mark.parametrize("name", sorted(TYPES.keys() - FLOATS - {"UINT64"}))
def test_an_integer_beyond_the_type_is_refused(wire, name):
    _, largest = TYPES[name]
    assert wire.ask("AI.TENSORSET", "x", name, 1, "VALUES", largest) == OK
    assert wire.ask("AI.TENSORSET", "x", name, 1, "VALUES", largest + 1) == error(NO_VALUE)
    assert wire.ask("AI.TENSORSET", "x", name, 1, "VALUES", "9" * 5000) == error(NO_VALUE)


def test_of_unsigned_64_bits_what_no_integer_of_a_reply_holds_is_a_bulk_or_a_big_number(wire):
    numbers = [0, 2**63 - 1, 2**63, 2**64 - 1]
    assert wire.ask("AI.TENSORSET", "x", "UINT64", 4, "VALUES", *numbers) == OK
    assert wire.read("AI.TENSORGET", "x", "BLOB") == struct.pack("<4Q", *numbers)
    integers = b"*4\r\n:0\r\n:9223372036854775807\r\n"
    large = b"$19\r\n9223372036854775808\r\n$20\r\n18446744073709551615\r\n"
    assert wire.ask("AI.TENSORGET", "x", "VALUES") == integers + large
    wire.ask("HELLO", 3)
    large = b"(9223372036854775808\r\n(18446744073709551615\r\n"
    assert wire.ask("AI.TENSORGET", "x", "VALUES") == integers + large
    for beyond in (2**64, 10**19 * 9, "9" * 5000):
        assert wire.ask("AI.TENSORSET", "x", "UINT64", 1, "VALUES", beyond) == error(NO_VALUE)


def test_words_are_known_in_any_case_and_up_to_a_nul(wire):
    assert wire.ask("ai.tensorset", "x", "float\0x", 1, "values\0y", "3.5") == OK
    assert wire.ask("Ai.TensorGet", "x", "meta", "Values\0") == (
        b"*6\r\n$5\r\ndtype\r\n$5\r\nFLOAT\r\n$5\r\nshape\r\n*1\r\n:1\r\n"
        b"$6\r\nvalues\r\n*1\r\n$3\r\n3.5\r\n"
    )


def test_a_key_is_taken_with_its_whole_length(wire):
    assert wire.ask("AI.TENSORSET", b"x\0y\xff", "INT8", 1, "VALUES", 7) == OK
    assert wire.read("AI.TENSORGET", b"x\0y\xff", "VALUES") == [7]
    assert wire.ask("AI.TENSORGET", "x") == error(NO_KEY)


def test_a_tensor_without_data_is_zeros(wire):
    assert wire.ask("AI.TENSORSET", "x", "INT16", 2, 2) == OK
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [0, 0, 0, 0]


def test_a_string_tensor_without_data_is_empty_strings(wire):
    assert wire.ask("AI.TENSORSET", "x", "STRING", 2) == OK
    assert wire.read("AI.TENSORGET", "x", "BLOB") == b"\0\0"
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [b"", b""]


def test_a_tensor_without_sizes_is_a_scalar(wire):
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", "VALUES", "3.5") == OK
    assert wire.ask("AI.TENSORGET", "x", "META") == (
        b"*4\r\n$5\r\ndtype\r\n$5\r\nFLOAT\r\n$5\r\nshape\r\n*0\r\n"
    )
    assert wire.ask("AI.TENSORSET", "y", "INT8", "BLOB", b"\x05") == OK
    assert wire.read("AI.TENSORGET", "y", "VALUES") == [5]


def test_strings_keep_any_bytes_but_nul(wire):
    assert wire.ask("AI.TENSORSET", "x", "STRING", 3, "VALUES", "12", b"\xff\n", "grün\0") == OK
    assert wire.read("AI.TENSORGET", "x", "BLOB") == b"12\0\xff\n\0" + "grün\0".encode()
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [b"12", b"\xff\n", "grün".encode()]


def test_an_empty_string_is_taken_with_and_without_its_end(wire):
    assert wire.ask("AI.TENSORSET", "x", "STRING", 4, "VALUES", "", "a", "\0", "") == OK
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [b"", b"a", b"", b""]
    assert wire.read("AI.TENSORGET", "x", "BLOB") == b"\0a\0\0\0"
    assert wire.ask("AI.TENSORSET", "x", "STRING", "VALUES", "") == OK
    assert wire.read("AI.TENSORGET", "x", "BLOB") == b"\0"


def test_a_string_blob_may_hold_empty_strings(wire):
    assert wire.ask("AI.TENSORSET", "x", "STRING", 2, "BLOB", b"\0a\0") == OK
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [b"", b"a"]


def test_a_large_blob_comes_back_byte_for_byte(wire):
    blob = bytes(range(256)) * 8192
    assert wire.ask("AI.TENSORSET", "x", "UINT8", len(blob), "BLOB", blob) == OK
    assert wire.read("AI.TENSORGET", "x", "BLOB") == blob
    assert wire.read("AI.TENSORGET", "x")[-1] == blob


def test_a_tensor_replaces_another_and_its_expiry(wire):
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 2) == OK
    assert wire.ask("EXPIRE", "x", 100) == b":1\r\n"
    assert wire.ask("AI.TENSORSET", "x", "INT8", 1, "VALUES", 3) == OK
    assert wire.ask("TTL", "x") == b":-1\r\n"
    assert wire.read("AI.TENSORGET", "x", "META") == [b"dtype", b"INT8", b"shape", [1]]


def test_tensors_belong_to_the_selected_database(wire):
    assert wire.ask("AI.TENSORSET", "x", "INT8", 1) == OK
    assert wire.ask("SELECT", 1) == OK
    assert wire.ask("AI.TENSORGET", "x") == error(NO_KEY)
    assert wire.ask("AI.TENSORSET", "x", "INT8", 2) == OK
    assert wire.ask("SELECT", 0) == OK
    assert wire.read("AI.TENSORGET", "x", "META")[-1] == [1]


# ---------------------------------------------------------------------- floats as texts
@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("FLOAT", "0.1", b"0.10000000149011612"),
        ("DOUBLE", "0.1", b"0.10000000000000001"),
        ("FLOAT", "1", b"1"),
        ("DOUBLE", "1e17", b"1e+17"),
        ("DOUBLE", "1e300", b"1.0000000000000001e+300"),
        ("FLOAT", "1e300", b"inf"),
        ("DOUBLE", "-INF", b"-inf"),
        ("DOUBLE", "infinity", b"inf"),
        ("FLOAT", "-0", b"-0"),
        ("DOUBLE", "0x1.8p1", b"3"),
        ("DOUBLE", "-0XA", b"-10"),
        ("DOUBLE", "+.5e1", b"5"),
        ("DOUBLE", "5e-324", b"4.9406564584124654e-324"),
        ("DOUBLE", "0e-999", b"0"),
        ("FLOAT16", "0.1", b"0.0999755859375"),
        ("FLOAT16", "65519", b"65504"),
        ("FLOAT16", "65520", b"inf"),
        ("FLOAT16", "-6e-8", b"-5.9604644775390625e-08"),
        ("FLOAT16", "-1e-300", b"-0"),
        ("BFLOAT16", "0.1", b"0.10009765625"),
        ("BFLOAT16", "1e300", b"inf"),
        ("BFLOAT16", "-Infinity", b"-inf"),
        # between two elements: to the even one, and just above the middle to the upper one
        ("BFLOAT16", "1.00390625", b"1"),
        ("BFLOAT16", "1.0039062500000002", b"1.0078125"),
        ("FLOAT", "-0.0905240774154663", b"-0.090524077415466309"),
    ],
)
def test_a_float_is_read_as_c_reads_it_and_shown_with_17_digits(wire, name, value, text):
    assert wire.ask("AI.TENSORSET", "x", name, 2, "VALUES", value, "0") == OK
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [text, b"0"]


@pytest.mark.parametrize(
    "value",
    ["nan", "-NaN", "1_0", " 1", "1 ", "", "1x", "1e400", "1e-400", "0x1p5000", "0x", ".", "1\0"],
)
@pytest.mark.parametrize("name", sorted(FLOATS))
def test_what_is_no_float_is_refused_wherever_it_stands(wire, name, value):
    for values in ([value, "1"], ["1", value], ["inf", value]):
        assert wire.ask("AI.TENSORSET", "x", name, 2, "VALUES", *values) == error(NO_VALUE)
    assert wire.ask("AI.TENSORGET", "x") == error(NO_KEY)


@pytest.mark.parametrize("name", ["FLOAT16", "BFLOAT16"])
def test_half_floats_go_through_every_form(wire, name):
    blob = bytes.fromhex({"FLOAT16": "003e00c0007c", "BFLOAT16": "c03f00c0807f"}[name])
    assert wire.ask("AI.TENSORSET", "x", name, 3, "VALUES", "1.5", "-2", "inf") == OK
    meta = [b"dtype", name.encode(), b"shape", [3]]
    assert wire.read("AI.TENSORGET", "x") == [*meta, b"blob", blob]
    assert wire.read("AI.TENSORGET", "x", "META") == meta
    assert wire.ask("AI.TENSORSET", "y", name.lower(), 3, "BLOB", blob) == OK
    values = b"*3\r\n$3\r\n1.5\r\n$2\r\n-2\r\n$3\r\ninf\r\n"
    assert wire.ask("AI.TENSORGET", "y", "VALUES") == values
    wire.ask("HELLO", 3)
    assert wire.ask("AI.TENSORGET", "y", "VALUES") == b"*3\r\n,1.5\r\n,-2\r\n,inf\r\n"
    assert wire.ask("AI.TENSORSET", "x", name, 3, "BLOB", blob[:-1]) == error(NO_FIT)
    assert wire.ask("AI.TENSORSET", "zeros", name, 2, 2) == OK
    assert wire.read("AI.TENSORGET", "zeros", "BLOB") == bytes(8)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["FLOAT16", "BFLOAT16", "UINT32", "UINT64", "INT8"])
def test_many_values_are_read_and_shown_as_few_are(wire, name, version):
    few = {"UINT64": [0, 2**64 - 1, 2**63], "UINT32": [0, 2**32 - 1, 1], "INT8": [-1, -128, 127]}
    numbers = few.get(name, [-0.5, 2.0, 0.0]) * 4000  # so many that it is done in steps
    wire.ask("HELLO", version)
    assert wire.ask("AI.TENSORSET", "x", name, 3, 4000, "VALUES", *numbers) == OK
    shown = wire.read("AI.TENSORGET", "x", "VALUES")
    assert [*map(type(numbers[0]), shown)] == numbers
    numbers[-1] = "x"
    assert wire.ask("AI.TENSORSET", "x", name, 3, 4000, "VALUES", *numbers) == error(NO_VALUE)


# ---------------------------------------------------------------------- the forms of a reply
META = b"$5\r\ndtype\r\n$4\r\nINT8\r\n$5\r\nshape\r\n*2\r\n:1\r\n:2\r\n"
BLOB = b"$2\r\n\x03\x04\r\n"
VALUES = b"*2\r\n:3\r\n:4\r\n"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ([], b"*6\r\n" + META + b"$4\r\nblob\r\n" + BLOB),
        (["META", "BLOB"], b"*6\r\n" + META + b"$4\r\nblob\r\n" + BLOB),
        (["BLOB", "META"], b"*6\r\n" + META + b"$4\r\nblob\r\n" + BLOB),
        (["META", "VALUES"], b"*6\r\n" + META + b"$6\r\nvalues\r\n" + VALUES),
        (["VALUES", "META"], b"*6\r\n" + META + b"$6\r\nvalues\r\n" + VALUES),
        (["META"], b"*4\r\n" + META),
        (["META", "META"], b"*4\r\n" + META),
        (["BLOB"], BLOB),
        (["BLOB", "BLOB"], BLOB),
        (["VALUES"], VALUES),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_tensor_is_shown_as_the_words_ask(wire, version, words, reply):
    assert wire.ask("AI.TENSORSET", "x", "INT8", 1, 2, "VALUES", 3, 4) == OK
    wire.ask("HELLO", version)
    assert wire.ask("AI.TENSORGET", "x", *words) == reply


def test_floats_are_doubles_in_resp3(wire):
    wire.ask("HELLO", 3)
    assert wire.ask("AI.TENSORSET", "x", "FLOAT", 3, "VALUES", "3.5", "0.1", "-inf") == OK
    reply = b"*3\r\n,3.5\r\n,0.10000000149011612\r\n,-inf\r\n"
    assert wire.ask("AI.TENSORGET", "x", "VALUES") == reply


# ---------------------------------------------------------------------- errors, in their order
@pytest.mark.parametrize(
    ("request_", "line"),
    [
        # 1 wins over 2: too few arguments, and the key holds a model
        (["AI.TENSORSET"], SET_ARITY),
        (["AI.TENSORSET", "model"], SET_ARITY),
        (["AI.TENSORSET", "model", "FLOAT"], SET_ARITY),
        # 2 over 3: the key holds a model, and the type is unknown
        (["AI.TENSORSET", "model", "FLOAT", "1"], WRONG_TYPE),
        pytest.param(
            ["AI.TENSORSET", "model", "FLOAT32", "-1"],
            WRONG_TYPE,
            marks=pytest.mark.memory_store("the key is looked at when it is written"),
        ),
        # 3 over 4: the type is unknown, and the size is wrong
        (["AI.TENSORSET", "x", "FLOAT32", "-1"], NO_TYPE),
        (["AI.TENSORSET", "x", "float64", "1"], NO_TYPE),
        (["AI.TENSORSET", "x", "INT08", "1"], NO_TYPE),
        (["AI.TENSORSET", "x", "HALF", "1"], NO_TYPE),
        (["AI.TENSORSET", "x", "", "1"], NO_TYPE),
        (["AI.TENSORSET", "x", "F" * LARGE, "1"], NO_TYPE),
        # 4 over 5 and 6: a wrong size, and no data behind the word
        (["AI.TENSORSET", "x", "FLOAT", "0", "BLOB"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "-2", "VALUES"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "2", "unsupported", "2", "3"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "2", "META"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "01"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "+1"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", " 1"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "1.0"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", ""], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "9223372036854775808"], NO_SHAPE),
        (["AI.TENSORSET", "x", "FLOAT", "1" * LARGE], NO_SHAPE),
        # ... and sizes whose product is too large, with and without data
        (["AI.TENSORSET", "x", "FLOAT", "9223372036854775807"], NO_SHAPE),
        (["AI.TENSORSET", "x", "STRING", "1000000", "1000000"], NO_SHAPE),
        (["AI.TENSORSET", "x", "INT8", "4294967296", "4294967296", "BLOB", ""], NO_SHAPE),
        # 5 over 7: not one blob, and it would not fit
        (["AI.TENSORSET", "x", "FLOAT", "BLOB"], NO_BLOB),
        (["AI.TENSORSET", "x", "FLOAT", "1", "BLOB", "abc", "abcd"], NO_BLOB),
        # 6 over 10 and 11: too few or too many, and none is a value
        (["AI.TENSORSET", "x", "FLOAT", "VALUES"], NO_VALUES),
        (["AI.TENSORSET", "x", "FLOAT", "2", "VALUES", "a"], NO_VALUES),
        (["AI.TENSORSET", "x", "INT8", "1", "VALUES", "a", "b"], NO_VALUES),
        (["AI.TENSORSET", "x", "STRING", "1", "VALUES", "a\0b", ""], NO_VALUES),
        # 7 over 8: the blob does not fit, and a byte is neither 0 nor 1
        (["AI.TENSORSET", "x", "BOOL", "2", "BLOB", b"\2"], NO_FIT),
        (["AI.TENSORSET", "x", "FLOAT", "2", "BLOB", b"1234"], NO_FIT),
        (["AI.TENSORSET", "x", "FLOAT", "1", "BLOB", b""], NO_FIT),
        # 8: any byte, the last one included
        (["AI.TENSORSET", "x", "BOOL", "2", "BLOB", b"\2\0"], NO_BOOL),
        (["AI.TENSORSET", "x", "BOOL", "2", "BLOB", b"\0\2"], NO_BOOL),
        # 9
        (["AI.TENSORSET", "x", "STRING", "2", "BLOB", b"a\0"], NO_STRINGS),
        (["AI.TENSORSET", "x", "STRING", "1", "BLOB", b"a\0b\0"], NO_STRINGS),
        (["AI.TENSORSET", "x", "STRING", "1", "BLOB", b"a\0b"], NO_STRINGS),
        (["AI.TENSORSET", "x", "STRING", "1", "BLOB", b"a"], NO_STRINGS),
        (["AI.TENSORSET", "x", "STRING", "1", "BLOB", b""], NO_STRINGS),
        # 10: only the first of BLOB and VALUES is a word
        (["AI.TENSORSET", "x", "FLOAT", "2", "VALUES", "BLOB", "abcd"], NO_VALUE),
        (["AI.TENSORSET", "x", "INT8", "1", "VALUES", "1.0"], NO_VALUE),
        (["AI.TENSORSET", "x", "INT8", "1", "VALUES", "01"], NO_VALUE),
        (["AI.TENSORSET", "x", "INT8", "1", "VALUES", "-0"], NO_VALUE),
        (["AI.TENSORSET", "x", "INT8", "2", "VALUES", "1 2", "3"], NO_VALUE),
        (["AI.TENSORSET", "x", "INT8", "2", "VALUES", "", "3"], NO_VALUE),
        (["AI.TENSORSET", "x", "BOOL", "2", "VALUES", "0", "2"], NO_VALUE),
        (["AI.TENSORSET", "x", "FLOAT", "1", "VALUES", "1" * LARGE + "x"], NO_VALUE),
        # 11
        (["AI.TENSORSET", "x", "STRING", "1", "VALUES", "a\0b"], NUL_INSIDE),
        (["AI.TENSORSET", "x", "STRING", "1", "VALUES", "\0\0"], NUL_INSIDE),
        # AI.TENSORGET: 1 over 2, 2, 3 over 4, 4 over 5, 5
        (["AI.TENSORGET"], GET_ARITY),
        (["AI.TENSORGET", "x", "META", "BLOB", "VALUES"], GET_ARITY),
        (["AI.TENSORGET", "x"], NO_KEY),
        (["AI.TENSORGET", "x", "nonsense"], NO_KEY),
        (["AI.TENSORGET", "model"], WRONG_TYPE),
        (["AI.TENSORGET", "model", "nonsense"], WRONG_TYPE),
        (["AI.TENSORGET", "old", "nonsense"], "ERR unsupported data format"),
        (["AI.TENSORGET", "old", "BLOB", "nonsense"], "ERR unsupported data format"),
        (["AI.TENSORGET", "old", "V" * LARGE], "ERR unsupported data format"),
        (["AI.TENSORGET", "old", "BLOB", "VALUES"], "ERR both BLOB and VALUES specified"),
        (["AI.TENSORGET", "old", "VALUES", "BLOB"], "ERR both BLOB and VALUES specified"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("model")
def test_the_first_thing_that_is_wrong_is_the_error_and_nothing_is_stored(wire, request_, line):
    assert wire.ask("AI.TENSORSET", "old", "INT8", 1, "VALUES", 7) == OK
    for version in (2, 3):
        wire.ask("HELLO", version)
        assert wire.ask(*request_) == error(line)
    assert wire.ask("AI.TENSORGET", "x") == error(NO_KEY)


def test_a_failed_store_leaves_the_old_tensor_and_its_expiry(wire):
    assert wire.ask("AI.TENSORSET", "x", "INT8", 1, "VALUES", 7) == OK
    assert wire.ask("EXPIRE", "x", 100) == b":1\r\n"
    assert wire.ask("AI.TENSORSET", "x", "INT8", 2, "VALUES", 1, -129) == error(NO_VALUE)
    assert wire.read("AI.TENSORGET", "x", "VALUES") == [7]
    assert wire.read("TTL", "x") > 90


@pytest.mark.parametrize("name", ["AI.TENSORSET", "ai.tensorset", "Ai.TensorSet"])
def test_the_arity_error_shows_the_name_as_it_was_typed(wire, name):
    assert wire.ask(name, "x") == error(f"ERR wrong number of arguments for '{name}' command")
