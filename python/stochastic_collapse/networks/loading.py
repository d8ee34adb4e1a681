"""A file of weights put into a network, whoever made either."""

from __future__ import annotations

from torch import nn

from ..models import renamed
from ..weights import Contents, choose, fit
from .transformers_names import in_present_names


def load_weights(model: nn.Module, contents: Contents, name: str, *, state: str | None = None, of: str = "") -> str:
    """Put the weights in `contents` into `model`, which has `name` in `model.name`, and say what was taken.

    `state` chooses among state dicts (`weights.choose`), `of` says in errors whose network it is. Names that the
    published code, or earlier versions of transformers, had become those of the network. Raises `InputError` as
    `weights.choose` and `weights.fit` do, and then changes nothing.
    """
    place, tensors = choose(contents, state)
    beside = 0
    if name.startswith("transformers:"):
        tensors, beside = in_present_names(model, tensors, name)
    source = f"{contents.path} ({place})" if place else str(contents.path)
    said = fit(model, tensors, source, renamed=renamed(name), called=f"the network {name}{of}")
    return said + (f", {beside} tensor{'s' * (beside != 1)} that are not of it left out" if beside else "")
