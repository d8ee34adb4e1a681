"""What is minimized: from a network and a batch the predictions, and the mean loss, for each kind of task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..data.dataset import Dataset, Inputs
from ..data.loader import Batch
from ..errors import InputError
from ..models.calling import call, labels_argument, own_loss, predictions
from ..task import Task
from ..user_code import call as call_user_code
from ..user_code import load
from .losses import LOSSES, Loss

Objective = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""From a network and a batch to the predictions, float32, and the loss: one number for each of a stack of networks.

Predictions of the next token are one for each place of each example, (B·T, tokens); others are as the task has them.
"""


def objective_of(config: TrainConfig, dataset: Dataset, model: nn.Module) -> Objective:
    """What a run with these settings minimizes.

    Raises `InputError` where the loss does not go with the task, where the network has none of its own that was asked
    for, and as `user_code.load` does.
    """
    task = dataset.task
    if config.loss in LOSSES:
        _check(config, dataset)
        return Compared(LOSSES[config.loss], task)
    if config.data.label_noise and config.gradient_noise != "sampled":
        raise InputError(
            f"gradient_noise: {config.gradient_noise} averages label noise, which takes labels as probabilities; "
            f"expected loss: {', '.join(LOSSES)}, found {config.loss}"
        )
    if config.loss == "model":
        return _Own(model, task)
    return Compared(_users(config.loss), task)


class Compared:
    """A loss that compares predictions with targets."""

    def __init__(self, loss: Loss, task: Task) -> None:
        self._loss, self._task = loss, task

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        predicted = in_rows(predictions(call(model, batch.inputs)), self._task)
        return predicted, self._loss(predicted, batch_in_rows(batch, self._task))


class _Own:
    """The loss that a network computes of itself where it gets the targets."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        self._task = task
        name = labels_argument(model)
        if name is None:
            raise InputError(
                "loss: model asks for the network's own, and its forward takes no labels or targets; expected "
                f"{', '.join(LOSSES)} or python:MODULE:CALLABLE"
            )
        self._name = name

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        output = call(model, batch.inputs, **{self._name: self._targets(batch)})
        return in_rows(predictions(output), self._task), own_loss(output).float()

    def _targets(self, batch: Batch) -> Inputs:
        # transformers' networks take the tokens themselves as labels, and compare each place with the next.
        shifts = self._task.kind == "next_token" and self._name == "labels"
        if not shifts:
            return batch.targets
        return batch.inputs if isinstance(batch.inputs, Tensor) else next(iter(batch.inputs.values()))


def in_rows(predicted: Tensor, task: Task) -> Tensor:
    """Predictions as float32, those of the next token a row for each place, and a lone number as a column."""
    predicted = predicted.float()
    if task.kind == "next_token":
        return predicted.flatten(0, 1)
    return predicted[:, None] if task.outputs == 1 and predicted.ndim == 1 else predicted


def batch_in_rows(batch: Batch, task: Task) -> Batch:
    """The batch with targets as `in_rows` has predictions."""
    return batch._replace(targets=batch.targets.flatten(0, 1)) if task.kind == "next_token" else batch


def _users(reference: str) -> Loss:
    function: Callable[..., Any] = load(reference, "loss")

    def loss(predicted: Tensor, batch: Batch) -> Tensor:
        found = call_user_code(lambda: function(predicted, batch.targets), f"loss: {reference}")
        if not isinstance(found, Tensor) or found.numel() != 1:
            what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"loss: {reference}: returned {what}, expected a tensor with one number, the mean loss")
        if predicted.requires_grad and not found.requires_grad:
            raise InputError(f"loss: {reference}: its result has no gradient, as of detach() or item(); leave that out")
        return found.reshape(()).float()

    return loss


def _check(config: TrainConfig, dataset: Dataset) -> None:
    if dataset.task.kind != "regression":
        return
    if config.loss == "cross_entropy":
        raise InputError("loss: cross_entropy is for classes, and these targets are real; expected mse")
    targets = dataset.train.targets
    if config.loss == "bce" and not bool(((targets >= 0) & (targets <= 1)).all()):
        low, high = torch.aminmax(targets)
        raise InputError(
            f"loss: bce is for targets from 0 to 1, and these are from {low:.3g} to {high:.3g}; expected mse, or "
            "data.normalize: false where they are from 0 to 1 before"
        )
