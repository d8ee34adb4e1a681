"""Cashing a collapse in: the same network with its vanished neurons removed and its redundant ones merged.

`plan` decides which neurons go, `surgery` takes them out, `models.replacements` has the modules that a network needs
where PyTorch's own cannot express what is left, `compress` puts them together and checks the result. `saving` writes
it, `networks.compressed` reads it. `training.compressed` does it for the checkpoints of runs (`sc compress`), `weights`
for files of weights.
"""

from ..networks.compressed import load_compressed
from .compress import Compression, compress
from .weights import compress_files, compress_weights

__all__ = ["Compression", "compress", "compress_files", "compress_weights", "load_compressed"]
