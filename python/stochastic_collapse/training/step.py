"""One optimization step: eager, compiled, or the whole of it captured in a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ..config import AdamSettings, OptimizerSettings
from ..data.loader import Batch, EvaluationBatches
from .losses import Loss

Autocast = Callable[[], AbstractContextManager[object]]

# Steps on a side stream before capture, as CUDA graphs need; they are steps of the training like any other.
_STEPS_BEFORE_CAPTURE = 3


def make_optimizer(settings: OptimizerSettings, model: nn.Module, *, capturable: bool = False) -> torch.optim.Optimizer:
    """The optimizer over all parameters, its update fused into one kernel; `capturable` for use in CUDA graphs."""
    parameters = list(model.parameters())
    # A captured step reads the learning rate from the device; a Python number would be frozen into the graph.
    lr: float | Tensor = torch.tensor(settings.lr, device=parameters[0].device) if capturable else settings.lr
    if isinstance(settings, AdamSettings):
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        return kind(
            parameters,
            lr=lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=capturable,
        )
    return torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters, in place where it lies on a device."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


class TrainingStep:
    """Forward pass, loss, backward pass and update for one batch; sums up the losses on the device.

    Calling it never waits for the device. `loss_sum` grows by the step's loss: a scalar, or one number for each of a
    stack of networks.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        *,
        autocast: Autocast,
        gradient_clip: float | None,
        cuda_graph: bool,
        loss_sum: Tensor,
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        self._autocast = autocast
        self._gradient_clip = gradient_clip
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._loss_sum = loss_sum
        self._eager_steps_left = _STEPS_BEFORE_CAPTURE if cuda_graph else None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch, lr: float) -> None:
        set_learning_rate(self._optimizer, lr)
        if self._eager_steps_left is None:
            self._run(batch)
        elif self._eager_steps_left > 0:
            self._eager_steps_left -= 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*capturable=True")  # Adam: the capture is yet to come
                self._run(batch)
            torch.cuda.current_stream().wait_stream(side)
        else:
            if self._graph is None:
                self._capture(batch)
            self._replay(batch)

    def _run(self, batch: Batch) -> None:
        with self._autocast():
            loss = self._loss(self._model(batch.images).float(), batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        if self._gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip)
        self._optimizer.step()
        self._loss_sum += loss.detach()

    def _capture(self, batch: Batch) -> None:
        """Record the step on buffers that `_replay` fills; recording runs nothing."""
        self._static = Batch(*(part.clone() if part is not None else None for part in batch))  # type: ignore[arg-type]
        self._graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self._graph):
            self._run(self._static)

    def _replay(self, batch: Batch) -> None:
        for static, fresh in zip(self._static, batch, strict=True):
            if static is not None and fresh is not None:
                static.copy_(fresh)
        assert self._graph is not None
        self._graph.replay()


@torch.no_grad()
def evaluate(model: nn.Module, batches: EvaluationBatches, loss: Loss, autocast: Autocast) -> tuple[float, float]:
    """Mean loss and accuracy (0 to 1) of `model`, in evaluation mode, over all of `batches`."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    correct = torch.zeros((), device=device, dtype=torch.int64)
    for batch in batches:
        with autocast():
            logits = model(batch.images).float()
        loss_sum += loss(logits, batch).double() * len(batch.labels)
        correct += (logits.argmax(dim=1) == batch.labels).sum()
    model.train(was_training)
    return loss_sum.item() / len(batches), correct.item() / len(batches)
