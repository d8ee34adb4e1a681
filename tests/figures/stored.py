"""Results of real quick runs, as small files: what `load` of each figure's module returned (data/README.md).

``python tests/figures/stored.py [FIGURE]...`` writes them from the finished runs in $SC_RUNS.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from stochastic_collapse.figures import SHIPPED, sources

from stochastic_collapse.runs import write_atomically

FOLDER = Path(__file__).parent / "data"

_EVERY = 20  # of the snapshots of long toy runs


def read(figure: str) -> Any:
    """The results of the quick runs of `figure`."""
    with np.load(FOLDER / f"{figure}.npz") as arrays:
        return _decode(json.loads(str(arrays["structure"])), arrays)


def _decode(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind, content = value["is"], value["of"]
    if kind == "array":
        array = arrays[content]
        return array.astype(float) if array.dtype.kind == "f" else array
    items = {key: _decode(item, arrays) for key, item in content.items()}
    if kind == "dict":
        return items
    if kind == "tuple":
        return tuple(items.values())
    if kind == "table":
        return pd.DataFrame(items)
    module, name = kind.split(".")
    return getattr(importlib.import_module(f"stochastic_collapse.figures.{module}"), name)(**items)


def _encode(value: Any, arrays: dict[str, Any]) -> Any:
    """`value` as JSON; the arrays in it go to `arrays`."""

    def of(kind: str, items: dict[str, Any]) -> dict[str, Any]:
        return {"is": kind, "of": {key: _encode(item, arrays) for key, item in items.items()}}

    if dataclasses.is_dataclass(value):
        module = type(value).__module__.rpartition(".")[2]
        items = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return of(f"{module}.{type(value).__name__}", items)
    if isinstance(value, pd.DataFrame):
        return of("table", {str(column): value[column].to_numpy() for column in value})
    if isinstance(value, np.ndarray):
        small = {"f": np.float32, "i": np.int32, "O": np.str_}.get(value.dtype.kind)
        key = str(len(arrays))
        arrays[key] = value if small is None or value.dtype == np.float16 else value.astype(small)
        return {"is": "array", "of": key}
    if isinstance(value, tuple):
        return of("tuple", {str(k): item for k, item in enumerate(value)})
    if isinstance(value, dict):
        return of("dict", value)
    return [_encode(item, arrays) for item in value] if isinstance(value, list) else value


# --- writing --------------------------------------------------------------------------------------------------------


def _few(n: int) -> list[int]:
    """Of `n` snapshots every so many, and the last."""
    return sorted({*range(0, n, _EVERY), n - 1})


def _thin_fig1(results: Any) -> Any:
    few = _few(len(results.time))
    return dataclasses.replace(results, time=results.time[few], theta=results.theta[:, few])


def _thin_fig3(results: Any) -> Any:
    def thin(layer: Any) -> Any:
        incoming, outgoing = (np.round(matrix, 2).astype(np.float16) for matrix in (layer.incoming, layer.outgoing))
        return dataclasses.replace(layer, incoming=incoming, outgoing=outgoing)

    return [dataclasses.replace(network, layers=tuple(map(thin, network.layers))) for network in results]


def _thin_two_neurons(results: Any) -> Any:
    few = _few(len(results.steps))
    weights, distance = results.weights[few], results.distance[:, few]
    return dataclasses.replace(results, steps=results.steps[few], weights=weights, distance=distance)


_THIN: dict[str, Callable[[Any], Any]] = {
    "fig1": _thin_fig1,
    "fig3": _thin_fig3,
    "two-neurons": _thin_two_neurons,
}


def write(figure: str) -> Path:
    """Store the results of the quick runs of `figure`, and return where."""
    module = SHIPPED[figure]
    needs = {"quick": module.NEEDS["quick"]}
    results = _THIN.get(figure, lambda results: results)(module.load(sources.find(figure, needs, (), print)))
    arrays: dict[str, Any] = {}
    structure = json.dumps(_encode(results, arrays))
    path = FOLDER / f"{figure}.npz"
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, structure=np.array(structure), **arrays)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or SHIPPED:
        print(write(name), f"{(FOLDER / name).with_suffix('.npz').stat().st_size:,} bytes")
