"""Commands for who runs the server, and for tools that ask what it can do."""
