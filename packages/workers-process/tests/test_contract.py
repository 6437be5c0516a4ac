"""What stands in for a backend keeps to the contract of backends, as the backend itself does."""

import pytest

from tensorkeep.isolation import WorkerOptions
from tensorkeep.testing.fake_contract import FakeContract
from tensorkeep_workers_process import start


@pytest.fixture(scope="module", autouse=True)
def isolation():
    workers = start(WorkerOptions(), {"FAKE": "tensorkeep.testing.fake_backend:plugin"})
    TestFakeBackendInWorkers.plugin = workers.plugin("FAKE")
    yield
    workers.close()


class TestFakeBackendInWorkers(FakeContract):
    pass
