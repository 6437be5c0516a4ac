"""Memory of large arguments is used again, not asked for anew each time."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from tensorkeep_valkey.freed_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2_000_000)
before = faults()
for _ in range(50):
    held = [bytearray(2_000_000) for _ in range(4)]
    del held
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_pages_of_what_was_freed_are_used_again():
    def faults(how):
        made = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        )
        return int(made.stdout)

    assert faults("kept") * 5 < faults("given back")
