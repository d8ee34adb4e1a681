"""Weights of transformers under the names that its networks have now: the library renames them when it loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..models.references import library
from ..weights import aligned, shapes


def in_present_names(model: nn.Module, state: Mapping[str, Tensor], name: str) -> tuple[Mapping[str, Tensor], int]:
    """`state` as it is where its names are those of `model`; else as transformers brings it to them, which also joins
    what was apart; and how many tensors were left out, since no part of this network is made of them.

    Where the library finds no more of the network's parameters than there are, it is as it is too.
    """
    parameters, there = {key for key, _ in model.named_parameters()}, aligned(model, shapes(state)).keys()
    if parameters <= there <= model.state_dict().keys():
        return state, 0
    kind: Any = type(model)
    try:
        with library.making(name, "transformers"):
            loaded, found = kind.from_pretrained(
                None, config=model.config, state_dict=dict(state), output_loading_info=True
            )
    except InputError:  # of shapes, among others, which are told in more words where they are put into the network
        return state, 0
    missing = {key for key, *_ in (one if isinstance(one, tuple) else (one,) for one in found["missing_keys"])}
    if len(missing) >= max(1, len(parameters - there)):
        return state, 0
    return {k: v for k, v in loaded.state_dict().items() if k not in missing}, len(found["unexpected_keys"])
