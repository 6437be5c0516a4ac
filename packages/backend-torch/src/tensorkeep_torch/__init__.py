"""The TORCH backend of Tensorkeep: models and scripts of PyTorch.

`tensorkeep_torch.plugin` holds the hooks. Nothing else here is meant to be imported.
"""

import os

# Threads of torch that wait for work spin by default, for milliseconds and on the cores that the
# server and other runs need: beside one busy process, a small convolutional model on two threads
# took 43 ms a run instead of 3.4. OpenMP reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
