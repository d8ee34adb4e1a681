"""What a name in `model.name` stands for: one entry for each family of networks, or other source of them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..task import Task
from . import gpt, mlp, resnet, vgg, vit
from .references import library, python, timm_, torchvision_, transformers_


@dataclass(frozen=True)
class Family:
    """Networks that the package brings."""

    build: Callable[[Any, Task], nn.Module]
    """From settings and task; raises `InputError` where such a network cannot do the task."""
    like: Callable[..., tuple[nn.Module, tuple[int, ...]]]
    """From a state dict, and by name what it does not tell, a network of the same layers, and the shape of an input
    that it takes."""
    untold: str | None = None
    """The setting that a state dict does not tell and neurons depend on."""
    tokens: bool = False
    """Whether inputs are tokens."""
    renamed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """A state dict with our names, from one that may have those of the published code."""


def _mlp(s: Any, task: Task) -> nn.Module:
    if task.vocabulary is not None or task.named is not None:
        raise InputError(f"model.name: mlp takes numbers, and {library.given(task)}")
    return mlp.MLP(math.prod(task.input_shape), s.widths, task.outputs, s.activation)


def _vgg(s: Any, task: Task) -> nn.Module:
    depth = int(s.name.removeprefix("vgg"))
    return vgg.VGG(library.images(task, s.name), task.outputs, depth, s.activation, s.batch_norm, s.dropout, s.width)


def _resnet(s: Any, task: Task) -> nn.Module:
    depth, (channels, _, _) = int(s.name.removeprefix("resnet")), library.images(task, s.name)
    return resnet.ResNet(channels, task.outputs, depth, s.activation, s.width, s.stem, s.batch_norm)


def _vit(s: Any, task: Task) -> nn.Module:
    shape = library.images(task, s.name)
    return vit.ViT(shape, task.outputs, s.patch, s.dim, s.depth, s.heads, s.hidden, s.dropout, s.activation)


def _gpt(s: Any, task: Task) -> nn.Module:
    if task.kind != "next_token" or task.vocabulary is None or task.named is not None:
        raise InputError(f"model.name: gpt predicts the next token, and {library.given(task)} for {task.kind}")
    context = task.input_shape[0]
    return gpt.GPT(task.vocabulary, context, s.dim, s.depth, s.heads, s.hidden, s.dropout, s.activation, s.tied)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "mlp": Family(_mlp, mlp.like),
        **{
            f"vgg{depth}": Family(_vgg, partial(vgg.like, depth), renamed=vgg.from_published)
            for depth in vgg.CONVOLUTIONS
        },
        **{f"resnet{depth}": Family(_resnet, partial(resnet.like, depth)) for depth in resnet.BLOCKS},
        "vit": Family(_vit, vit.like, "heads"),
        "gpt": Family(_gpt, gpt.like, "heads", tokens=True),
    }
)
"""The built-in networks by name."""


@dataclass(frozen=True)
class Source:
    """Where networks come from that have a reference: what stands before its colon."""

    build: Callable[[Any, Task], nn.Module]
    versions: Callable[[], Mapping[str, str]]
    """Of the libraries that make the network."""


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "timm": Source(timm_.build, timm_.version),
        "torchvision": Source(torchvision_.build, torchvision_.version),
        "transformers": Source(transformers_.build, transformers_.version),
        "python": Source(python.build, python.version),
    }
)


def family(name: str) -> Family:
    """The built-in network of that name; raises `InputError` where there is none."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, 1)
        hint = f" did you mean {near[0]!r}?" if near else f" expected one of {', '.join(FAMILIES)}, or a reference"
        raise InputError(f"no built-in network {name!r};{hint}")
    return FAMILIES[name]


def is_built_in(name: str) -> bool:
    """Whether a name in `model.name` is that of a network that the package brings, and no reference."""
    return ":" not in name
