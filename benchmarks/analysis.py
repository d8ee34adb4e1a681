"""The collapse measures of all 15 layers of a VGG-16 beside their brute-force definition: same weights, same run.

    python benchmarks/analysis.py [--layers conv8,fc14] [--repeats 5] [--out FOLDER]

The brute force is the published notebook's way: a Python loop over the pairs of neurons, and a full SVD. It takes
minutes for all layers, so by default it runs on the layers named. With a CUDA device all layers are measured on it too,
beside the CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from records import Figure, Results, parser
from stochastic_collapse.collapse import measure_layers
from stochastic_collapse.config import VGGSettings
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import neuron_layers, neuron_vectors
from stochastic_collapse.task import Task
from timing import seconds

CPU = torch.device("cpu")


def brute_force(w: npt.NDArray[np.float32]) -> tuple[int, float]:
    """Independent neurons and effective rank by their definitions (docs/definitions.md), pair by pair."""
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


def times(measure: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each call after a first."""
    measure()
    return [seconds(measure, device) for _ in range(repeats)]


def main() -> None:
    arguments = parser(__doc__)
    arguments.set_defaults(repeats=5)
    arguments.add_argument("--layers", default="conv8,fc14", help="layers for the brute force, all or none")
    options = arguments.parse_args()
    results = Results(options.out)

    torch.manual_seed(0)
    model = build_model(VGGSettings(name="vgg16"), Task((3, 32, 32), 10))
    parameters = dict(model.named_parameters())
    layers = neuron_layers("vgg16", parameters)
    on_cpu = times(lambda: measure_layers(parameters, layers), CPU, options.repeats)
    what = "collapse of VGG-16, 15 layers"
    results.add(Figure.of("collapse/vgg16", what, on_cpu, "s"))
    if torch.cuda.is_available():
        device = torch.device("cuda")
        moved = {name: p.detach().to(device) for name, p in parameters.items()}
        on_cuda = times(lambda: measure_layers(moved, layers), device, options.repeats)
        results.add(beside("collapse/vgg16/cuda", what, on_cuda, "the CPU", on_cpu))

    names = [layer.name for layer in layers]
    wanted = {"all": names, "none": []}.get(options.layers, options.layers.split(","))
    if unknown := sorted(set(wanted) - set(names)):
        arguments.error(f"--layers: unknown {', '.join(unknown)}; there are {', '.join(names)}, all and none")
    for layer in layers:
        if layer.name not in wanted:
            continue
        table = measure_layers(parameters, [layer])
        ours = times(lambda layer=layer: measure_layers(parameters, [layer]), CPU, options.repeats)  # type: ignore[misc]
        w = neuron_vectors(parameters, layer).numpy()
        found: list[tuple[int, float]] = []
        brute = [seconds(lambda w=w, found=found: found.append(brute_force(w)), CPU)]  # type: ignore[misc]
        [(independent, rank)] = found
        assert independent == table["independent"].iloc[0]
        assert abs(rank / table["effective_rank"].iloc[0] - 1) < 1e-3
        what = f"collapse of VGG-16's {layer.name}, {w.shape[0]} × {w.shape[1]}"
        results.add(beside(f"collapse/{layer.name}", what, ours, "pair by pair", brute))


def beside(name: str, what: str, ours: list[float], alternative: str, its: list[float]) -> Figure:
    value, other = (float(np.median(taken)) for taken in (ours, its))
    return Figure.of(name, what, ours, "s", alternative=alternative, alternative_value=other, ratio=other / value)


if __name__ == "__main__":
    main()
