"""LiteRT, or the runtime that it came from; every other module takes it from here.

The interface is the same, but what tflite-runtime was published as last was built for NumPy 1:
beside NumPy 2 it is imported, and fails at the first model. Whether it works is not decided here.
"""

from __future__ import annotations

from typing import Final

try:
    import ai_edge_litert as runtime
    from ai_edge_litert.interpreter import Interpreter

    FRAMEWORK = "LiteRT"
except ModuleNotFoundError as missing:
    if missing.name != "ai_edge_litert":
        raise
    try:
        import tflite_runtime as runtime
        from tflite_runtime.interpreter import Interpreter
    except ModuleNotFoundError as older:
        if older.name != "tflite_runtime":
            raise
        raise ModuleNotFoundError(
            "LiteRT is not installed: install ai-edge-litert", name="ai_edge_litert"
        ) from missing
    FRAMEWORK = "TensorFlow Lite"

VERSION: Final[str] = runtime.__version__

__all__ = ["FRAMEWORK", "VERSION", "Interpreter"]
