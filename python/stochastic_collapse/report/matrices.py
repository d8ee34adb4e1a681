"""Distance matrices small enough for a page: ordered, averaged over blocks, a byte per value.

A matrix of normalized distances is symmetric, so only its lower triangle is kept. What a page of several checkpoints,
layers and runs may hold is fixed beforehand, whatever the weights are:

- of a run at most FRAMES checkpoints, evenly spread, the first and the last among them (of more than two runs fewer,
  2 at least);
- of each, all layers, incoming and outgoing weights;
- a matrix of n neurons is averaged to s × s blocks, with s = n up to SIDE, or less where the matrices of all runs would
  exceed BUDGET characters of base64.

For VGG-16 (15 layers) with 16 checkpoints or more this gives 85 × 85 blocks, 2.3 MB in all.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FRAMES = 16
SIDE = 128
BUDGET = 2_350_000
LARGEST = 2.0
"""Distance of the largest byte: orthogonal vectors. Larger ones, up to 4, count as this."""


def spread(steps: Sequence[int], at_most: int) -> list[int]:
    """At most that many of `steps`, evenly spread over them, the first and the last among them."""
    if len(steps) <= at_most:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, at_most).round().astype(int)
    return [steps[k] for k in places]


def frames(checkpoints: Sequence[int], runs: int) -> list[int]:
    """Steps of those `checkpoints` of one of so many `runs` whose matrices are shown."""
    return spread(checkpoints, max(2, min(FRAMES, 2 * FRAMES // runs)))


def side(neurons: int, matrices: int, runs: int) -> int:
    """Blocks along a matrix of a layer of so many neurons, where each of `runs` runs shows so many matrices."""
    values = (BUDGET / runs / matrices - 4) * 3 / 4  # base64 takes 4 characters for 3 bytes, and rounds up
    return min(neurons, SIDE, max(1, math.floor((math.sqrt(1 + 8 * values) - 1) / 2)))  # s (s + 1) / 2 ≤ values


def block_means(matrix: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(side, side) means of an (n, n) matrix over blocks; block k begins at row ⌊k n / side⌋."""
    n = len(matrix)
    edges = np.arange(side) * n // side
    counts = np.diff(edges, append=n)
    sums = np.add.reduceat(np.add.reduceat(matrix, edges, axis=0), edges, axis=1)
    return sums / np.outer(counts, counts)


def encode(distance: NDArray[np.float64], side: int) -> str:
    """The lower triangle, row by row, of the block means of an (n, n) matrix of distances: bytes in base64."""
    means = block_means(distance, side)[np.tril_indices(side)]
    levels = np.rint(np.clip(means / LARGEST, 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")
