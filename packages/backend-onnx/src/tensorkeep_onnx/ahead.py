"""What has to be done before ONNX Runtime is imported; to be imported first.

Its library is loaded, and its telemetry is switched off: it would keep a record of models and runs
in the user's home, start a thread, and report to its maker. Not in the package itself, which is
imported to read models as well.
"""

import os

from tensorkeep.libraries import load_ahead

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

load_ahead("onnxruntime", "capi/onnxruntime_pybind11_state*.so")
