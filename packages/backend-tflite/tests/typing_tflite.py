"""What mypy must accept: the plugin module satisfies the contract's protocol."""

from tensorkeep.hookspecs import BackendHooks
from tensorkeep_tflite import plugin

hooks: BackendHooks = plugin
