"""The one matrix from which all measures of a layer come: W Wᵀ for the n × d matrix W of its neurons' vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

_BLOCK = 64


def gram(w: Tensor) -> Tensor:
    """(n, n) matrix of the inner products of the rows of `w` (n, d), in float64 on the device of `w`.

    Double precision, because effective rank takes square roots of its eigenvalues: in single precision a layer of
    rank one would seem to have hundreds of small singular values. Only the blocks on and below the diagonal are
    computed. Raises `InputError` unless `w` has two dimensions, at least one row, and finite values.
    """
    if w.ndim != 2 or w.shape[0] == 0:
        raise InputError(
            f"expected an (n, d) matrix with a row for each of n ≥ 1 neurons, found shape {tuple(w.shape)}"
        )
    w = w.detach().to(torch.float64)
    n = w.shape[0]
    g = w.new_zeros(n, n)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        g[start:stop, :stop] = w[start:stop] @ w[:stop].T
    g = g.tril() + g.tril(-1).T
    if not torch.isfinite(g.diagonal()).all():
        raise InputError("these weights hold NaN or infinite values, so their collapse cannot be measured")
    return g
