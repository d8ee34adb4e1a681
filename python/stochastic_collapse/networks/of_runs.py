"""The network of a run: built as its settings say, and its layers of interchangeable neurons."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..errors import InputError
from ..models import network_like
from ..neurons import NeuronLayer, neuron_layers, trace
from ..provenance import require_source
from ..runs import RunDirectory
from ..task import Task
from .network import Network
from .recipe import Recipe


def network_of(run: RunDirectory, weights: Mapping[str, Tensor]) -> Network:
    """The network of a run, of which `weights` are a state dict.

    Raises `InputError` where it cannot be built any more, such as of code that has changed, and where it cannot be
    traced.
    """
    config, task = run.config(), run.task()
    if task is None:  # of a version that had built-in networks only, whose weights say all
        model, example = network_like(config.model.name, weights)
        return Network(model, example, neuron_layers(config.model.name, weights))
    require_source(config.model.name, config.sources.get("model.name"), f"model.name of {run}")
    model, _ = Recipe.of(config, task).build(weights)
    layers, reason = layers_of(model, config, task)
    if reason is not None:
        raise InputError(f"{run}: its network cannot be measured: {reason}")
    return Network(model, task.example(), layers)


def layers_of(model: nn.Module, config: TrainConfig, task: Task) -> tuple[list[NeuronLayer], str | None]:
    """The layers of `model`, built of these settings for this task; or none, and the reason why it cannot be traced.

    Networks of the same settings are traced once.
    """
    key = json.dumps(
        [
            config.model.model_dump(mode="json", exclude={"weights", "state"}),
            config.sources.get("model.name"),
            task.to_json(),
        ],
        sort_keys=True,
    )
    return _cache.get(key) or _traced(key, model, task)


_cache: dict[str, tuple[list[NeuronLayer], str | None]] = {}


def _traced(key: str, model: nn.Module, task: Task) -> tuple[list[NeuronLayer], str | None]:
    try:
        with torch.random.fork_rng(devices=[]):
            found = trace(model, task.example())
        _cache[key] = (
            list(found.layers),
            None if found.layers else "no layer of interchangeable neurons was found in it",
        )
    except InputError as error:
        _cache[key] = [], str(error)
    return _cache[key]
