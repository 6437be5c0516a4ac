"""Commands on keys of any type, and on the plain data that Redis has."""
