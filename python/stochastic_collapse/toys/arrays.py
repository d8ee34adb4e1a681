"""The one type of array that the toy simulations use."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
