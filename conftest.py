"""What every test of the repository shares: how hypothesis searches, how to repeat a failure.

An example may take as long as it needs: machines that run tests are shared, and a deadline in
milliseconds would fail at random. What really hangs ends at pytest's own timeout.

A failed search prints the line that repeats it (`print_blob`). The order of the tests and the seed
of `random` and NumPy come from pytest-randomly, which prints them as `--randomly-seed=N` at the
head of a run.
"""

from hypothesis import settings

settings.register_profile("tensorkeep", deadline=None, print_blob=True)
settings.load_profile("tensorkeep")
