"""What of the settings backends are told."""

import pytest

from tensorkeep.config import EngineConfig


@pytest.mark.parametrize(
    ("cores", "workers", "asked", "threads"),
    [
        (0, 1, 0, 0),  # left to the framework
        (8, 1, 0, 8),
        (8, 3, 0, 2),
        (2, 4, 0, 1),
        (8, 2, 5, 5),  # what was asked for wins
        (0, 2, 5, 5),
    ],
)
def test_workers_share_the_cores_unless_a_number_is_asked_for(cores, workers, asked, threads):
    config = EngineConfig(threads_per_queue=workers, cores=cores, intra_op_parallelism=asked)
    assert config.backend_options.intra_op_threads == threads
    assert config.backend_options.workers == workers
