"""What every test of the repository shares: how hypothesis searches, how to repeat a failure.

An example may take as long as it needs: machines that run tests are shared, and a deadline in
milliseconds would fail at random. What really hangs ends at pytest's own timeout.

A failed search prints the line that repeats it (`print_blob`). The order of the tests and the seed
of `random` and NumPy come from pytest-randomly, which prints them as `--randomly-seed=N` at the
head of a run.

Which store the servers of the tests have is chosen with `--store NAME`, the name of an engine.
Then only those tests are run that let the fixture `new_store` choose it. One that cannot hold there
says why: `@pytest.mark.memory_store("why")`, or, where some engines are like the memory store,
`@pytest.mark.memory_store("why", on=("redis-6.2",))` with those that are not.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tensorkeep.stores import DEFAULT_STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tensorkeep_valkey.testing import RunningEngine

settings.register_profile("tensorkeep", deadline=None, print_blob=True)
settings.load_profile("tensorkeep")

MEMORY = "memory"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--store`."""
    parser.addoption(
        "--store",
        default=MEMORY,
        help=f"{MEMORY}, or the engine that the servers of the tests keep their data in",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuses an engine that is not installed."""
    name = config.getoption("store")
    if name == MEMORY:
        return
    from tensorkeep_valkey.testing import PRESENT  # noqa: PLC0415 - not in every venv

    if name not in PRESENT:
        raise pytest.UsageError(f"--store is {MEMORY} or one of {', '.join(PRESENT)}, not {name}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, with an engine, what does not choose a store, and skips what does not hold."""
    name = config.getoption("store")
    if name == MEMORY:
        return
    chosen: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (chosen if "new_store" in getattr(item, "fixturenames", ()) else others).append(item)
        for marker in item.iter_markers("memory_store"):
            if name in marker.kwargs.get("on", (name,)):
                item.add_marker(pytest.mark.skip(reason=marker.args[0]))
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


@pytest.fixture(scope="session")
def new_engine(
    pytestconfig: pytest.Config,
) -> Callable[[], AbstractContextManager[RunningEngine]] | None:
    """Runs an engine of the kind that was asked for, for as long as a block takes; or is None."""
    name = pytestconfig.getoption("store")
    if name == MEMORY:
        return None
    from tensorkeep_valkey.testing import running_engine  # noqa: PLC0415 - not in every venv

    return partial(running_engine, name)


@pytest.fixture(scope="session")
def new_store(
    new_engine: Callable[[], AbstractContextManager[RunningEngine]] | None,
) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """Gives the URL of an empty store, for as long as a block takes.

    The blocks share one engine, which is emptied for each and has its settings back; one within
    another gets its own.
    """
    if new_engine is None:
        yield lambda: nullcontext(DEFAULT_STORE)
        return
    from tensorkeep_server.testing import Wire  # noqa: PLC0415 - with an engine alone

    def settings(wire: Wire) -> dict[bytes, bytes]:
        told = wire.read("CONFIG", "GET", "*")
        return dict(zip(told[::2], told[1::2], strict=True))

    with new_engine() as shared:
        free = [shared]
        with Wire(shared.port) as first:
            usual = settings(first)

        @contextmanager
        def store() -> Iterator[str]:
            if not free:
                with new_engine() as engine:
                    yield engine.unix
                return
            engine = free.pop()
            if engine.process.poll() is not None:  # a test has ended it
                engine.start()
            with Wire(engine.port) as wire:
                wire.ask("FLUSHALL")
                for name, value in settings(wire).items() - usual.items():
                    wire.ask("CONFIG", "SET", name, usual.get(name, value))
            yield engine.unix
            free.append(engine)

        yield store


@pytest.fixture(scope="session")
def type_names(
    new_engine: Callable[[], AbstractContextManager[RunningEngine]] | None,
) -> dict[str, str]:
    """What TYPE says of a tensor, model or script, by the type that RedisAI has."""
    stored_as = {"AI_TENSOR": "string", "AI__MODEL": "hash", "AI_SCRIPT": "hash"}
    return stored_as if new_engine else {name: name for name in stored_as}
