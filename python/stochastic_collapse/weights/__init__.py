"""Weights from files of every origin: what is in them (`files`), which of it is meant, and how it fits a network."""

from __future__ import annotations

from .choice import choose
from .files import Contents, LazyState, read, shapes
from .fitting import aligned, fit, names_of
from .trajectory import expand, steps_of

__all__ = [
    "Contents",
    "LazyState",
    "aligned",
    "choose",
    "expand",
    "fit",
    "names_of",
    "read",
    "shapes",
    "steps_of",
]
