"""Finished runs and sweeps made up of a few numbers, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stochastic_collapse.config import TrainConfig
from stochastic_collapse.runs import COLLAPSE, METRICS, RunDirectory, State
from stochastic_collapse.sweeps.directory import SweepDirectory
from stochastic_collapse.sweeps.plan import PlannedRun

Store = Callable[..., RunDirectory]
"""``store(config, fractions, accuracies, state)``: the directory of a run with these results."""

Plan = Callable[..., PlannedRun]
"""``plan(experiment, varied, replicate, *overrides)``: a run of a sweep, not trained."""

WriteSweep = Callable[[str, Sequence[PlannedRun]], SweepDirectory]
"""``write_sweep(name, runs)``: the record of a sweep where the shipped ones are looked for."""


@pytest.fixture
def store() -> Store:
    def write(
        config: TrainConfig,
        fractions: Mapping[int, Mapping[str, float]],
        accuracies: Mapping[int, float] | None = None,
        state: State = "finished",
    ) -> RunDirectory:
        """`fractions` of independent neurons by step and layer, `accuracies` by step."""
        run = RunDirectory.of(config)
        measured = [
            [step, layer, 100, 0, round(100 * fraction), fraction, 5.0]
            for step, layers in fractions.items()
            for layer, fraction in layers.items()
        ]
        rows = [[step, 1.0, config.optimizer.lr, 1 / (1 + step), 0.5, a] for step, a in (accuracies or {}).items()]
        run.write_config(config)
        run.write_collapse(pd.DataFrame(measured, columns=list(COLLAPSE)))
        run.write_metrics(pd.DataFrame(rows, columns=[*METRICS, "eval_accuracy"]))
        run.write_status(state, config.max_steps, 1.0)
        return run

    return write


@pytest.fixture
def plan(tiny: Callable[..., TrainConfig]) -> Plan:
    def make(experiment: str, varied: Mapping[str, Any], replicate: int, *overrides: str) -> PlannedRun:
        assigned = [f"{key}={value}" for key, value in varied.items() if key != "from.step"]
        config = tiny(f"name={experiment.replace(':', '-')}", f"replicate={replicate}", *assigned, *overrides)
        return PlannedRun(experiment, varied, config, "tiny.yaml", (), None)

    return make


@pytest.fixture
def write_sweep(tmp_path: Path) -> WriteSweep:
    def write(name: str, runs: Sequence[PlannedRun]) -> SweepDirectory:
        sweep = SweepDirectory(tmp_path / "runs" / "sweeps" / name)
        sweep.write_record(runs)
        return sweep

    return write
