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

from tensorkeep_tf.quiet_import import load_libraries, quiet_import

_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"
_EVERYTHING: Final = "0"
_FATAL_ONLY: Final = "3"

_log = logging.getLogger("tensorkeep_tf")

if not _log.isEnabledFor(logging.DEBUG):
    os.environ.setdefault(_LEVEL, _FATAL_ONLY)  # it is read during the import
_quiet = os.environ.get(_LEVEL, _EVERYTHING) != _EVERYTHING

load_libraries(quiet=_quiet)
try:
    with quiet_import() if _quiet else nullcontext():
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
