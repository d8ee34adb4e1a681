"""Giving a network's layers other sizes: those of the tensors it is to hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def resize(model: nn.Module, tensors: Mapping[str, Tensor], groups: Mapping[str, int] | None = None) -> None:
    """Put `tensors`, by the names of parameters and buffers, into `model`, whatever their shapes.

    The sizes that PyTorch's linear, convolution, normalization and embedding modules know of themselves follow from the
    shapes, but for the number of groups, which `groups` gives by the name of the module where it changes. Tensors that
    are shared stay so. Modules of other kinds get their tensors and nothing else.
    """
    shared = dict(model.named_parameters(remove_duplicate=False))
    new: dict[int, nn.Parameter] = {}
    touched = set()
    for name, tensor in tensors.items():
        path, _, kind = name.rpartition(".")
        module = model.get_submodule(path)
        if kind in module._parameters:
            old = shared[name]
            if id(old) not in new:
                new[id(old)] = nn.Parameter(tensor.detach().clone(), requires_grad=old.requires_grad)
        elif kind in module._buffers:
            before = module._buffers[kind]
            is_counter = before is not None and not before.is_floating_point()
            module._buffers[kind] = tensor.detach().clone().to(torch.int64 if is_counter else tensor.dtype)
        touched.add(path)
    for name, old in shared.items():
        if id(old) in new:
            path, _, kind = name.rpartition(".")
            model.get_submodule(path)._parameters[kind] = new[id(old)]
            touched.add(path)
    for path in touched | set(groups or ()):
        _set_sizes(model.get_submodule(path), (groups or {}).get(path))


def knows_its_sizes(module: nn.Module) -> bool:
    """Whether `resize` can tell `module` all that it knows of its sizes."""
    known = (nn.Linear, nn.modules.conv._ConvNd, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.Embedding)
    return isinstance(module, (*known, nn.modules.batchnorm._NormBase)) or _is_transposed_linear(module)


def _is_transposed_linear(module: nn.Module) -> bool:
    """Whether it is the transformers library's linear layer, whose weight is (in, out)."""
    return hasattr(module, "nf") and hasattr(module, "nx")


def _set_sizes(module: nn.Module, groups: int | None) -> None:
    """What `module` knows of its own sizes, from the shapes of its parameters."""
    weight = getattr(module, "weight", None)
    match module:
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            module.groups = groups or module.groups
            module.in_channels, module.out_channels = weight.shape[0], weight.shape[1] * module.groups  # type: ignore[union-attr]
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            module.groups = groups or module.groups
            module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups  # type: ignore[union-attr]
        case nn.GroupNorm():
            module.num_groups = groups or module.num_groups
            module.num_channels = len(module.weight)
        case nn.LayerNorm() | nn.RMSNorm() if weight is not None:
            module.normalized_shape = tuple(weight.shape)
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = module.weight.shape
        case nn.modules.batchnorm._NormBase():
            vector = weight if weight is not None else module.running_mean
            if vector is not None and len(vector) != module.num_features:
                module.num_features = len(vector)
                for name in ("running_mean", "running_var"):  # where there was none to put, it starts anew
                    buffer = module._buffers.get(name)
                    if buffer is not None and len(buffer) != len(vector):
                        module._buffers[name] = buffer.new_full((len(vector),), float(name == "running_var"))
        case _ if _is_transposed_linear(module):
            module.nx, module.nf = weight.shape  # type: ignore[union-attr]
