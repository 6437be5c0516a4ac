"""Keys and plain data in the memory of one process: the default store of Tensorkeep."""
