"""Networks by name: those that the package brings, and those of other libraries and of users' own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..config import ModelSettings
from ..errors import InputError
from ..task import Input, Task
from .calling import call, predictions
from .registry import FAMILIES, SOURCES, family, is_built_in
from .resize import resize

__all__ = [
    "FAMILIES",
    "SOURCES",
    "build_model",
    "family",
    "is_built_in",
    "library_versions",
    "network_like",
    "renamed",
    "resize",
]


def build_model(settings: ModelSettings, task: Task) -> nn.Module:
    """A freshly initialized network for `task`, in training mode on the CPU.

    Raises `InputError` where such a network cannot do the task, where a reference leads to none, or to one that fails
    or whose outputs are of another shape than the task's.
    """
    name = settings.name
    if is_built_in(name):
        return family(name).build(settings, task)
    model = SOURCES[name.partition(":")[0]].build(settings, task)
    _check_outputs(model, task, name)
    return model


def library_versions(name: str) -> Mapping[str, str]:
    """Versions of the libraries that make the network of that name or reference, by library."""
    return {} if is_built_in(name) else SOURCES[name.partition(":")[0]].versions()


def renamed(name: str) -> Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None:
    """From a state dict with the published code's names to one with those of our network `name`; None for others."""
    return family(name).renamed if is_built_in(name) else None


def _check_outputs(model: nn.Module, task: Task, name: str) -> None:
    """Raise `InputError` where the network does not take the task's inputs or gives other outputs, and where it is to
    predict the next token and sees it."""
    n = 2
    expected = (n, *task.input_shape, task.outputs) if task.kind == "next_token" else (n, task.outputs)
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            outputs = predictions(call(model.eval(), task.example(n)))
            sees_ahead = task.kind == "next_token" and _sees_ahead(model, task, outputs)
    except InputError as error:
        raise InputError(f"model.name: {name}: {error}") from None
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"model.name: {name}: the network fails on inputs {_shapes(task, n)}: {type(error).__name__}: {reason}"
        ) from error
    finally:
        model.train(was_training)
    if tuple(outputs.shape) != expected and (task.outputs > 1 or tuple(outputs.shape) != expected[:-1]):
        raise InputError(
            f"model.name: {name}: the network gives {tuple(outputs.shape)} for {n} examples, expected {expected}: "
            f"{_outputs(task)}; give the network that number, such as by model.arguments"
        )
    if sees_ahead:
        raise InputError(
            f"model.name: {name}: the last token changes what the network says at places before it, so it sees the "
            "tokens that it is to predict; expected a causal network"
        )


def _sees_ahead(model: nn.Module, task: Task, outputs: Tensor) -> bool:
    """Whether outputs, which are those for tokens 0, change before the last place where the last token does."""
    example = task.example(2)
    tokens = example if isinstance(example, Tensor) else next(iter(example.values()))
    if tokens.shape[1] < 2 or outputs.ndim != 3 or not task.vocabulary or task.vocabulary < 2:
        return False
    tokens[:, -1] = 1
    torch.manual_seed(0)  # of networks that draw numbers of their own
    changed = (predictions(call(model, example)) - outputs)[:, :-1].abs().max()
    return bool(changed > 1e-5 * outputs.abs().max())


def _outputs(task: Task) -> str:
    words = {"classification": "classes", "regression": "real targets", "next_token": "tokens at each place"}
    return f"the data have {task.outputs} {words[task.kind]}"


def _shapes(task: Task, n: int) -> str:
    if task.named is None:
        return str((n, *task.input_shape))
    return ", ".join(f"{name} {(n, *one.shape)}" for name, one in task.named.items())


def network_like(name: str, weights: Mapping[str, Tensor], **told: Any) -> tuple[nn.Module, Tensor]:
    """The built-in network `name` with these weights, each layer as wide as they are, and two inputs that it takes.

    What weights do not tell and neurons depend on is `told`, of vit and gpt `heads`, of the first block, or
    `head_size`; what else they do not (activation, dropout, whether images are square) is as by default. Raises
    `InputError` where there is no such network, where they are not those of one, and where something is not told.
    """
    network = family(name)
    if network.untold and not told:
        raise InputError(f"{name}: weights do not tell its {network.untold}; give {network.untold} beside its name")
    try:
        model, shape = network.like(weights, **told)
        parameters = {key for key, _ in model.named_parameters()}
        missing = sorted(parameters - set(weights))
    except (KeyError, IndexError) as error:
        missing = [str(error.args[0]) if isinstance(error, KeyError) else "fc1.weight"]
    if missing:
        there = ", ".join([*weights][:4]) or "none"
        raise InputError(f"these weights are not a {name}: no {missing[0]!r} among {there}, …")
    resize(model, {key: value for key, value in weights.items() if key in model.state_dict()})
    return model, Input(shape, 1 if network.tokens else None).example()
