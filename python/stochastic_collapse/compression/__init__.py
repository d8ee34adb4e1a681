"""Cashing a collapse in: the same network with its vanished neurons removed and its redundant ones merged.

`plan` decides which neurons go, `surgery` takes them out, `replacements` has the modules that a network needs where
PyTorch's own cannot express what is left, `compress` puts them together and checks the result. `training.compressed`
does it for the checkpoints of runs (`sc compress`).
"""

from .compress import Compression, compress
from .saving import load_compressed
from .weights import compress_files, compress_weights

__all__ = ["Compression", "compress", "compress_files", "compress_weights", "load_compressed"]
