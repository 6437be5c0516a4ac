"""The conformance suite of stores on the memory store."""

from tensorkeep.testing import StoreContract
from tensorkeep_memory.store import open_store


class TestContract(StoreContract):
    def open(self, host):
        return open_store("memory:", host)
