"""How plain data is kept in memory; no key, no command and no reply."""
