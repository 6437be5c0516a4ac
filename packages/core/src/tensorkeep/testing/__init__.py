"""What tests of backends and stores, and of what stands on the core, import.

`BackendContract` holds a backend to its contract, `StoreContract` a store; `FakeBackend` is a
backend without a framework; `ManualLoop` turns an engine in virtual time.
`tensorkeep.testing.strategies` has hypothesis strategies, and is the only part that needs
hypothesis; import it on its own.
"""

from tensorkeep.testing.contract import BackendContract
from tensorkeep.testing.examples import ModelExample, ScriptExample
from tensorkeep.testing.fake_backend import FAKE_CPU, FakeBackend, fake_gpu
from tensorkeep.testing.manual_loop import ManualLoop
from tensorkeep.testing.store_contract import StoreContract

__all__ = [
    "FAKE_CPU",
    "BackendContract",
    "FakeBackend",
    "ManualLoop",
    "ModelExample",
    "ScriptExample",
    "StoreContract",
    "fake_gpu",
]
