"""The independent neurons of a layer (docs/definitions.md#measures)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .gram import gram
from .similarity import REDUNDANT_BELOW, VANISHED_BELOW, distance_from_gram, vanished_from_gram

VANISHED = -1


def count_independent(w: Tensor) -> int:
    """Number of independent neurons among the rows of `w` (n, d).

    Vanished neurons are dropped. Then the redundant pairs (i, j), i < j, are walked in lexicographic order: a pair is
    skipped if j is already absorbed; else i becomes (or stays) a representative, and i and j are marked absorbed. The
    count is the representatives plus the neurons never marked.
    """
    return independent_from_gram(gram(w))


def independent_from_gram(g: Tensor, blocks: int = 1) -> int:
    """`count_independent` from the Gram matrix (n, n); `blocks` as in `representatives`."""
    return int(np.count_nonzero(representatives(g, blocks) == np.arange(len(g))))


def representatives(
    g: Tensor, blocks: int = 1, vanished_below: float = VANISHED_BELOW, redundant_below: float = REDUNDANT_BELOW
) -> NDArray[np.int64]:
    """(n,) the neuron that stands for each: itself if it is independent, VANISHED if it has vanished.

    By the walk of `count_independent`, from the Gram matrix (n, n). Of a layer of several `blocks` of neurons, as many
    in each, only those of one block can be redundant.
    """
    n = len(g)
    block = np.arange(n) // (n // blocks)
    alive = ~vanished_from_gram(g, vanished_below).cpu().numpy()
    near = (distance_from_gram(g) < redundant_below).triu(diagonal=1).cpu().numpy()
    redundant = near & np.outer(alive, alive) & (block[:, None] == block[None, :])
    found = np.where(alive, np.arange(n), VANISHED)
    absorbed = np.zeros(n, dtype=bool)
    # Within row i the pairs do not affect one another, so a row is one step; a row without pairs is none.
    for i in np.flatnonzero(redundant.any(axis=1)):
        newly = redundant[i] & ~absorbed
        if newly.any():
            found[newly] = i
            found[i] = i  # also where another had absorbed it
            absorbed |= newly
            absorbed[i] = True
    return found
