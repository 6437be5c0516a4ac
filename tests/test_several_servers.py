"""Several servers on one engine; `nox -s several` makes a million requests."""

import io
from importlib.util import find_spec

import pytest

if find_spec("tensorkeep_valkey") is None or find_spec("onnxruntime") is None:
    pytest.skip("needs the store in Valkey and ONNX", allow_module_level=True)

from rich.console import Console
from several_servers import Versions, several


def test_two_servers_run_what_either_has_stored_last():
    found = several(2, 4, 4_000, Console(file=io.StringIO()))

    assert not found.wrong
    assert found.counts["requests"] >= 4_000
    assert found.counts["versions"] > 1


@pytest.mark.parametrize(
    ("result", "wrong"),
    [
        (3.0, ""),
        (5.0, ""),
        (2.0, "a stale model"),
        (6.0, "a value of no version"),
        (3.5, "a value of no version"),
        (0.0, "a value of no version"),
    ],
)
def test_a_result_is_judged_by_the_versions_that_it_may_be_of(result, wrong):
    versions = Versions()
    versions.stored, versions.begun = 4, 5

    assert versions.judge(3, result) == wrong
