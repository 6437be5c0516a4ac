"""Tensorkeep's server: the AI.* commands over the Redis protocol."""
