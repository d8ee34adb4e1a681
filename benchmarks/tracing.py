"""Tracing the networks of tests/neurons/families.py in three ways: ours, torch.fx, Torch-Pruning's dependency graph.

    pip install torch-pruning    # for this only
    python benchmarks/tracing.py

For each network: seconds of ours, the check of symmetry included, and layers found; whether `torch.fx.symbolic_trace`
goes through; seconds of Torch-Pruning's `DependencyGraph` with its defaults, its groups (the output's left out), and
how many of these the network survives one neuron of being pruned from. What takes more than half a minute is broken
off. The output is a Markdown table.
"""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from torch import Tensor, fx, nn

from records import machine, versions
from stochastic_collapse.neurons import trace
from stochastic_collapse.neurons.graph import arguments, outputs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.neurons.families import NETWORKS

_SECONDS = 30


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise `TimeoutError` where it takes too long."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def ours(model: nn.Module, example: Any) -> str:
    start = time.perf_counter()
    layers = trace(model, example).layers
    return f"{time.perf_counter() - start:.2f} s, {len(layers)} layers"


def by_fx(model: nn.Module) -> str:
    try:
        fx.symbolic_trace(model)
    except Exception as error:  # whatever the network's own code raises when it gets no numbers
        return type(error).__name__
    return "yes"


def groups_of(model: nn.Module, example: Any) -> tuple[Any, list[Any]]:
    """Torch-Pruning's graph and its groups, but that of the layer that makes the output."""
    given = dict(example) if isinstance(example, Mapping) else example
    graph = torch_pruning.DependencyGraph().build_dependency(
        model, given, output_transform=lambda result: sum(one.sum() for one in outputs(result))
    )
    return graph, [group for group in graph.get_all_groups() if group[0][0].target.module is not last_linear(model)]


def last_linear(model: nn.Module) -> nn.Module:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


def by_dependency_graph(name: str) -> str:
    start = time.perf_counter()
    try:
        with limited():
            _, groups = groups_of(*NETWORKS[name]())
    except Exception as error:  # of the library, on networks that it does not know
        return type(error).__name__
    seconds, survived = time.perf_counter() - start, 0
    for k in range(len(groups)):
        model, example = NETWORKS[name]()
        graph, groups = groups_of(model, example)
        root = groups[k][0][0]
        args, kwargs = arguments(example)
        try:
            graph.get_pruning_group(root.target.module, root.handler, [0]).prune()
            survived += all(isinstance(one, Tensor) for one in outputs(model(*args, **kwargs)))
        except Exception:  # whatever a network raises whose sizes do not fit
            continue
    return f"{seconds:.2f} s, {survived} of {len(groups)} groups"


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in ("ResNet", "GPT-2"):  # imports, and what the exporter does once
        trace(*NETWORKS[name]())
    print({**machine(), **versions()})
    print("| network | ours | torch.fx | Torch-Pruning |\n|---|---|---|---|")
    for name, network in NETWORKS.items():
        model, example = network()
        cells = [ours(model, example), by_fx(model)]
        with contextlib.redirect_stdout(io.StringIO()):
            cells.append(by_dependency_graph(name))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
