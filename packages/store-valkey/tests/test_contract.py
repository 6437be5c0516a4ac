"""The store does what every store must do, in a real engine."""

import pytest

from tensorkeep.testing import StoreContract
from tensorkeep_valkey.store import open_store
from tensorkeep_valkey.testing import running_engine


@pytest.fixture(scope="module", autouse=True)
def _engine():
    with running_engine() as engine:
        TestContract.url = engine.unix
        yield


class TestContract(StoreContract):
    url = ""

    def open(self, host):
        return open_store(self.url, host)
