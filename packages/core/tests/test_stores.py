"""Stores: listed without importing, found by the scheme of a URL, and reported when broken."""

import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tensorkeep.errors import StoreError, StoreUnavailable
from tensorkeep.store import Host
from tensorkeep.stores import GROUP, find_store, open_store, status, without_password

if TYPE_CHECKING:
    from tensorkeep.engine import Engine

HOST = Host(cast("Engine", None), "", {})  # none of these stores builds anything


def point(scheme, value="nowhere:open_store", distribution=None):
    made = EntryPoint(scheme, value, GROUP)
    if distribution:
        name, _, version = distribution.partition(" ")
        vars(made).update(dist=SimpleNamespace(name=name, version=version))
    return made


@pytest.fixture
def store_module(tmp_path, monkeypatch):
    """Writes an importable store; returns the value of its entry point."""

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        return f"{name}:open_store"

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("url", ["mine:", "mine://host:1/2", "MINE://host", "mine"])
def test_the_scheme_of_a_url_chooses_the_store_and_nothing_is_imported(url, store_module):
    value = store_module("found_store", "raise RuntimeError('imported')")
    others = [point("mines"), point("min"), point("http")]
    assert find_store(url, lambda: [*others, point("mine", value)]).value == value
    assert "found_store" not in sys.modules


def test_the_scheme_of_a_store_may_be_spelled_in_any_case():
    assert find_store("mine:", lambda: [point("Mine", "a:b")]).value == "a:b"


def test_a_store_gets_its_url_and_its_host(store_module):
    value = store_module("mine_store", "def open_store(url, host): return url, host")
    assert open_store("Mine://a@b", HOST, lambda: [point("mine", value)]) == ("Mine://a@b", HOST)


def test_what_a_store_says_of_its_url_goes_through(store_module):
    value = store_module(
        "strict_store",
        "from tensorkeep.errors import StoreError\n"
        "def open_store(url, host): raise StoreError('ERR what is this?')",
    )
    with pytest.raises(StoreError, match="what is this"):
        open_store("mine://?", HOST, lambda: [point("mine", value)])


def test_a_store_that_is_not_installed_is_named_and_so_is_what_is(store_module):
    with pytest.raises(StoreUnavailable) as caught:
        find_store("other://user:secret@host", lambda: [point("b"), point("a")], tuple)
    assert str(caught.value) == (
        "the store 'other' is not available: no installed package brings it (installed: a, b)"
    )
    with pytest.raises(StoreUnavailable, match="installed: none"):
        find_store("other:", tuple, tuple)


def test_what_brings_a_store_that_is_not_installed_is_said_where_an_extra_does():
    extras = [point("other", "x:y [many]"), point("a", "x:y [few]")]
    with pytest.raises(StoreUnavailable) as caught:
        find_store("other:", lambda: [point("a")], lambda: extras)
    assert caught.value.reason == (
        'no installed package brings it (installed: a); pip install "tensorkeep[many]" does'
    )


def test_two_distributions_with_a_store_of_one_scheme_are_both_named():
    both = [point("mine", "a:b", "one-store 1.0"), point("mine", "c:d", "two-store 2.0")]
    with pytest.raises(StoreUnavailable) as caught:
        open_store("mine:", HOST, lambda: [*both, point("other")])
    assert caught.value.reason == (
        "one-store 1.0 and two-store 2.0 both bring it: one of them has to be uninstalled"
    )


def test_a_store_that_cannot_be_loaded_says_why(store_module):
    value = store_module("broken_store", "raise OSError('libfoo.so is missing')")
    with pytest.raises(StoreUnavailable, match=r"cannot be loaded: .*libfoo\.so is missing"):
        open_store("mine:", HOST, lambda: [point("mine", value)])


def test_the_status_of_each_store_has_its_schemes_and_why_it_cannot_be_used(store_module):
    good = store_module("good_store", "def open_store(url, host): ...")
    broken = store_module("broken_store", "raise OSError('no')")
    points = [
        point("z", good, "good 1.0"),
        point("a", good, "good 1.0"),
        point("b", broken, "broken 2.0"),
    ]
    broken, good = status(lambda: points)
    assert (good.schemes, good.distribution, good.reason) == (("a", "z"), "good 1.0", "")
    assert (broken.schemes, broken.distribution) == (("b",), "broken 2.0")
    assert "cannot be loaded" in broken.reason


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory:", "memory:"),
        ("valkey://host:6379/3", "valkey://host:6379/3"),
        ("valkey://user@host", "valkey://user@host"),
        ("valkey://user:secret@host:1", "valkey://user:***@host:1"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://me:se/cr@et@host/1", "redis://me:***@host/1"),
        ("unix://me:secret@/tmp/a:b.sock", "unix://me:***@/tmp/a:b.sock"),
        ("unix:///tmp/a:b.sock", "unix:///tmp/a:b.sock"),
        ("x://h?sentinel_password=a&b=c", "x://h?sentinel_password=***&b=c"),
        ("x://h?Password=a", "x://h?Password=***"),
    ],
)
def test_passwords_are_left_out_of_what_people_read(url, shown):
    assert without_password(url) == shown
