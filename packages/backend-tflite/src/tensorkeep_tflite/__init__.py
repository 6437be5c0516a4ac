"""The TFLITE backend of Tensorkeep: models in the TensorFlow Lite format, run with LiteRT.

`tensorkeep_tflite.plugin` holds the hooks. Nothing else here is meant to be imported.
"""
