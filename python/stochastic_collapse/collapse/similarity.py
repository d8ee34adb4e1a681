"""Distances between neurons, and the neurons that have vanished (docs/definitions.md#measures)."""

from __future__ import annotations

import torch
from torch import Tensor

from .gram import gram

VANISHED_BELOW = 0.1
REDUNDANT_BELOW = 0.1
_EPSILON = 1e-8


def normalized_distance(w: Tensor) -> Tensor:
    """d_ij = 2‖w_i − w_j‖² / (‖w_i‖² + ‖w_j‖² + 1e-8) for the rows of `w` (n, d), as (n, n) float64.

    0 for equal vectors, about 2 for orthogonal ones, 4 for opposite ones (paper §6, docs/definitions.md#measures).
    """
    return distance_from_gram(gram(w))


def distance_from_gram(g: Tensor) -> Tensor:
    """`normalized_distance` from the Gram matrix (n, n)."""
    squares = g.diagonal()
    total = squares[:, None] + squares[None, :]
    # In place: of thousands of neurons a matrix takes a hundred megabytes.
    distance = torch.sub(total, g, alpha=2).mul_(2).div_(total.add_(_EPSILON))
    distance.fill_diagonal_(0)
    return distance.clamp_(min=0)  # rounding may leave −1e-16 for equal vectors


def vanished_from_gram(g: Tensor, below: float = VANISHED_BELOW) -> Tensor:
    """(n,) mask of the vanished neurons, ‖w_i‖ / max_j ‖w_j‖ < `below`; all of them where every vector is zero."""
    norms = g.diagonal().sqrt()
    largest = norms.max()
    return torch.where(largest > 0, norms / largest < below, True)
