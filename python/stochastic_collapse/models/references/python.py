"""Networks that users' own code makes."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ... import user_code
from ...config.models import PythonModelSettings
from ...errors import InputError, nearest
from ...task import Task

_NAMES = {
    "outputs": ("num_classes", "n_classes", "classes", "num_labels", "outputs", "out_features"),
    "channels": ("in_channels", "in_chans", "channels"),
    "image_size": ("image_size", "img_size"),
    "input_shape": ("input_shape",),
    "features": ("in_features", "input_size"),
    "vocabulary": ("vocabulary", "vocab_size"),
    "context": ("context", "block_size", "seq_len", "context_length"),
    "task": ("task",),
}
"""What the task tells, and the names of parameters that ask for it."""


def version() -> dict[str, str]:
    """Of no library."""
    return {}


def build(settings: PythonModelSettings, task: Task) -> nn.Module:
    """What the callable returns: called by name with the settings' arguments, and with what its parameters ask of the
    task by a name in `_NAMES`. Of a network that stands in the file already, a copy.

    Raises `InputError` where there is no such callable, it takes other arguments, fails, or returns no network.
    """
    where = f"model.name: {settings.name}"
    with torch.random.fork_rng(devices=[]):  # the import happens once, and what it draws must not tell in a network
        torch.manual_seed(0)
        function = user_code.load(settings.name, "model.name")
    if isinstance(function, nn.Module):
        if settings.arguments:
            names = ", ".join(settings.arguments)
            raise InputError(f"model.arguments: {settings.name} is a network already, which takes no {names}")
        return user_code.call(copy.deepcopy, where, x=function)
    arguments = _arguments(function, settings, _told(task))
    model = user_code.call(function, where, **arguments)
    if not isinstance(model, nn.Module):
        raise InputError(f"{where}: returned a value of type {type(model).__name__}, expected a torch.nn.Module")
    return model


def _told(task: Task) -> dict[str, Any]:
    told: dict[str, Any] = {"outputs": task.outputs, "input_shape": tuple(task.input_shape), "task": task}
    if task.has_images:
        channels, height, width = task.input_shape
        told |= {"channels": channels, "image_size": height if height == width else (height, width)}
    if task.vocabulary is None:
        told["features"] = math.prod(task.input_shape)
    else:
        told |= {"vocabulary": task.vocabulary, "context": task.input_shape[0]}
    return {name: told[what] for what, names in _NAMES.items() if what in told for name in names}


def _arguments(
    function: Callable[..., Any], settings: PythonModelSettings, told: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of compiled code
        return settings.arguments
    named = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        for key in settings.arguments:
            if key not in named:
                takes = f"it takes {', '.join(named)}" if named else "it takes none"
                raise InputError(
                    f"model.arguments.{key}: {settings.name} has no such parameter; {takes}{nearest(key, named)}"
                )
    filled = {key: told[key] for key, one in named.items() if key in told and _asks_for(one.default, told[key])}
    arguments = {**filled, **settings.arguments}
    missing = [key for key, one in named.items() if one.default is one.empty and key not in arguments]
    if missing:
        raise InputError(
            f"model.name: {settings.name} needs {', '.join(missing)}: give them by model.arguments; what the data tell "
            f"goes by {', '.join(told)}"
        )
    return arguments


def _asks_for(default: Any, value: Any) -> bool:
    """Whether a parameter of that default means the number that the task tells: channels may be those of all layers."""
    return not (isinstance(value, int) and isinstance(default, (list, tuple, dict, str, bool, float)))
