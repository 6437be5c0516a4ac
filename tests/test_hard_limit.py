"""A server whose memory the system limits answers and lives, and changes nothing by halves."""

import sys

import hard_limit
import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits addresses so")
def test_a_server_at_its_limit_loses_no_connection_and_leaves_nothing_half_changed(tmp_path):
    tried = hard_limit.run(150 * 2**20, seconds=5, clients=4, folder=tmp_path)

    assert tried.notes == []
    assert tried.counts["lost"] == 0
    assert tried.counts["OOM"] > 10
    assert tried.counts["done"] > 100
