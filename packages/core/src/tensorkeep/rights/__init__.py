"""Who may do what: users, their passwords, and which commands, keys and channels they may use.

Users are those of Redis' ACL, and so are the words that describe them. Nothing here knows a
connection: a front end asks whether a request of some user's is allowed, before it is done.
"""
