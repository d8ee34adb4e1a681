"""Learning-rate schedules as plain functions of the step (docs/experiments.md#deep-networks)."""

from __future__ import annotations

import math

from .config import ConstantSchedule, DecaySchedule, MultistepSchedule, ScheduleSettings


def learning_rate(schedule: ScheduleSettings, peak: float, step: int, max_steps: int) -> float:
    """Learning rate of optimization step `step`, counted from 0, of `max_steps`.

    During warm-up it is ``peak·(step + 1)/warmup_steps``; afterwards the schedule's multiple of `peak`. A milestone k
    of the multi-step schedule lets k steps run at the old rate.
    """
    if step < schedule.warmup_steps:
        return peak * (step + 1) / schedule.warmup_steps
    match schedule:
        case ConstantSchedule():
            return peak
        case MultistepSchedule():
            return peak * schedule.gamma ** sum(step >= milestone for milestone in schedule.milestones)
        case DecaySchedule():
            # 0 at the first step after warm-up, 1 at the last step.
            done = (step - schedule.warmup_steps) / max(1, max_steps - 1 - schedule.warmup_steps)
            remaining = (1 + math.cos(math.pi * done)) / 2 if schedule.name == "cosine" else 1 - done
            return peak * (schedule.final_fraction + (1 - schedule.final_fraction) * remaining)
