"""Texts of torch reach users without what only torch's authors need."""

import pytest
import torch

from tensorkeep_torch import messages

STACK = """
Exception raised from check at /somewhere/c10/core.cpp:12 (most recent call first):
frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x7d (0x7f libc10.so)
frame #1: <unknown function> + 0x1 (0x7f libtorch_cpu.so)
"""
AT = "\n\nAt:\n  /somewhere/redis_calls.py(12): _execute\n  /somewhere/program.py(3): __call__\n"
TRACEBACK = """The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__.py", line 4, in forward
    return torch.mm(a, b)
           ~~~~~~~~ <--- HERE

Traceback of TorchScript, original code (most recent call last):
  File "/home/someone/model.py", line 14, in forward
    return torch.mm(a, b)
           ~~~~~~~~ <--- HERE
"""


@pytest.mark.parametrize("word", [messages.of_load, messages.of_run, messages.of_compiler])
def test_the_way_through_cpp_is_left_out(word):
    assert word(RuntimeError(f"it went wrong{STACK}")) == "it went wrong"


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ("RuntimeError: mat1 and mat2\ndo not fit\n", "mat1 and mat2\ndo not fit"),
        ("builtins.ValueError: too large\n", "too large"),
        ("torch.jit.Error: this cannot be\n", "this cannot be"),
        ("RuntimeError: \n", "RuntimeError"),
        ("something else\n", "something else"),
    ],
)
def test_of_a_model_only_what_was_wrong_is_told(end, text):
    assert messages.of_run(RuntimeError(f"{TRACEBACK}{end}")) == text


def test_a_text_without_words_is_the_name_of_its_class():
    assert messages.of_run(KeyError()) == "KeyError"


def test_long_texts_are_cut():
    text = messages.of_run(RuntimeError("long " * 1000))

    assert len(text) < 1010
    assert text.endswith(" ...")


def test_of_a_script_the_way_is_told_but_not_the_one_through_ours():
    text = (
        "The following operation failed in the TorchScript interpreter.\n"
        "Traceback of TorchScript (most recent call last):\n"
        '  File "<string>", line 2, in f\n'
        "    redis.execute('GET', 'k')\n"
        "    ~~~~~~~~~~~~~ <--- HERE\n"
        f'  File "<string>", line 3, in {messages.HIDDEN}execute_1\n'
        "def tensorkeep_execute_1(cmd: str, args: Any) -> Any:\n"
        "    reply = execute(cmd, torch.jit.annotate(List[Any], [args]))\n"
        "            ~~~~~~~ <--- HERE\n"
        "    first = reply[0]\n"
        f"RuntimeError: ScriptError: {messages.REDIS_ERROR}WRONGTYPE{AT}"
    )

    assert messages.of_script(RuntimeError(text)) == (
        "The following operation failed in the TorchScript interpreter.\n"
        "Traceback of TorchScript (most recent call last):\n"
        '  File "<string>", line 2, in f\n'
        "    redis.execute('GET', 'k')\n"
        "    ~~~~~~~~~~~~~ <--- HERE\n"
        f"RuntimeError: {messages.REDIS_ERROR}WRONGTYPE\n"
    )


def test_types_have_the_names_that_redisai_gave_them():
    assert messages.of_output(torch.complex32) == "ComplexHalf is not supported by dlpack"
    assert messages.of_output(torch.qint8) == "QInt8 is not supported by dlpack"
    assert messages.of_output(torch.float8_e5m2) == "float8_e5m2 is not supported by dlpack"
