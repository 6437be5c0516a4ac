"""The order of AI._MODELSCAN."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorkeep_server import scan_order as module
from tensorkeep_server.scan_order import scan_order, siphash_1_2

NAMES = st.lists(st.binary(max_size=20), unique=True)


@pytest.mark.parametrize(
    ("stored", "listed"),
    [
        ([b"m", b"pt_model"], [b"pt_model", b"m"]),  # one bucket: the newest first
        ([b"pt_model", b"m"], [b"m", b"pt_model"]),
        ([b"ket1", b"ket2"], [b"ket1", b"ket2"]),  # two buckets: whichever was first
        ([b"ket2", b"ket1"], [b"ket1", b"ket2"]),
        ([], []),
    ],
)
def test_the_cases_that_clients_depend_on(stored, listed):
    assert scan_order(stored) == listed


@pytest.mark.parametrize(
    ("name", "bucket"), [(b"m", 1), (b"pt_model", 1), (b"ket1", 0), (b"ket2", 3)]
)
def test_names_fall_into_the_known_buckets_of_four(name, bucket):
    assert siphash_1_2(name) % 4 == bucket


@given(NAMES)
def test_every_name_is_listed_once(names):
    assert sorted(scan_order(names)) == sorted(names)


@given(NAMES)
def test_buckets_ascend_and_the_newest_of_a_bucket_comes_first(names):
    buckets = 4
    while buckets < len(names):
        buckets *= 2
    listed = [(siphash_1_2(name) % buckets, -names.index(name)) for name in scan_order(names)]
    assert listed == sorted(listed)


@pytest.mark.parametrize(("count", "buckets"), [(4, 4), (5, 8), (8, 8), (9, 16)])
def test_the_table_doubles_when_it_is_full(count, buckets):
    newest_first = [b"%d" % number for number in range(count)]
    expected = sorted(newest_first, key=lambda name: siphash_1_2(name) % buckets)
    assert scan_order(newest_first[::-1]) == expected


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="Python hashes another way")
def test_with_one_more_round_the_hash_is_the_one_that_python_has(monkeypatch):
    data = [bytes(range(size)) for size in range(1, 40)]
    program = f"print([hash(item) % 2**64 for item in {data}])"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # which is an all-zero key
    expected = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    plain, last = module._round, []

    def extended(a, b, c, d):
        a, b, c, d = plain(a, b, c, d)
        last.append((a, b, c, d))
        return a, b, c, d

    monkeypatch.setattr(module, "_round", extended)
    hashes = []
    for item in data:
        siphash_1_2(item)
        a, b, c, d = plain(*last[-1])
        hashes.append(a ^ b ^ c ^ d)
    assert hashes == json.loads(expected)
