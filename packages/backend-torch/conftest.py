"""Without torch there is nothing to test here; `tests/test_digits_torch.py` then says so."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["tests"]
