"""Nanoseconds per step of one trajectory of Figure 2: every engine there is, both forms, beside a plain NumPy loop.

    python benchmarks/toys.py [--steps 10000] [--repeats 3] [--julia PATH] [--json]

All simulate the same 50 noise levels × 1,000 trajectories of configs/toys/fig2.yaml, in turns, in one run. The direct
form and NumPy take 1/20 of the steps, since they are so much slower. `wall` is what the engine itself measured, from
reading the inputs to the last file, `per core` that times its threads, `whole call` the rate with start-up and all. The
plain loop is what a tutorial writes: all trajectories of a noise level in one array, m Brownian motions, m activations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from typing import Any

import numpy as np

from machine import describe, print_machine
from stochastic_collapse import ToyConfig, load_toys, simulate_toy
from stochastic_collapse.toys.engines import all_engines
from stochastic_collapse.toys.problems import data_of

SLOWER = 20


def configuration(method: str, steps: int) -> ToyConfig:
    (config,) = load_toys("configs/toys/fig2.yaml", [f"method={method}", f"snapshots=[0, {steps}]"])
    return config


def measure_engine(engine: str, method: str, steps: int, julia: str | None) -> dict[str, float]:
    """Nanoseconds per trajectory-step: wall, per core, and of the whole call."""
    config = configuration(method, steps)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = simulate_toy(config, engine, julia=julia, out=folder)
        whole = 1e9 * (time.perf_counter() - start) / run.provenance["steps"]
    threads = 1 if "gpu" in run.provenance else int(run.provenance["threads"])
    return {"wall": run.nanoseconds_per_step, "per_core": run.nanoseconds_per_step * threads, "whole_call": whole}


def measure_numpy(steps: int) -> dict[str, float]:
    """The plain loop, of one noise level after the other."""
    config = configuration("direct", steps)
    data = data_of(config)
    x, y, dt, m = data["x"], data["y"], config.dt, len(data["x"])
    rng = np.random.default_rng(config.seed)
    start = time.perf_counter()
    for eta in config.noise:
        w1, w2 = 1e-3 * rng.standard_normal((2, config.trajectories, 1))
        for _ in range(steps):
            db = np.sqrt(dt) * rng.standard_normal((config.trajectories, m))
            phi = np.tanh(w1 * x)
            slope = (1 - phi**2) * x
            residual = w2 * phi - y
            dw1 = -(residual * w2 * slope).mean(1) * dt + np.sqrt(eta / m) * (w2 * slope * db).sum(1)
            dw2 = -(residual * phi).mean(1) * dt + np.sqrt(eta / m) * (phi * db).sum(1)
            w1, w2 = w1 + dw1[:, None], w2 + dw2[:, None]
    wall = 1e9 * (time.perf_counter() - start) / (len(config.noise) * config.trajectories * steps)
    return {"wall": wall, "per_core": wall, "whole_call": wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="steps of the tabulated form")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--julia", help="the program of the engine julia")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fast, slow = options.steps, max(1, options.steps // SLOWER)
    states = {engine.name: engine.availability() for engine in all_engines(options.julia)}
    here = [name for name, state in states.items() if state.available]
    cases = [(name, "tabulated", fast) for name in here] + [(name, "direct", slow) for name in here]
    times: dict[tuple[str, str, int], list[dict[str, float]]]
    times = {case: [] for case in [*cases, ("numpy", "direct", slow)]}
    for _ in range(options.repeats):
        for engine, method, steps in times:
            plain = engine == "numpy"
            taken = measure_numpy(steps) if plain else measure_engine(engine, method, steps, options.julia)
            times[engine, method, steps].append(taken)
    results: list[dict[str, Any]] = [
        {"engine": engine, "method": method, "steps": steps, "n": options.repeats}
        | {key: statistics.median(t[key] for t in taken) for key in ("wall", "per_core", "whole_call")}
        for (engine, method, steps), taken in times.items()
    ]
    for result in results:
        result["ratio"] = results[-1]["wall"] / result["wall"]
    missing = {name: state.reason for name, state in states.items() if not state.available}
    if options.json:
        print(json.dumps({"machine": describe(), "results": results, "not_available": missing}))
        return
    print_machine()
    print(f"ns per step of one trajectory, median of {options.repeats}, ratio of wall to NumPy's")
    for r in results:
        print(
            f"{r['engine']:>9} {r['method']:>9}: {r['wall']:7.1f} wall, {r['per_core']:7.1f} per core, "
            f"{r['whole_call']:7.1f} whole call, ratio {r['ratio']:6.1f}, n = 50 × 1000 × {r['steps']} steps"
        )
    for name, reason in missing.items():
        print(f"{name:>9} not measured: {reason}")


if __name__ == "__main__":
    main()
