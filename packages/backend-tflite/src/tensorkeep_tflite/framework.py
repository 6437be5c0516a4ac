"""LiteRT; every other module takes it from here, so that its absence is told once."""

from __future__ import annotations

try:
    from ai_edge_litert import __version__ as VERSION  # noqa: N812 - its own name
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter
except ModuleNotFoundError as error:
    if error.name != "ai_edge_litert":
        raise
    raise ModuleNotFoundError(
        "LiteRT is not installed: install ai-edge-litert", name="ai_edge_litert"
    ) from error

__all__ = ["VERSION", "Interpreter", "schema"]
