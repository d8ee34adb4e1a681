"""Replicates of the digits network trained as one batched program, beside the same replicates one after another.

    python benchmarks/replicates.py [--replicates 2,4,8] [--steps 1000] [--repeats 3] [--json]

Both take the same batches through the same loop's step; timed in turns after a warm-up. The ratio is of the times that
a step of all replicates takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from machine import describe, print_machine
from stochastic_collapse import load_config
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.execution import resolve
from stochastic_collapse.training.run import Run
from stochastic_collapse.training.stack import StackedStep
from training import seconds_per_step


def make_runs(config: TrainConfig, count: int) -> list[Run]:
    dataset, execution = load_dataset(config.data), resolve(config)
    replicates = (config.model_copy(update={"replicate": k}) for k in range(count))
    return [Run(replicate, RunDirectory(Path("unused")), dataset, execution, print) for replicate in replicates]


def one_after_another(runs: list[Run]) -> Callable[[], None]:
    def step() -> None:
        for run in runs:
            run.take_step(1e-3)

    return step


def measure(count: int, steps: int, repeats: int) -> dict[str, Any]:
    config = load_config("configs/digits/mlp_gelu.yaml")
    stack = StackedStep(make_runs(config, count))
    lone = make_runs(config, count)
    torch.set_num_threads(lone[0].execution.threads or torch.get_num_threads())
    ways = {"stacked": lambda: stack(1e-3), "lone": one_after_another(lone)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(-1, repeats):  # the first is the warm-up
        for way, step in ways.items():
            taken = seconds_per_step(step, steps if repeat >= 0 else max(20, steps // 10), lone[0].execution.device)
            if repeat >= 0:
                times[way].append(taken)
    stacked, alone = (statistics.median(times[way]) for way in ("stacked", "lone"))
    return {
        "replicates": count,
        "steps": steps,
        "n": repeats,
        "stacked": stacked,
        "lone": alone,
        "ratio": alone / stacked,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", default="2,4,8")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = [measure(int(count), options.steps, options.repeats) for count in options.replicates.split(",")]
    if options.json:
        print(json.dumps({"machine": describe(), "results": results}))
        return
    print_machine()
    for r in results:
        print(
            f"{r['replicates']} replicates: one program {1e3 * r['stacked']:.2f} ms a step of all, "
            f"one after another {1e3 * r['lone']:.2f} ms, ratio {r['ratio']:.2f} "
            f"(median of {r['n']} × {r['steps']} steps)"
        )


if __name__ == "__main__":
    main()
