"""One optimization step: eager, compiled, or the whole of it captured in a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ..config import AdamSettings, OptimizerSettings
from ..data.loader import Batch
from .inputs import Inputs, Perturbed
from .objective import Objective

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
    stack of networks. With `micro_batch` a batch of more examples takes several passes, whose gradients and losses are
    averaged (not for a stack). A `Perturbed` step's loss is that of the full batch.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        objective: Objective,
        *,
        autocast: Autocast,
        gradient_clip: float | None,
        cuda_graph: bool,
        loss_sum: Tensor,
        micro_batch: int | None = None,
    ) -> None:
        self._model, self._optimizer, self._objective = model, optimizer, objective
        self._autocast = autocast
        self._gradient_clip, self._micro_batch = gradient_clip, micro_batch
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._loss_sum = loss_sum
        self._eager_steps_left = _STEPS_BEFORE_CAPTURE if cuda_graph else None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, inputs: Inputs, lr: float) -> None:
        set_learning_rate(self._optimizer, lr)
        if self._eager_steps_left is None:
            self._run(inputs)
        elif self._eager_steps_left > 0:
            self._eager_steps_left -= 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*capturable=True")  # Adam: the capture is yet to come
                self._run(inputs)
            torch.cuda.current_stream().wait_stream(side)
        else:
            if self._graph is None:
                self._capture(inputs)
            self._replay(inputs)

    def _run(self, inputs: Inputs) -> None:
        if isinstance(inputs, Perturbed):
            self._backward(inputs.sampled)
            sampled = [p.grad for p in self._parameters if p.grad is not None]
            loss = self._backward(inputs.full)
            add_isotropic_noise(self._parameters, sampled, inputs.direction)
        else:
            loss = self._backward(inputs)
        if self._gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip)
        self._optimizer.step()
        self._loss_sum += loss

    def _backward(self, batch: Batch) -> Tensor:
        """Leave the gradient of the batch's mean loss with the parameters, and return the loss."""
        self._optimizer.zero_grad(set_to_none=True)
        parts = [batch] if self._micro_batch is None else batch.split(self._micro_batch)
        losses = []
        for part in parts:
            with self._autocast():
                _, loss = self._objective(self._model, part)
            if len(parts) > 1:
                loss = loss * (len(part.targets) / len(batch.targets))
            loss.sum().backward()
            losses.append(loss.detach())
        return sum(losses[1:], start=losses[0])

    def _capture(self, inputs: Inputs) -> None:
        """Record the step on buffers that `_replay` fills; recording runs nothing."""
        self._static = _copy(inputs)
        self._graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self._graph):
            self._run(self._static)

    def _replay(self, inputs: Inputs) -> None:
        _fill(self._static, inputs)
        assert self._graph is not None
        self._graph.replay()


@torch.no_grad()
def add_isotropic_noise(parameters: Sequence[nn.Parameter], sampled: Sequence[Tensor], direction: Tensor) -> None:
    """Add noise to the gradients g of `parameters`, alike in all of them, of the power that batches' noise has.

    g becomes g + z·‖b − g‖/√P, with b the gradient of a batch, z = `direction` (P,) of standard normal numbers, and P
    the number of all parameters. Over z the noise's mean squared norm is ‖b − g‖², of which that of batches is the
    mean over b.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([b - g for b, g in zip(sampled, gradients, strict=True)])
    noise = direction * (norm / len(direction) ** 0.5)
    for gradient, part in zip(gradients, noise.split([g.numel() for g in gradients]), strict=True):
        gradient += part.view(gradient.shape)


def _copy(inputs: Any) -> Any:
    """Tensors of the same values in a named tuple or mapping of the same form, which may hold others."""
    if isinstance(inputs, tuple):
        return type(inputs)(*map(_copy, inputs))
    if isinstance(inputs, Mapping):
        return {name: _copy(one) for name, one in inputs.items()}
    return inputs.clone() if inputs is not None else None


def _fill(static: Any, fresh: Any) -> None:
    """Copy the values of one such into another."""
    if isinstance(static, tuple):
        for there, here in zip(static, fresh, strict=True):
            _fill(there, here)
    elif isinstance(static, Mapping):
        for name, there in static.items():
            _fill(there, fresh[name])
    elif static is not None:
        static.copy_(fresh)
