"""The one matrix from which all measures of a layer come: W Wᵀ for the n × d matrix W of its neurons' vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

_ROWS = 64


def gram(*blocks: Tensor) -> Tensor:
    """`inner_products`, checked: raises `InputError` too where the weights hold NaN or infinite values."""
    g = inner_products(*blocks)
    if not is_finite(g):
        raise InputError("these weights hold NaN or infinite values, so their collapse cannot be measured")
    return g


def inner_products(*blocks: Tensor) -> Tensor:
    """(n, n) matrix of the inner products of the rows of W, in float64 on the device where W lies.

    W (n, d) is given whole, or as blocks of its columns, each (n, d_k). Double precision, because effective rank takes
    square roots of its eigenvalues: in single precision a layer of rank one would seem to have hundreds of small
    singular values. Only what is on and below the diagonal is computed. Does not wait for the device. Raises
    `InputError` unless the blocks have two dimensions and the same number of rows, at least one.
    """
    n = blocks[0].shape[0]
    for block in blocks:
        if block.ndim != 2 or block.shape[0] != n or n == 0:
            raise InputError(
                f"expected an (n, d) matrix with a row for each of n ≥ 1 neurons, found shape {tuple(block.shape)}"
            )
    g = blocks[0].new_zeros(n, n, dtype=torch.float64)
    for block in blocks:
        w = block.detach().to(g)  # the parts of a layer may lie on several devices
        for start in range(0, n, _ROWS):
            stop = min(start + _ROWS, n)
            g[start:stop, :stop].addmm_(w[start:stop], w[:stop].T)
    return g.tril_().add_(g.tril(-1).T)  # in place, as of thousands of neurons a matrix takes a hundred megabytes


def is_finite(g: Tensor) -> bool:
    """Whether the weights behind a Gram matrix (n, n) are finite: whether all rows have a finite length."""
    return bool(torch.isfinite(g.diagonal()).all())
