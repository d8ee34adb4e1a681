"""Weights from files of every origin: what is in them (`files`), which of it is meant, and how it fits a network."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from .choice import choose
from .files import Contents, LazyState, read, shapes
from .fitting import Renamed, aligned, fit, names_of
from .trajectory import expand, steps_of

__all__ = [
    "Contents",
    "LazyState",
    "aligned",
    "choose",
    "expand",
    "fit",
    "load",
    "names_of",
    "read",
    "shapes",
    "steps_of",
]


def load(
    network: nn.Module,
    path: Path,
    *,
    state: str | None = None,
    renamed: Renamed | None = None,
    called: str = "the network",
) -> str:
    """Put the weights in `path` into `network`, and say what was taken; see `read`, `choose` and `fit`."""
    contents = read(path)
    place, tensors = choose(contents, state)
    return fit(network, tensors, f"{path} ({place})" if place else str(path), renamed=renamed, called=called)
