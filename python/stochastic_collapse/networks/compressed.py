"""Files of compressed networks: their weights, how to build the network, and what weights do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..models import network_like, resize
from ..models.replacements import MultiheadAttention, WeightedNorm, replace_module
from ..neurons import ExampleInput
from ..task import Task
from ..weights.files import load_file
from .recipe import Recipe, of_settings

FORMAT = 2
_FIRST_FORMAT = 1  # of built-in networks; what weights do not tell was missing


def load_compressed(path: str | Path) -> nn.Module:
    """The network in a file that `sc compress` wrote, an ordinary module, in training mode on the CPU.

    Raises `InputError` where the file is none of that kind, or its network cannot be built any more.
    """
    content = load_file(Path(path))
    if not isinstance(content, dict) or "compressed" not in content:
        raise InputError(f"{path}: not a network that `sc compress` wrote")
    if content.get("format") == _FIRST_FORMAT:
        return _first_format(content["compressed"], content["model"])
    return opened(Path(path), content)[0]


def opened(path: Path, content: Mapping[str, Any]) -> tuple[nn.Module, ExampleInput, Recipe]:
    """The network in such a file's `content`, inputs that it takes, and how the one that it was made of is built.

    Raises `InputError` for another format than `FORMAT`, and where the network cannot be built any more.
    """
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: written by a later version (format {content.get('format')}); update this one")
    about, weights = content["compressed"], content["model"]
    recipe = Recipe.from_json(about["recipe"])
    model, example = recipe.build(weights)
    rebuild(model, weights, about["differences"])
    return model, example, recipe


def _first_format(about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    if about["network"] is None:
        return network_like(about["name"], weights)[0]
    network = about["network"]
    model = of_settings(network["settings"], Task(tuple(network["image_shape"]), network["num_classes"]))
    resize(model, weights)
    return model


def differences(compressed: nn.Module, plain: nn.Module) -> dict[str, Any]:
    """In what `compressed` differs from `plain`, the network that it was made of, beside its weights.

    Plain values: `norms`, how each normalization that counts channels does it; `attention`, the head size of each that
    is ours; `sizes`, of each module the numbers that it knows, where they have changed.
    """
    originals = dict(plain.named_modules())
    norms, attention, sizes = {}, {}, {}
    for name, module in compressed.named_modules():
        if isinstance(module, WeightedNorm):
            norms[name] = dict(module.how)
            continue
        if isinstance(module, MultiheadAttention):
            attention[name] = module.head_size
        before = _numbers(originals[name])
        changed = {key: value for key, value in _numbers(module).items() if before.get(key) != value}
        if changed:
            sizes[name] = changed
    return {"norms": norms, "attention": attention, "sizes": sizes}


def rebuild(plain: nn.Module, weights: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    """Make of `plain` the compressed network with these weights, of which `differences` gave `found`."""
    for name, how in found["norms"].items():
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        replace_module(plain, plain.get_submodule(name), WeightedNorm(weight, bias, weights[f"{name}.counts"], **how))
    for name, head_size in found["attention"].items():
        module = plain.get_submodule(name)
        assert isinstance(module, nn.MultiheadAttention)
        MultiheadAttention.from_plain(module).head_size = head_size
    resize(plain, weights)
    for name, values in found["sizes"].items():
        for key, value in values.items():
            setattr(plain.get_submodule(name), key, value)


def _numbers(module: nn.Module) -> dict[str, Any]:
    """The attributes of `module` that are numbers, or tuples of them."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) or (isinstance(value, tuple) and all(map(is_number, value)))

    return {key: value for key, value in vars(module).items() if key != "training" and is_number(value)}
