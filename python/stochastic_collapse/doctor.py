"""What this machine has for us: the engines of the toy simulations, Python, PyTorch, GPUs (`sc doctor`)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

from . import __version__
from .toys.engines import all_engines


def examine(julia: str | Path | None = None) -> dict[str, Any]:
    """Everything as JSON values; `julia` is the program of the engine of this name, as for `simulate_toy`."""
    engines: list[dict[str, Any]] = []
    for engine in all_engines(julia):
        state = engine.availability()
        engines.append(
            {"engine": engine.name, "available": state.available, "reason": state.explain(), **state.details}
        )
    auto = next((engine["engine"] for engine in engines if engine["available"]), None)
    return {
        "stochastic_collapse": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in ("torch", "triton", "juliacall", "juliapkg", "numpy")},
        "gpus": _gpus(),
        "engines": engines,
        "auto": auto,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    """The CUDA devices that PyTorch finds."""
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    return [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
