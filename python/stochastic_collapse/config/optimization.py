"""Settings of the optimizers and of the schedules of their learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Count, Fraction, NonNegative, Number, Positive, PositiveReal, Probability, Settings


class _OptimizerSettings(Settings):
    lr: PositiveReal
    """Learning rate after warm-up."""
    weight_decay: NonNegative = 0.0
    """Applied to all parameters, biases and normalization included."""
    gradient_clip: PositiveReal | None = None
    """Largest Euclidean norm of the whole gradient; null: no clipping."""


class SGDSettings(_OptimizerSettings):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: Fraction = 0.0
    """Fraction of the velocity kept from step to step."""
    nesterov: bool = False
    """Nesterov's form of momentum, which has to be above 0."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGDSettings:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class AdamSettings(_OptimizerSettings):
    """Adam (weight decay as an L2 penalty) or AdamW (decoupled)."""

    name: Literal["adam", "adamw"]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square."""
    eps: PositiveReal = 1e-8
    """Added to the root of the averaged square."""


OptimizerSettings = Annotated[SGDSettings | AdamSettings, Field(discriminator="name")]


class _ScheduleSettings(Settings):
    warmup_steps: Count = 0
    """Steps of linear warm-up: step k (from 1) of the warm-up runs at k/warmup_steps of the learning rate."""


class ConstantSchedule(_ScheduleSettings):
    """The learning rate stays as it is."""

    name: Literal["constant"]


class MultistepSchedule(_ScheduleSettings):
    """The learning rate is multiplied by gamma after each milestone."""

    name: Literal["multistep"]
    milestones: tuple[Positive, ...] = ()
    """Steps after which the rate drops, increasing."""
    gamma: Annotated[float, Field(gt=0, le=1), Number] = 0.1
    """What the rate is multiplied by at a milestone."""

    @model_validator(mode="after")
    def _increasing(self) -> MultistepSchedule:
        if any(a >= b for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise ValueError(f"milestones must increase, found {list(self.milestones)}")
        return self


class DecaySchedule(_ScheduleSettings):
    """From the end of warm-up to max_steps the rate falls to final_fraction of itself, on a cosine or a line."""

    name: Literal["cosine", "linear"]
    final_fraction: Probability = 0.0
    """Of the learning rate, what is left at max_steps."""


ScheduleSettings = Annotated[ConstantSchedule | MultistepSchedule | DecaySchedule, Field(discriminator="name")]
