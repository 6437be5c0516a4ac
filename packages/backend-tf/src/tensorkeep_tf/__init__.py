"""The TF backend of Tensorkeep: GraphDefs and SavedModels, run with TensorFlow.

`tensorkeep_tf.plugin` holds the hooks. Nothing else here is meant to be imported.
"""
