"""Replicates of the digits network as one batched program, beside lone runs: per step, and whole runs per hour.

    python benchmarks/replicates.py [--replicates 1,8,64] [--block 3] [--runs N] [--out FOLDER]

Per step both take the same batches through the same loop's step, in turns; the ratio is of the times that a step of all
replicates takes. With --runs N besides: N complete runs by `sc train --replicates N`, from the command to the tables,
beside runs in processes of their own, as many at once as there are cores (8 at most).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from records import Figure, Results, parser
from stochastic_collapse import load_config
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.execution import resolve
from stochastic_collapse.training.run import Run
from stochastic_collapse.training.stack import StackedStep
from timing import in_turns

CONFIG = "configs/digits/mlp_gelu.yaml"


def make_runs(config: TrainConfig, count: int) -> list[Run]:
    dataset, execution = load_dataset(config.data), resolve(config)
    replicates = (config.model_copy(update={"replicate": k}) for k in range(count))
    return [Run(replicate, RunDirectory(Path("unused")), dataset, execution, print) for replicate in replicates]


def each(runs: list[Run]) -> Callable[[], None]:
    def step() -> None:
        for run in runs:
            run.take_step(1e-3)

    return step


def steps(count: int, lone: list[Run], repeats: int, block: float, results: Results) -> None:
    """A step of all replicates, beside so many of the `lone` ones."""
    config, lone = load_config(CONFIG), lone[:count]
    ways: dict[str, Callable[[], object]] = {"lone": each(lone)}
    if count > 1:
        stack = StackedStep(make_runs(config, count))
        ways["stacked"] = lambda: stack(1e-3)
    with lone[0].execution.active():
        times = in_turns(ways, lone[0].execution.device, repeats=repeats, block=block)
    alone = [1e3 * t * count / len(lone) for t in times["lone"]]
    if count == 1:
        results.add(Figure.of("replicates/1", "a step of a lone digits MLP", alone, "ms"))
        return
    together = [1e3 * t for t in times["stacked"]]
    figure = Figure.of(
        f"replicates/{count}",
        f"a step of {count} replicates of the digits MLP as one program",
        together,
        "ms",
        alternative="one after another",
        alternative_value=statistics.median(alone),
        ratio=statistics.median(alone) / statistics.median(together),
    )
    results.add(figure)


def whole_runs(count: int, max_steps: int, results: Results) -> None:
    """Complete runs per hour."""
    sc = [sys.executable, "-m", "stochastic_collapse", "train", "-f", CONFIG, f"max_steps={max_steps}"]
    processes = min(8, os.cpu_count() or 1, count)
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "SC_RUNS": folder}

        def hourly(commands: list[list[str]], runs: int) -> float:
            began = time.perf_counter()
            started = [subprocess.Popen(c, env=environment, stdout=subprocess.DEVNULL) for c in commands]
            if any(process.wait() for process in started):
                raise SystemExit("replicates: a run failed")
            return 3600 * runs / (time.perf_counter() - began)

        alone = hourly([[*sc, "name=alone", f"replicate={k}"] for k in range(processes)], processes)
        together = hourly([[*sc, "name=together", "--replicates", str(count)]], count)
    figure = Figure.of(
        f"replicates/{count}/runs",
        f"{count} runs of the digits MLP of {max_steps:,} steps as one program, start and files included",
        [together],
        "runs/h",
        alternative=f"{processes} processes at once",
        alternative_value=alone,
        ratio=together / alone,
    )
    results.add(figure)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--replicates", default="1,2,4,8")
    arguments.add_argument("--block", type=float, default=3.0, help="seconds for which a way has its turn")
    arguments.add_argument("--runs", type=int, default=0)
    arguments.add_argument("--max-steps", type=int, default=20_000, help="of each of the complete runs")
    options = arguments.parse_args()
    results = Results(options.out)
    lone = make_runs(load_config(CONFIG), 8)  # once, since compiling and capturing them takes longer than measuring
    for count in map(int, options.replicates.split(",")):
        steps(count, lone, options.repeats, options.block, results)
    if options.runs:
        whole_runs(options.runs, options.max_steps, results)


if __name__ == "__main__":
    main()
