"""What mypy must accept: the plugin module satisfies the contract's protocols."""

from tensorkeep.hookspecs import BackendHooks, ScriptHooks
from tensorkeep_torch import plugin

hooks: BackendHooks = plugin
scripts: ScriptHooks = plugin
