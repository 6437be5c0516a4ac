"""The ONNX backend of Tensorkeep: models in the ONNX format, run with ONNX Runtime.

`tensorkeep_onnx.plugin` holds the hooks. Nothing else here is meant to be imported.
"""

from tensorkeep.libraries import load_ahead

load_ahead("onnxruntime", "capi/onnxruntime_pybind11_state*.so")
