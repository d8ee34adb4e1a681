"""An order of a layer's neurons that shows their groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clustered(distance: NDArray[np.float64]) -> list[int]:
    """An order of n items in which the clusters of average linkage are contiguous, from their (n, n) distances."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(distance) < 2:
        return list(range(len(distance)))
    return [int(k) for k in leaves_list(linkage(squareform(distance, checks=False), "average"))]
