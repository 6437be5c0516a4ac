"""The ONNX backend of Tensorkeep: models in the ONNX format, run with ONNX Runtime.

`tensorkeep_onnx.plugin` holds the hooks, `tensorkeep_onnx.harmless` says which models may run in
the server's process. Nothing else here is meant to be imported. Only the former imports ONNX
Runtime.
"""
