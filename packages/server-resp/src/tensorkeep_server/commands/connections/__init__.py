"""Commands about a connection: who it is, its transactions, what it is subscribed to."""
