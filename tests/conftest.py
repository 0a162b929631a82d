"""Put tests/helpers on the path as `helpers`, and leave cores to the other test workers."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
