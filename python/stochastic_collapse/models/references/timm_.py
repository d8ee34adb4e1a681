"""Networks of timm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...config.models import TimmSettings
from ...errors import InputError, nearest
from ...task import Task
from . import library

_LOADING = ("pretrained", "checkpoint_path")


def version() -> dict[str, str]:
    """Of timm; raises `InputError` where it is not installed."""
    return library.version_of("timm")


def build(settings: TimmSettings, task: Task) -> nn.Module:
    """The network of that name, freshly initialized, for the task's channels, image size and outputs.

    Raises `InputError` where timm is missing, has no such network or fails to make it, where arguments ask for weights,
    where inputs are no images, and where patches do not divide them.
    """
    name = settings.name.partition(":")[2]
    channels, height, width = library.images(task, settings.name)
    for key in _LOADING:
        if settings.arguments.get(key):
            raise InputError(
                f"model.arguments.{key}: {settings.name} is made without weights; give a file of them as model.weights"
            )
    timm = library.imported("timm", settings.name)
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        raise InputError(f"model.name: {settings.name}: timm has no {name!r}{near}")
    arguments = {
        "pretrained": False,
        "num_classes": task.outputs,
        "in_chans": channels,
        "img_size": height if height == width else (height, width),
        **settings.arguments,
    }
    with library.making(settings.name, "timm"):
        model = _create(timm, name, arguments, optional=() if "img_size" in settings.arguments else ("img_size",))
    _check_patches(model, timm, settings.name)
    return model


def _create(timm: Any, name: str, arguments: dict[str, Any], optional: tuple[str, ...]) -> nn.Module:
    """With those `optional` arguments that the network takes: which these are, timm does not tell."""
    state = torch.get_rng_state()
    try:
        return timm.create_model(name, **arguments)
    except TypeError as error:
        refused = [key for key in optional if f"'{key}'" in str(error)]
        if not refused:
            raise
    torch.set_rng_state(state)
    return timm.create_model(name, **{key: value for key, value in arguments.items() if key not in refused})


def _check_patches(model: nn.Module, timm: Any, name: str) -> None:
    """Raise `InputError` where patches leave a border of images out, which timm does without a word."""
    for module in model.modules():
        if isinstance(module, timm.layers.PatchEmbed) and module.img_size is not None and not module.dynamic_img_pad:
            (height, width), (rows, columns) = module.img_size, module.patch_size
            if height % rows or width % columns:
                raise InputError(
                    f"model.name: {name}: patches of {rows} × {columns} pixels do not divide images of {height} × "
                    f"{width}; choose others by model.arguments.patch_size"
                )
