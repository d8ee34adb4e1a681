"""The number of independent neurons of a layer (DESIGN §4)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .gram import gram
from .similarity import REDUNDANT_BELOW, distance_from_gram, vanished_from_gram


def count_independent(w: Tensor) -> int:
    """Number of independent neurons among the rows of `w` (n, d).

    Vanished neurons are dropped. Then the redundant pairs (i, j), i < j, are walked in lexicographic order: a pair is
    skipped if j is already absorbed; else i becomes (or stays) a representative, and i and j are marked absorbed. The
    count is the representatives plus the neurons never marked.
    """
    return independent_from_gram(gram(w))


def independent_from_gram(g: Tensor) -> int:
    """`count_independent` from the Gram matrix (n, n)."""
    alive = ~vanished_from_gram(g)
    redundant = (distance_from_gram(g) < REDUNDANT_BELOW)[alive][:, alive].triu(diagonal=1).cpu().numpy()
    absorbed = np.zeros(len(redundant), dtype=bool)
    representatives = 0
    # Within row i the pairs do not affect one another, so a row is one step; a row without pairs is none.
    for i in np.flatnonzero(redundant.any(axis=1)):
        newly = redundant[i] & ~absorbed
        if newly.any():
            representatives += 1
            absorbed |= newly
            absorbed[i] = True
    return int(representatives + np.count_nonzero(~absorbed))
