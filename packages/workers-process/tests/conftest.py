"""Workers in processes, of a fake backend and of one that attacks them."""

from pathlib import Path

import numpy as np
import pytest

from tensorkeep.config import BackendOptions
from tensorkeep.device import CPU
from tensorkeep.hookspecs import RunContext
from tensorkeep.isolation import WorkerOptions
from tensorkeep.model import ModelSpec
from tensorkeep.tensor import Tensor
from tensorkeep_workers_process import start

PLUGINS = {
    "FAKE": "tensorkeep.testing.fake_backend:plugin",
    "ATTACK": "attacking_backend:plugin",
    "MISSING": "no_such_module",
}


SMALL = Tensor.from_numpy(np.arange(8, dtype=np.float32))


class Subject:
    """A backend whose hooks are done by workers."""

    def __init__(self, isolation, name):
        self.isolation = isolation
        self.name = name
        self.plugin = isolation.plugin(name)

    def create(self, blob):
        return self.plugin.model_create(ModelSpec(self.name), blob, BackendOptions())

    def run(self, model, *inputs, context=None):
        context = context or RunContext(CPU, 4.0)
        return self.plugin.model_run(model, list(inputs) or [SMALL], context)

    def pids(self):
        return {each.pid for each in self.isolation.workers()}


@pytest.fixture(scope="session")
def start_in_session():
    """Returns a function that starts workers, which end with the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        started = []

        def start_them(**options):
            started.append(start(WorkerOptions(**options), PLUGINS))
            return started[-1]

        yield start_them
        for each in started:
            each.close()


@pytest.fixture
def start_workers(start_in_session):
    """Returns a function that starts workers, which end with the test."""
    started = []

    def start_them(**options):
        started.append(start_in_session(**options))
        return started[-1]

    yield start_them
    for each in started:
        each.close()


@pytest.fixture
def start_attack(start_workers):
    return lambda **options: Subject(start_workers(**options), "ATTACK")


@pytest.fixture(scope="session")
def shared(start_in_session):
    """Workers that all tests use that do not care what was before them."""
    return start_in_session()


@pytest.fixture(scope="session")
def attack(shared):
    return Subject(shared, "ATTACK")


@pytest.fixture(scope="session")
def fake(shared):
    return Subject(shared, "FAKE")


@pytest.fixture
def alone(start_attack):
    """The backend that attacks its workers, of which there are none yet."""
    return start_attack()


@pytest.fixture
def start_fake(start_workers):
    return lambda **options: Subject(start_workers(**options), "FAKE")
