"""SGD's recursions of the toy problems by the engine torch: on a CUDA device beside the CPU, in turns, in one run.

    python benchmarks/recursions.py [--steps 2000] [--repeats 2] [--out FOLDER]

The sizes are those of the published or shipped settings, but for the steps. `wall` is what the engine itself measured,
from reading the inputs to the last file. Their random numbers are drawn on the CPU either way.
"""

from __future__ import annotations

import statistics
import sys
import unittest.mock

import torch

from records import Figure, Results, parser
from stochastic_collapse import ToyConfig
from toys import STEPS, measure_engine, multiply_adds, settings, size_of


def cases(steps: int) -> dict[str, tuple[ToyConfig, int]]:
    """Problem → its settings, and how many of the steps that are counted a trajectory takes at once."""
    labels = settings("students", steps, ensemble="labels")
    return {
        "two-neurons": (settings("two_neurons", steps), 1),
        "teacher-student": (settings("fig5", steps), 64),
        "students": (labels, multiply_adds(labels)),
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.set_defaults(repeats=2)
    arguments.add_argument("--steps", type=int, default=2000)
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        sys.exit("recursions: no CUDA device")
    results = Results(options.out)
    for problem, (config, width) in cases(options.steps).items():
        taken: dict[str, list[float]] = {"cuda": [], "cpu": []}
        for repeat in range(-1, options.repeats):  # the first warms up
            for device, walls in taken.items():
                with unittest.mock.patch("torch.cuda.is_available", lambda device=device: device == "cuda"):
                    wall = measure_engine(config, "torch", None, width)["wall"]
                if repeat >= 0:
                    walls.append(wall)
        title, unit = STEPS[problem]
        on_cuda, on_cpu = (statistics.median(walls) for walls in taken.values())
        results.add(
            Figure.of(
                f"toys/{problem}/torch-cuda",
                f"{title}, torch on the device, {size_of(config, width)} steps",
                taken["cuda"],
                unit,
                alternative="torch on the CPU",
                alternative_value=on_cpu,
                ratio=on_cpu / on_cuda,
            )
        )


if __name__ == "__main__":
    main()
