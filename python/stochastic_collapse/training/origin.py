"""Fine-tuning: a network that starts from another run's weights."""

from __future__ import annotations

from torch import nn

from ..config import TrainConfig
from ..errors import InputError
from ..models.weights import load_weights
from ..origin import file_of


def load_origin(config: TrainConfig, model: nn.Module) -> None:
    """Put the weights of the origin of `config`, which `origin.located` has filled in, into `model`.

    Without an origin, leaves `model` as it is. Raises `InputError`, naming both, where the origin's checkpoint is
    missing, or is of another network.
    """
    if config.origin is None:
        return
    path = file_of(config)
    weights, own = load_weights(path, config.model.name), model.state_dict()
    for name in [*own, *weights]:
        theirs, ours = (str(tuple(state[name].shape)) if name in state else "missing" for state in (weights, own))
        if theirs != ours:
            raise InputError(
                f"{path} does not fit the network {config.model.name} of {config.name}: {name} is {theirs} there, "
                f"expected {ours}"
            )
    model.load_state_dict(weights)
