"""The collapse measures beside their brute-force definition: all 15 layers of a VGG-16, same weights, same run.

    python benchmarks/analysis.py [--layers conv8,fc14] [--repeats 5] [--json]

The brute force is the published notebook's way: a Python loop over the pairs of neurons, and a full SVD. It takes
minutes for all layers, so by default it runs on the layers named and the table compares those.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from machine import describe, print_machine
from stochastic_collapse.collapse import measure_layers
from stochastic_collapse.config import VGG16Settings
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import neuron_layers, neuron_vectors

T = TypeVar("T")


def brute_force(w: npt.NDArray[np.float32]) -> tuple[int, float]:
    """Independent neurons and effective rank by the definitions of DESIGN §4, pair by pair."""
    norms = np.linalg.norm(w, axis=1)
    kept = w[norms / norms.max() >= 0.1]
    absorbed: set[int] = set()
    representatives: set[int] = set()
    for i, j in itertools.combinations(range(len(kept)), 2):
        difference = 2 * np.linalg.norm(kept[i] - kept[j]) ** 2
        if (
            difference / (1e-8 + np.linalg.norm(kept[i]) ** 2 + np.linalg.norm(kept[j]) ** 2) < 0.1
            and j not in absorbed
        ):
            representatives.add(i)
            absorbed |= {i, j}
    p = np.linalg.svd(w, compute_uv=False)
    p = p / p.sum()
    return len(representatives) + len(kept) - len(absorbed), float(np.exp(-(p * np.log(p)).sum()))


def timed(function: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="conv8,fc14", help="layers for the brute force, or all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    torch.manual_seed(0)
    model = build_model(VGG16Settings(name="vgg16"), (3, 32, 32), 10)
    parameters, layers = dict(model.named_parameters()), neuron_layers("vgg16", dict(model.named_parameters()))
    measure_layers(parameters, layers)
    times = sorted(timed(lambda: measure_layers(parameters, layers))[0] for _ in range(options.repeats))
    all_layers = times[len(times) // 2]

    wanted = {layer.name for layer in layers} if options.layers == "all" else set(options.layers.split(","))
    rows: list[dict[str, Any]] = []
    for layer in layers:
        if layer.name not in wanted:
            continue
        ours, table = min(
            (timed(lambda layer=layer: measure_layers(parameters, [layer])) for _ in range(options.repeats)),  # type: ignore[misc]
            key=lambda pair: pair[0],
        )
        w = neuron_vectors(parameters, layer).numpy()
        brute, (independent, rank) = timed(lambda w=w: brute_force(w))  # type: ignore[misc]
        assert independent == table["independent"].iloc[0]
        assert abs(rank / table["effective_rank"].iloc[0] - 1) < 1e-3
        rows.append(
            {"layer": layer.name, "shape": w.shape, "seconds": ours, "brute_force": brute, "ratio": brute / ours}
        )

    if options.json:
        print(
            json.dumps({"machine": describe(), "all_15_layers_seconds": all_layers, "n": options.repeats, "rows": rows})
        )
        return
    print_machine()
    print(f"all 15 layers of VGG-16: {all_layers:.3f} s (median of {options.repeats})")
    for row in rows:
        print(
            f"{row['layer']:>7} {row['shape'][0]:>4} × {row['shape'][1]:<5} {1e3 * row['seconds']:8.1f} ms   "
            f"brute force {1e3 * row['brute_force']:10.1f} ms   ratio {row['ratio']:6.0f}"
        )


if __name__ == "__main__":
    main()
