"""The library of ONNX Runtime, loaded before it is imported; to be imported first.

Not in the package itself, which is imported to read models as well.
"""

from tensorkeep.libraries import load_ahead

load_ahead("onnxruntime", "capi/onnxruntime_pybind11_state*.so")
