"""The ONNX backend of Tensorkeep."""
