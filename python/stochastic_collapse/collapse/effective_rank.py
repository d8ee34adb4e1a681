"""Effective rank of a layer's matrix of neurons (Roy & Vetterli 2007, docs/definitions.md#measures)."""

from __future__ import annotations

import torch
from torch import Tensor

from .gram import gram


def effective_rank(w: Tensor) -> float:
    """exp(−Σ p log p), p the normalized singular values of `w` (n, d); between 1 and min(n, d), 0 for a zero matrix.

    The singular values are square roots of the Gram matrix's eigenvalues. Eigenvalues below n·ε of the largest
    (ε = 2.2e-16) are rounding errors and count as zero, so singular values below 3e-7 of the largest are not seen.
    """
    return effective_rank_from_gram(gram(w))


def effective_rank_from_gram(g: Tensor) -> float:
    """`effective_rank` from the Gram matrix (n, n)."""
    eigenvalues = torch.linalg.eigvalsh(g)
    rounding = g.shape[0] * torch.finfo(g.dtype).eps * eigenvalues[-1]
    singular_values = torch.where(eigenvalues > rounding, eigenvalues, 0).sqrt()
    total = singular_values.sum()
    if total == 0:
        return 0.0
    return float(torch.special.entr(singular_values / total).sum().exp())
