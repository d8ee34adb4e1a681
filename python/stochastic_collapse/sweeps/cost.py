"""What a run's twins cost, before they are trained."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..config import TrainConfig
from .plan import PlannedRun, Sweep
from .scheduler import news

_MEASURED_BELOW = 1.0  # seconds of a step


class Cost(NamedTuple):
    """Of one experiment of a sweep, over its replicates."""

    experiment: str
    replicates: int
    left: int
    """Replicates that are still to be trained."""
    steps: int
    """Of each replicate."""
    examples: int
    """Whose gradients a step computes."""
    relative: float
    """Examples over all steps, to those of the sweep's first experiment."""
    seconds: float
    """Of computing on this machine, of all that is left to do, one after another; evaluations not counted."""
    is_measured: bool
    """Whether by steps of it, or by those of the first experiment times the examples."""

    def summary(self) -> str:
        """A line for people."""
        steps = f"{self.steps:,} steps of {self.examples:,} example{'s' * (self.examples != 1)}"
        if not self.left:
            return f"{self.experiment}: {steps}, {self.relative:.3g} × the run's; nothing left to train"
        duration = str(datetime.timedelta(seconds=max(1, round(self.seconds))))
        how = "" if self.is_measured else ", by its number of examples"
        runs = f"{self.left} replicate{'s' * (self.left != 1)}"
        return f"{self.experiment}: {steps}, {self.relative:.3g} × the run's; about {duration} here for {runs}{how}"

    def to_json(self) -> dict[str, Any]:
        """The cost as JSON values."""
        return self._asdict()


def costs(sweep: Sweep) -> list[Cost]:
    """The cost of each experiment of `sweep`, each of which is one run in several replicates.

    What is left to train is timed by a few steps on this machine; where one would take more than a second, as one of
    the whole training set may, its time is that of a step of the first experiment times the ratio of examples.
    """
    from ..data.datasets import training_examples  # imports torch

    experiments: dict[str, list[PlannedRun]] = {}
    for run in sweep.runs:
        experiments.setdefault(run.experiment, []).append(run)
    left = {name: [run for run in runs if _steps_left(run)] for name, runs in experiments.items()}
    first = sweep.runs[0].config
    of_first = first.examples_per_step(training_examples(first.data))
    per_example = _seconds_per_step([first]) / of_first if any(left.values()) else 0.0
    found = []
    for name, runs in experiments.items():
        config, to_train = runs[0].config, left[name]
        examples = config.examples_per_step(training_examples(config.data))
        each = per_example * examples * len(to_train)
        is_measured = each < _MEASURED_BELOW
        if to_train and is_measured:
            each = _seconds_per_step([run.config for run in to_train])
        work = config.max_steps * examples / (first.max_steps * of_first)
        seconds = each * max(map(_steps_left, to_train), default=0)
        found.append(Cost(name, len(runs), len(to_train), config.max_steps, examples, work, seconds, is_measured))
    return found


def _seconds_per_step(configs: Sequence[TrainConfig]) -> float:
    from ..training.timing import seconds_per_step  # imports torch

    return seconds_per_step(configs)


def _steps_left(run: PlannedRun) -> int:
    """0 also of a run that diverged, which is not tried again."""
    now = news(run)
    return 0 if now.state in ("finished", "diverged") else now.steps - now.step
