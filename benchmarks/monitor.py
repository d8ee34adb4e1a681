"""What a CollapseMonitor costs: a plain PyTorch loop with it beside the same loop without, same network, in turns.

    python benchmarks/monitor.py [--case digits-mlp,vgg16] [--every 500] [--repeats N] [--json]

Batches lie ready on the device, so a step is forward, backward and update only: other loops' steps take longer, and the
share is smaller. Blocks of steps without and with the monitor take turns, a block with it holds one measurement and
ends when that is finished, and the ratio is the median over the pairs of blocks, with its standard error. Where steps
are slow the blocks are shorter than `every` (as many steps as are named), and `share` says what the extra time of a
block is of `every` steps. Besides, one measurement alone: how long it holds up the loop, and how long it takes in all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from machine import describe, print_machine
from stochastic_collapse import CollapseMonitor
from stochastic_collapse.config import MLPSettings, VGG16Settings
from stochastic_collapse.models import build_model


@dataclass(frozen=True)
class Case:
    settings: MLPSettings | VGG16Settings
    shape: tuple[int, int, int]
    batch_size: int
    steps: int | None
    """Of a block on a CPU, where it is not `every`."""
    repeats: int


CASES = {
    "digits-mlp": Case(MLPSettings(name="mlp"), (1, 8, 8), 32, None, 60),
    "vgg16": Case(VGG16Settings(name="vgg16", width=0.25), (3, 32, 32), 128, 10, 12),
}


def plain_step(model: nn.Module, case: Case, device: torch.device) -> Callable[[], None]:
    """A function that takes one plain step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(case.batch_size, *case.shape, device=device)
    labels = torch.randint(10, (case.batch_size,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Of `work`, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, every: int, repeats: int | None, out: str) -> dict[str, Any]:
    case = CASES[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps = every if case.steps is None or device.type == "cuda" else case.steps
    torch.manual_seed(0)
    model = build_model(case.settings, case.shape, 10).to(device)
    step = plain_step(model, case, device)
    # Half a block ahead, so that the measurement has the second half of its block to finish in.
    monitor = CollapseMonitor(
        model, torch.zeros(2, *case.shape), every=steps, out=f"{out}/{name}", start_step=steps - steps // 2
    )

    def without() -> None:
        for _ in range(steps):
            step()

    def with_monitor() -> None:
        for _ in range(steps):
            step()
            monitor.step()
        monitor.table()

    pairs = [(seconds(without, device), seconds(with_monitor, device)) for _ in range((repeats or case.repeats) + 1)]
    pairs = pairs[1:]  # the first is the warm-up
    ratios = [b / a for a, b in pairs]
    ratio = statistics.median(ratios)
    # Of a median: 1.25 times that of a mean, with the spread taken from the quartiles, which outliers leave alone.
    low, _, high = statistics.quantiles(ratios, n=4)
    error = 1.25 * (high - low) / 1.35 / len(ratios) ** 0.5
    holding, whole = [], []
    for _ in range(20):
        start = time.perf_counter()
        monitor.measure()
        holding.append(time.perf_counter() - start)
        monitor.table()
        whole.append(time.perf_counter() - start)
    monitor.close()
    step_seconds = statistics.median(a for a, _ in pairs) / steps
    return {
        "case": name,
        "batch_size": case.batch_size,
        "layers": len(monitor.layers),
        "every": every,
        "steps": steps,
        "n": len(pairs),
        "step_seconds": step_seconds,
        "ratio": ratio,
        "share": (ratio - 1) * steps / every,
        "share_standard_error": error * steps / every,
        "holding_seconds": statistics.median(holding),
        "measurement_seconds": statistics.median(whole),
        "measurement_share": statistics.median(whole) / (every * step_seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES))
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--repeats", type=int, help="pairs of blocks")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.case.split(",")) - set(CASES):
        parser.error(f"--case: unknown {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    with TemporaryDirectory() as out:
        results = [measure(name, options.every, options.repeats, out) for name in options.case.split(",")]
    if options.json:
        print(json.dumps({"machine": describe(), "results": results}))
        return
    print_machine()
    for r in results:
        print(
            f"{r['case']:>10} batch {r['batch_size']:>3}, {r['layers']:>2} layers: "
            f"step {1e3 * r['step_seconds']:.2f} ms; loop with the monitor over without {r['ratio']:.4f} "
            f"with one measurement in {r['steps']} steps (median of {r['n']} pairs)"
        )
        print(
            f"{'':>10} at every={r['every']}: {r['share']:.2%} ± {r['share_standard_error']:.2%} of the step time; "
            f"one measurement holds up the loop {1e3 * r['holding_seconds']:.2f} ms and takes "
            f"{1e3 * r['measurement_seconds']:.2f} ms in all, {r['measurement_share']:.2%} of {r['every']} steps"
        )


if __name__ == "__main__":
    main()
