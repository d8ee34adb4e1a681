"""All of Figure 2 on a CUDA device: 50 noise levels × 1,000 trajectories × 100,000 steps, in one kernel of Triton.

    python benchmarks/figure2.py [--repeats 3] [--out FOLDER]

The kernel's own time by the device's events, beside the call as users make it, which reads and writes files. Then its
numbers: at three noise levels, ‖w‖ after 20,000 steps against the CPU's in float64, by a two-sample Kolmogorov–Smirnov
test each. Both count as `FLOOR` below it: above the threshold trajectories go on falling, for float32 down to 1e-38.
Ends with exit status 1 where a test has p < 1e-4, which happens by chance once in 3,300 runs.
"""

from __future__ import annotations

import sys
import tempfile
import unittest.mock
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ks_2samp

from records import Figure, Results, parser
from stochastic_collapse import ToyConfig, load_toys, simulate_toy
from stochastic_collapse.toys.engines.torch_kernel import advance_of, start_of
from stochastic_collapse.toys.problems import data_of, spec_of

SMALLEST_P = 1e-4
FLOOR = 1e-30


def settings(*overrides: str) -> ToyConfig:
    [config] = load_toys("configs/toys/fig2.yaml", overrides)
    return config


def kernel_seconds(config: ToyConfig, repeats: int) -> list[float]:
    """Of all steps of all trajectories."""
    spec, data, levels = spec_of(config), data_of(config), range(len(config.noise))
    advance = advance_of(spec, data, levels, "cuda")
    start = start_of(spec, 2, levels).to("cuda", torch.float32)
    taken = []
    for repeat in range(-1, repeats):  # the first compiles
        state, (before, after) = start.clone(), (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        advance(state, 0, 0, config.snapshots[-1])
        after.record()
        torch.cuda.synchronize()
        if repeat >= 0:
            taken.append(before.elapsed_time(after) / 1e3)
    return taken


def call_seconds(config: ToyConfig, repeats: int) -> list[float]:
    """Of `simulate_toy`, files included."""
    taken = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            taken.append(simulate_toy(config, "torch", out=folder).provenance["seconds"])
    return taken


def agreement(results: Results) -> bool:
    """Whether the distributions on both devices agree."""
    config = settings("noise=[1, 1.7, 2.5]", "snapshots=[0, 20000]", "trajectories=4000")
    norms = []
    with tempfile.TemporaryDirectory() as folder:
        for device in ("cuda", "cpu"):
            with unittest.mock.patch("torch.cuda.is_available", lambda device=device: device == "cuda"):
                run = simulate_toy(config, "torch", out=Path(folder) / device)
            assert run.provenance["device"] == device
            norms.append(np.maximum(np.linalg.norm(run.state[:, -1], axis=-1), FLOOR))
    p_values = [float(ks_2samp(one, other).pvalue) for one, other in zip(*norms, strict=True)]
    what = "Figure 2, ‖w‖ of the kernel and of the CPU's float64 at η = 1, 1.7, 2.5, n = 4,000, smallest p of KS"
    results.add(Figure("figure2/agreement", what, min(p_values), "", 3, (min(p_values), max(p_values))))
    return min(p_values) > SMALLEST_P


def main() -> None:
    options = parser(__doc__).parse_args()
    if not torch.cuda.is_available():
        sys.exit("figure2: no CUDA device")
    results = Results(options.out)
    config = settings()
    what = f"all of Figure 2, {len(config.noise) * config.trajectories * config.snapshots[-1]:.0e} trajectory-steps"
    results.add(Figure.of("figure2/kernel", f"{what}, the kernel", kernel_seconds(config, options.repeats), "s"))
    results.add(Figure.of("figure2/call", f"{what}, the call", call_seconds(config, options.repeats), "s"))
    if not agreement(results):
        sys.exit(f"figure2: the kernel's distribution is not the CPU's: p < {SMALLEST_P}")


if __name__ == "__main__":
    main()
