"""A network that starts from weights that are there: those of another run, or of any file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from ..config import TrainConfig
from ..networks.loading import load_weights
from ..origin import file_of
from ..weights import read


def load_origin(config: TrainConfig, model: nn.Module, report: Callable[[str], None]) -> None:
    """Put the weights that `config`, which `provenance.located` has filled in, starts from into `model`.

    Without any, leaves `model` as it is. What was taken of a file is reported. Raises `InputError`, naming both, where
    the weights are missing, or are of another network.
    """
    if config.model.weights is not None:
        path, state = Path(config.model.weights).expanduser(), config.model.state
    elif config.origin is not None:
        path, state = file_of(config), None
    else:
        return
    taken = load_weights(model, read(path), config.model.name, state=state, of=f" of {config.name}")
    report(f"{config.name}: starts from {taken}")
