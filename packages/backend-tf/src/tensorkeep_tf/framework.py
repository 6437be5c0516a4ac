"""TensorFlow, imported without the noise that it makes; every other module takes it from here.

What TensorFlow prints on its way (which instructions the processor has, which CUDA it looked for)
goes to standard error from C++, where a server's own log goes as well. It is left out unless that
log is at debug level. Whoever imported TensorFlow before, or set its level, has decided already.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import Final

from tensorkeep.libraries import load_ahead
from tensorkeep.noise import logged

_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"
_EVERYTHING: Final = "0"
_FATAL_ONLY: Final = "3"
# What lines of TensorFlow begin with; other threads may print meanwhile.
_ITS_OWN: Final = (
    r"WARNING: All log messages before absl|[IWEF]\d{4} |\d{4}-\d\d-\d\d .*: [IWEF] tensorflow"
)
_LIBRARIES: Final = (
    "libtensorflow_framework.so*",
    "libtensorflow_cc.so*",
    "python/_pywrap_tensorflow_internal.so",
)

_log = logging.getLogger("tensorkeep_tf")

if not _log.isEnabledFor(logging.DEBUG):
    os.environ.setdefault(_LEVEL, _FATAL_ONLY)  # it is read during the import
_quiet = os.environ.get(_LEVEL, _EVERYTHING) != _EVERYTHING

try:
    # On a processor for which oneDNN is on, TensorFlow says so before it looks how much it may say.
    with logged("TensorFlow", only=_ITS_OWN) if _quiet else nullcontext():
        # What its compiled modules stand on, without stopping other threads.
        load_ahead("tensorflow", *_LIBRARIES)
        import tensorflow as tf
        from tensorflow.core.protobuf.config_pb2 import CallableOptions
        from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto
        from tensorflow.python.framework import op_def_registry  # nothing public tells of them
        from tensorflow.python.framework.ops import dismantle_graph  # nor ends a graph's cycles
except ModuleNotFoundError as error:
    if error.name != "tensorflow":
        raise
    raise ModuleNotFoundError(
        "TensorFlow is not installed: install tensorflow-cpu, or tensorflow for GPUs"
    ) from error

__all__ = [
    "AssetFileDef",
    "CallableOptions",
    "SavedModelProto",
    "dismantle_graph",
    "op_def_registry",
    "tf",
]
