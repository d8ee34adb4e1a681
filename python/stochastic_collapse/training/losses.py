"""Losses by name, each from outputs (B, outputs) and a batch to the mean loss, a scalar.

Of a stack of R networks, from (R, B, outputs) and stacked batches, to the R means. Each is linear in the label's
distribution but for a constant, so labels as probabilities give the expected loss's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from ..data.loader import Batch

Loss = Callable[[Tensor, Batch], Tensor]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """−log softmax of the label's logit, averaged over the batch."""
    targets = batch.targets
    labels = targets.flatten(0, -2) if targets.is_floating_point() else targets.flatten()
    losses = functional.cross_entropy(logits.flatten(0, -2), labels, reduction="none")
    return losses.view(logits.shape[:-1]).mean(-1)


def mse(logits: Tensor, batch: Batch) -> Tensor:
    """Squared difference from the one-hot or real target plus target noise, averaged over batch and outputs."""
    targets = _one_hot(logits, batch)
    if batch.target_noise is not None:
        targets = targets + batch.target_noise
    return (logits - targets).square().mean((-2, -1))


def bce(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy of each output against the one-hot or real target, averaged over batch and outputs."""
    losses = functional.binary_cross_entropy_with_logits(logits, _one_hot(logits, batch), reduction="none")
    return losses.mean((-2, -1))


def _one_hot(logits: Tensor, batch: Batch) -> Tensor:
    if batch.targets.is_floating_point():  # probabilities, or real targets
        return batch.targets
    # functional.one_hot looks at the labels' values, which torch.func cannot follow.
    classes = torch.arange(logits.shape[-1], device=logits.device)
    return (batch.targets[..., None] == classes).to(logits.dtype)


LOSSES: Mapping[str, Loss] = MappingProxyType({"cross_entropy": cross_entropy, "mse": mse, "bce": bce})
