"""What a run's twins are: the same run but for one thing, that the collapse might be due to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BeforeValidator

from ..config import MultistepSchedule, TrainConfig
from ..errors import InputError

Control = Literal[
    "no-noise",
    "isotropic",
    "larger-batch-steps",
    "larger-batch-epochs",
    "smaller-batch-steps",
    "smaller-batch-epochs",
    "no-label-noise",
    "no-weight-decay",
    "lower-rate",
    "all",
]
*CONTROLS, ALL = get_args(Control)

Controls = Annotated[tuple[Control, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""In a settings file: a list of names, or all."""

_DIVIDED = "noise/"

FACTOR = 4.0
"""Between the batch sizes, or the learning rates, of a run and its twins."""


class Twins(NamedTuple):
    """The twins of a run."""

    changes: dict[str, tuple[str, ...]]
    """By the names of the twins: the overrides of the run's settings that make them."""
    notes: list[str]
    """A line about each control that makes no sense for the run, and about what stays random."""


def averaged(batches: int) -> str:
    """Name of the twin whose gradients are means over so many batches, in place of `no-noise`."""
    return f"{_DIVIDED}{batches}"


def averages(name: str) -> int:
    """The number of batches that `averaged` made `name` of; 0 for the names of other twins."""
    return int(name.removeprefix(_DIVIDED)) if name.startswith(_DIVIDED) else 0


def twins(config: TrainConfig, wanted: Collection[str], *, factor: float = FACTOR, average: int | None = None) -> Twins:
    """The twins of the run `config` for the controls `wanted`, names of CONTROLS, or ALL: those that make sense for it.

    `factor` is between the batch sizes or learning rates. `average` has the twin without noise take the means over so
    many batches instead. Raises `InputError` for a control wanted by its name that makes no sense for the run.
    """
    if average is not None and not {"no-noise", ALL} & set(wanted):
        raise InputError(f"means over {average} batches stand in place of the control no-noise, which is not asked for")
    changes: dict[str, tuple[str, ...]] = {}
    notes = []
    for control in CONTROLS if ALL in wanted else wanted:
        name, change = control, _CHANGES[control]
        if control == "no-noise" and average is not None:
            name, change = averaged(average), _means(average)
        try:
            settings = change(config, factor)
        except InputError as error:
            line = f"control {name} makes no sense for {config.name}: {error}"
            if ALL not in wanted:
                raise InputError(line) from None
            notes.append(line)
            continue
        changes[name] = tuple(f"{key}={value}" for key, value in settings.items())
        if averages(name):
            notes.append(
                f"control {name}: the mean over {average} batches has noise, of at most 1/{average} of its power"
            )
        if control in ("no-noise", "isotropic") and config.perturbed:
            notes.append(f"control {name}: {', '.join(config.perturbed)} stay random in it")
    return Twins(changes, notes)


# --- the changes ----------------------------------------------------------------------------------------------------

Settings = dict[str, Any]
"""Changed settings, by their dotted names."""

Change = Callable[[TrainConfig, float], Settings]
"""Raises `InputError`, with the reason alone, where it makes no sense."""


def _batch_size(config: TrainConfig) -> int:
    """For twins with other batch sizes."""
    if config.gradient_noise == "none":
        raise InputError("it has no gradient noise, so that its batch size changes nothing")
    if config.batch_size == "full":
        raise InputError("its batch is the whole training set; take a run with batches")
    return config.batch_size


def _examples(config: TrainConfig) -> int:
    """Examples in its training set."""
    from ..data.datasets import training_examples  # imports torch

    return training_examples(config.data)


def _passes(config: TrainConfig) -> Settings:
    """That the whole set goes through a network with images as a batch of the run does, for its memory."""
    if config.model.fully_connected or config.micro_batch is not None or config.batch_size == "full":
        return {}
    return {"micro_batch": config.batch_size}


def _other_noise(kind: str) -> Change:
    def change(config: TrainConfig, factor: float) -> Settings:
        still = config.batch_size == "full" and not config.noisy_labels
        if config.gradient_noise == "none" or (config.gradient_noise == "sampled" and still):
            raise InputError("it has no gradient noise")
        if config.gradient_noise == kind:
            raise InputError(f"its gradient noise is {kind} already")
        return {"gradient_noise": kind, **_passes(config)}

    return change


def _means(batches: int) -> Change:
    def change(config: TrainConfig, factor: float) -> Settings:
        size, examples = _batch_size(config), _examples(config)
        if batches * size > examples:
            raise InputError(
                f"{batches} batches of {size} are more than its {examples} training examples; "
                f"average at most {examples // size}, or take the whole set"
            )
        return {"batch_size": batches * size, "micro_batch": config.micro_batch or size}

    return change


def _other_batch(*, larger: bool, equal: Literal["steps", "epochs"]) -> Change:
    def change(config: TrainConfig, factor: float) -> Settings:
        size, examples = _batch_size(config), _examples(config)
        other = min(round(size * factor), examples) if larger else max(round(size / factor), 1)
        if other == size:
            limit = f"a batch of {size} is {'the whole training set' if size == examples else 'as large'}"
            raise InputError(limit if larger else f"a batch of {size} cannot be divided by {factor:g}")
        schedule = _scaled(config, size / other) if equal == "epochs" else {}
        return {"batch_size": other, **schedule}

    return change


def _no_label_noise(config: TrainConfig, factor: float) -> Settings:
    noisy = [key for key in ("label_noise", "target_noise") if getattr(config.data, key) > 0]
    if not noisy:
        raise InputError("it has no label noise to remove")
    return {f"data.{key}": 0 for key in noisy}


def _no_weight_decay(config: TrainConfig, factor: float) -> Settings:
    if config.optimizer.weight_decay == 0:
        raise InputError("it has no weight decay to remove")
    return {"optimizer.weight_decay": 0}


def _lower_rate(config: TrainConfig, factor: float) -> Settings:
    return {"optimizer.lr": config.optimizer.lr / factor, **_scaled(config, factor)}


def _scaled(config: TrainConfig, scale: float) -> Settings:
    """All settings that count steps, times `scale`; 0 stays 0, and milestones go on to increase."""

    def times(steps: int) -> int:
        return max(1, round(scale * steps)) if steps else 0

    counts = {
        "max_steps": config.max_steps,
        "schedule.warmup_steps": config.schedule.warmup_steps,
        "eval_every": config.eval_every,
        "log_every": config.log_every,
        "checkpoint_every": config.checkpoint_every,
        "collapse.every": config.collapse.every,
    }
    scaled: Settings = {key: times(steps) for key, steps in counts.items() if times(steps) != steps}
    if isinstance(config.schedule, MultistepSchedule) and config.schedule.milestones:
        milestones: list[int] = []
        for milestone in config.schedule.milestones:
            milestones.append(max(times(milestone), milestones[-1] + 1 if milestones else 1))
        scaled["schedule.milestones"] = milestones
    return scaled


_CHANGES: dict[str, Change] = {
    "no-noise": _other_noise("none"),
    "isotropic": _other_noise("isotropic"),
    "larger-batch-steps": _other_batch(larger=True, equal="steps"),
    "larger-batch-epochs": _other_batch(larger=True, equal="epochs"),
    "smaller-batch-steps": _other_batch(larger=False, equal="steps"),
    "smaller-batch-epochs": _other_batch(larger=False, equal="epochs"),
    "no-label-noise": _no_label_noise,
    "no-weight-decay": _no_weight_decay,
    "lower-rate": _lower_rate,
}
