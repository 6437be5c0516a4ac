"""A store of Tensorkeep whose values are those of a Valkey or Redis."""
