"""Files of compressed networks: their weights, how to build the network, and what weights do not tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..models import resize
from ..models.replacements import MultiheadAttention, WeightedNorm, replace_module
from ..neurons import ExampleInput
from ..task import Task
from ..weights.files import load_file
from ..weights.pickles import reason
from .recipe import Recipe

FORMAT = 2
_FIRST_FORMAT = 1  # of built-in networks; what weights do not tell was missing
_NO_DIFFERENCES: Mapping[str, Any] = {"norms": {}, "attention": {}, "sizes": {}}


def load_compressed(path: str | Path, model: str | None = None) -> nn.Module:
    """The network in a file that `sc compress` wrote, an ordinary module, in training mode on the CPU.

    Where users' code made it, ``python:…``, that has to be named by `model`: a file has no code run. Raises
    `InputError` otherwise, where the file is none of that kind, and where its network cannot be built any more.
    """
    return opened(Path(path), load_file(Path(path)), model)[0]


def recipe_in(path: Path, content: Any) -> Recipe:
    """How the network is built that the one in such a file's `content` was made of.

    Raises `InputError` where the file is none of that kind, of a later format, or not as it was written.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("compressed"), Mapping):
        raise InputError(f"{path}: not a network that `sc compress` wrote")
    about, number = content["compressed"], content.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise InputError(f"{path}: written by a later version (format {number}); update this one")
    with _as_written(path):
        if number != _FIRST_FORMAT:
            return Recipe.from_json(about["recipe"])
        if about["network"] is None:
            return Recipe({"name": about["name"]}, None, None)
        network = about["network"]
        return Recipe(network["settings"], Task(tuple(network["image_shape"]), network["num_classes"]), None)


def opened(path: Path, content: Any, named: str | None) -> tuple[nn.Module, ExampleInput, Recipe]:
    """The network in such a file's `content`, inputs that it takes, and how the one that it was made of is built.

    Raises `InputError` as `recipe_in` does, where users' code makes it and is not what the user `named`, and where the
    network cannot be built any more.
    """
    recipe = recipe_in(path, content)
    if recipe.name.startswith("python:") and named != recipe.name:
        raise InputError(
            f"{path}: its network is made by {recipe.name}, which runs where you name it only: --model {recipe.name}, "
            "in Python model="
        )
    with _as_written(path):
        model, example = recipe.build(content["model"])
        rebuild(model, content["model"], content["compressed"].get("differences", _NO_DIFFERENCES))
    return model, example, recipe


@contextlib.contextmanager
def _as_written(path: Path) -> Iterator[None]:
    try:
        yield
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not as `sc compress` writes networks, or damaged ({reason(error)})") from error


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
