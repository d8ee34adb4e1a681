"""Networks of torchvision that classify images."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...config.models import TorchvisionSettings
from ...errors import InputError, nearest
from ...task import Task
from . import library

_CHANNELS = 3
_LOADING = ("weights", "pretrained")


def version() -> dict[str, str]:
    """Of torchvision; raises `InputError` where it is not installed."""
    return library.version_of("torchvision")


def build(settings: TorchvisionSettings, task: Task) -> nn.Module:
    """The network of that name, freshly initialized, for the task's image size and outputs.

    Raises `InputError` where torchvision is missing, has no such network for classification or fails to make it, where
    arguments ask for weights, and where inputs are no images of three channels.
    """
    name = settings.name.partition(":")[2]
    channels, height, width = library.images(task, settings.name)
    if channels != _CHANNELS:
        raise InputError(
            f"model.name: {settings.name}: torchvision's networks take {_CHANNELS} channels, and the data's images "
            f"have {channels}; those of timm take any number"
        )
    for key in _LOADING:
        if settings.arguments.get(key):
            raise InputError(
                f"model.arguments.{key}: {settings.name} is made without weights; give a file of them as model.weights"
            )
    models = library.imported("torchvision", settings.name).models
    names = models.list_models(module=models)
    if name not in names:
        if name in models.list_models():
            raise InputError(f"model.name: {settings.name}: {name} does not classify images, as the networks here do")
        near = nearest(name, names)
        raise InputError(f"model.name: {settings.name}: torchvision has no {name!r}{near}")
    arguments = {
        "num_classes": task.outputs,
        **_of_images(name, height, width),
        **{key: value for key, value in settings.arguments.items() if key not in _LOADING},
    }
    if name.startswith("vit_") and height != width and "image_size" not in settings.arguments:
        raise InputError(
            f"model.name: {settings.name} takes square images, and the data's are of {height} × {width} pixels"
        )
    with library.making(settings.name, "torchvision"):
        return models.get_model(name, weights=None, **arguments)


def _of_images(name: str, height: int, width: int) -> dict[str, Any]:
    if name.startswith("vit_"):
        return {"image_size": height}
    if name.startswith("maxvit_"):
        return {"input_size": (height, width)}
    if name in ("googlenet", "inception_v3"):  # their other classifiers would have losses of their own
        return {"aux_logits": False, "init_weights": True}
    return {}
