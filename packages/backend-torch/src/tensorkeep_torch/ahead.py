"""The libraries of torch, loaded before it is imported; to be imported first.

Not in the package itself, which is imported to read models as well.
"""

import os

from tensorkeep.libraries import load_ahead

# Threads of torch that wait for work spin by default, on the cores that the server and other runs
# need: on two cores beside other busy processes, a small convolutional network on two threads ran
# 16 times a second instead of 320. OpenMP reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The first as torch itself loads it; without it, others may meet two copies of a library.
if load_ahead("torch", "lib/libtorch_global_deps.so", exported=True):
    load_ahead("torch", "lib/libtorch_python.so")
