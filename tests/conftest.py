"""Put tests/helpers on the path as `helpers`, leave cores to others, allow slow machines."""

import sys
from pathlib import Path

import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
settings.register_profile("pcinv", deadline=None)  # no verdict depends on the clock
settings.load_profile("pcinv")
