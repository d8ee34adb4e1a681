"""Several networks of one shape trained as one batched program: a step of all of them takes one pass.

A small network's step is mostly the overhead of its operations, which a stack pays once for all. The runs stay what
they are alone: their own data, their own tables and checkpoints, and, but for rounding, their own weights, which are
parts of the stacked ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from ..data.loader import BatchLoader, StackedBatches
from ..models.mlp import MLP
from .run import Run
from .step import TrainingStep, make_optimizer

_NEWS_SECONDS_PER_RUN = 0.1
"""So that writing the news of many runs, some milliseconds each, takes a small part of the time."""


class Stack(nn.Module):
    """R networks as one, inputs (R, B, …) → outputs (R, B, outputs); their parameters become slices of this one's."""

    def __init__(self, models: Sequence[MLP]) -> None:
        super().__init__()
        self._shape = [models[0]]  # in a list, so that it is not a submodule
        self.stacked = nn.ParameterList()
        for parameters in zip(*(model.parameters() for model in models), strict=True):
            self.stacked.append(nn.Parameter(torch.stack([p.detach() for p in parameters])))
            for slice_, parameter in zip(self.stacked[-1].detach(), parameters, strict=True):
                parameter.data = slice_

    def forward(self, inputs: Tensor) -> Tensor:
        return self._shape[0].forward_stacked(list(self.stacked), inputs)


class StackedStep:
    """A step of all `runs`, which have the same settings but for the replicate and are at the same step."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        config, execution = runs[0].config, runs[0].execution
        self._stack = Stack([cast(MLP, run.model) for run in runs])
        self._optimizer = make_optimizer(config.optimizer, self._stack, capturable=execution.cuda_graphs)
        self._gather()
        self._batches = StackedBatches([cast(BatchLoader, run.loader) for run in runs])
        loss_sum = torch.stack([run.loss_sum for run in runs])
        for run, own in zip(runs, loss_sum, strict=True):
            run.loss_sum = own
            run.execution = replace(execution, compile=False)  # as it is from here on
            run.news_seconds = max(run.news_seconds, _NEWS_SECONDS_PER_RUN * len(runs))
        self._take_step = TrainingStep(
            self._stack,
            self._optimizer,
            runs[0].objective,
            autocast=execution.autocast,
            gradient_clip=None,
            cuda_graph=execution.cuda_graphs,
            loss_sum=loss_sum,
        )

    def __call__(self, lr: float) -> None:
        self._take_step(self._batches.next(), lr)

    def before_saving(self) -> None:
        """Give each run's optimizer, from which checkpoints are made, its part of the state."""
        for r, run in enumerate(self._runs):
            for parameter, stacked in zip(run.model.parameters(), self._stack.parameters(), strict=True):
                run.optimizer.state[parameter] = {
                    name: value[r].clone() if value.shape == stacked.shape else value
                    for name, value in self._optimizer.state[stacked].items()
                }

    def _gather(self) -> None:
        """The state that the runs' optimizers got from their checkpoints, stacked; none at step 0."""
        for k, stacked in enumerate(self._stack.parameters()):
            states = [run.optimizer.state.get(list(run.model.parameters())[k], {}) for run in self._runs]
            for name, value in states[0].items():
                is_one_each = value.shape == stacked.shape[1:]
                self._optimizer.state[stacked][name] = (
                    torch.stack([state[name] for state in states]) if is_one_each else value.clone()
                )
