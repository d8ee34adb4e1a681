"""How good a network is on the test set, in the figures of its task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.loader import Batch, EvaluationBatches
from ..task import Task
from .objective import Objective, batch_in_rows
from .step import Autocast


class _Figures(Protocol):
    """Adds up what the figures of a task need, on the device, in double precision."""

    def add(self, predicted: Tensor, targets: Tensor) -> None: ...

    def values(self) -> dict[str, float]: ...


class _Accuracy:
    """The share of predictions whose largest output is the target's."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._correct, self._count = torch.zeros((), device=device, dtype=torch.int64), 0

    def add(self, predicted: Tensor, targets: Tensor) -> None:
        self._correct += (predicted.argmax(dim=1) == targets).sum()
        self._count += len(targets)

    def values(self) -> dict[str, float]:
        return {"eval_accuracy": self._correct.item() / self._count}


class _NextToken(_Accuracy):
    """The accuracy, and the cross-entropy of the next token in bits."""

    def __init__(self, task: Task, device: torch.device) -> None:
        super().__init__(task, device)
        self._nats = torch.zeros((), device=device, dtype=torch.float64)

    def add(self, predicted: Tensor, targets: Tensor) -> None:
        super().add(predicted, targets)
        self._nats += functional.cross_entropy(predicted, targets, reduction="sum").double()

    def values(self) -> dict[str, float]:
        return {**super().values(), "eval_bits_per_token": self._nats.item() / self._count / math.log(2)}


class _R2:
    """Of the variance of each target over the test set the share that predictions explain, their mean over targets.

    1 − Σ(y − ŷ)²/Σ(y − ȳ)²; of a target that does not vary 1 where it is predicted exactly, else 0.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        def zeros() -> Tensor:
            return torch.zeros(task.outputs, device=device, dtype=torch.float64)

        self._missed, self._sum, self._squares, self._count = zeros(), zeros(), zeros(), 0

    def add(self, predicted: Tensor, targets: Tensor) -> None:
        targets = targets.double()
        self._missed += (targets - predicted.double()).square().sum(0)
        self._sum += targets.sum(0)
        self._squares += targets.square().sum(0)
        self._count += len(targets)

    def values(self) -> dict[str, float]:
        total = self._squares - self._sum.square() / self._count
        varies = total > 1e-12 * self._squares
        constant = (self._missed == 0).double()
        return {"eval_r2": torch.where(varies, 1 - self._missed / total, constant).mean().item()}


_FIGURES: Mapping[str, type[_Accuracy | _R2]] = {
    "classification": _Accuracy,
    "next_token": _NextToken,
    "regression": _R2,
}


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: EvaluationBatches, objective: Objective, autocast: Autocast
) -> dict[str, float]:
    """`eval_loss`, the mean loss of `model` over all of `batches`, in evaluation mode, and the figures of its task.

    Those are `eval_accuracy` (0 to 1) of classification; that and `eval_bits_per_token` of next tokens; `eval_r2` of
    regression.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    figures: _Figures = _FIGURES[batches.task.kind](batches.task, device)
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    try:
        for batch in batches:
            with autocast():
                predicted, loss = objective(model, batch)
            loss_sum += loss.double() * len(batch.targets)
            figures.add(predicted, _targets(batch, batches.task))
    finally:
        model.train(was_training)
    return {"eval_loss": loss_sum.item() / len(batches), **figures.values()}


def _targets(batch: Batch, task: Task) -> Tensor:
    return batch_in_rows(batch, task).targets
