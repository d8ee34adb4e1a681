"""Times of steps, taken in turns, so that what else a machine does weighs on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of `work`, the device's part included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def repeated(step: Callable[[], object], count: int) -> Callable[[], None]:
    """A function that takes `count` steps."""

    def work() -> None:
        for _ in range(count):
            step()

    return work


def in_turns(
    steps: Mapping[str, Callable[[], object]], device: torch.device, *, repeats: int, block: float, warm: int = 5
) -> dict[str, list[float]]:
    """Seconds per step of each, the means of `repeats` blocks of about `block` seconds.

    Each first takes `warm` steps, which hold compilation, captures and choices of algorithms, and a tenth of a block.
    """
    counts = {}
    for name, step in steps.items():
        repeated(step, warm)()
        one = seconds(step, device)
        few = max(1, int(block / 10 / one))
        counts[name] = max(1, int(block * few / seconds(repeated(step, few), device)))
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            taken[name].append(seconds(repeated(step, counts[name]), device) / counts[name])
    return taken
