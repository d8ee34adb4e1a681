"""How long a step of a run takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from ..config import TrainConfig
from ..data.datasets import load_dataset
from ..provenance import located
from ..runs import RunDirectory
from .execution import resolve
from .run import Run
from .stack import StackedStep

_STEPS_AT_MOST = 100


def seconds_per_step(configs: Sequence[TrainConfig], limit: float = 0.5) -> float:
    """Seconds of a step of these replicates of one run, one after another unless they train as one program.

    Takes steps for about `limit` seconds, at least one, evaluates nothing and touches nothing on disk; does not wait
    for torch.compile, so that what is compiled can only be faster. Raises `InputError` for settings that this machine,
    the data or the origin cannot serve.
    """
    plain = [located(config.model_copy(update={"compile": False})) for config in configs]
    timed = plain if plain[0].stackable else plain[:1]
    execution = resolve(timed[0])
    with torch.random.fork_rng(devices=execution.cuda_devices):
        dataset = load_dataset(timed[0].data)
        runs = [Run(config, RunDirectory.of(config), dataset, execution, lambda line: None) for config in timed]
        with runs[0].execution.active():
            take_step = StackedStep(runs) if len(runs) > 1 else runs[0].take_step
            return _time(lambda: take_step(runs[0].lr(0)), execution.device, limit) * len(configs) / len(timed)


def _time(take_step: Callable[[], None], device: torch.device, limit: float) -> float:
    def timed(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            take_step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / steps

    first = timed(1)  # with allocations and choices of algorithms
    if first > limit:
        return first
    again = timed(1)
    return timed(max(1, min(_STEPS_AT_MOST, int(limit / max(again, 1e-6)))))
