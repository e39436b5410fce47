"""The audio format of the speech code: mono float32 at 16 kHz."""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000

Samples = NDArray[np.float32]
"""Mono audio, or channels and samples where a function says so. Full scale is ±1."""
