"""Which of the state dicts in a file is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ..errors import InputError
from .files import Contents

# Where programs keep the weights that are trained, the likeliest first. Lightning's WeightAveraging keeps averages
# under state_dict, and those that are trained under current_model_state.
_TRAINED = (
    "current_model_state",
    "model",
    "state_dict",
    "model_state_dict",
    "state.model",
    "module",
    "network",
    "net",
    "params",
    "",
)
_AVERAGES = ("ema", "averaged", "average", "swa", "shadow")
_BESIDE = ("generators", "callbacks", "loops", "rng", "scaler", "scheduler")
"""First parts of places whose tensors are not those of a network."""


def choose(contents: Contents, state: str | None = None) -> tuple[str, Mapping[str, Tensor]]:
    """The place and the state dict that `state` names, by its place or, as ``ema``, by a part of it.

    By default the weights that are trained, an average of them only where there is nothing else. Inside a flat state
    dict a network may be named too, such as ``ema_model`` of ``ema_model.fc.weight``; its names then lack that part.

    Raises `InputError`, with the places that there are, where none or several are meant.
    """
    states = {place: one for place, one in contents.states.items() if place.partition(".")[0] not in _BESIDE}
    if state is not None:
        return _named(contents, states, state)
    trained = {place: one for place, one in states.items() if not _is_average(contents, place)} or states
    for place in _TRAINED:
        if place in trained:
            return place, trained[place]
    if len(trained) == 1:
        return next(iter(trained.items()))
    raise InputError(f"{contents.path}: {len(trained)} state dicts in it; choose one of {', '.join(trained)} by state")


def _is_average(contents: Contents, place: str) -> bool:
    averaged_by_lightning = place == "state_dict" and "current_model_state" in contents.states
    return averaged_by_lightning or any(part in place.lower() for part in _AVERAGES)


def _named(
    contents: Contents, states: Mapping[str, Mapping[str, Tensor]], state: str
) -> tuple[str, Mapping[str, Tensor]]:
    if state in states:
        return state, states[state]
    wanted = state.lower()
    found: dict[str, Mapping[str, Tensor]] = {
        place: one
        for place, one in states.items()
        if wanted in place.lower() or (wanted in _AVERAGES and _is_average(contents, place))
    }
    if not found:
        for place, one in states.items():
            for head in sorted({name.partition(".")[0] for name in one}):
                if head.lower() == wanted or (wanted in _AVERAGES and wanted in head.lower().split("_")):
                    names = [name for name in one if name.startswith(f"{head}.")]
                    found[f"{place}: {head}." if place else f"{head}."] = _Part(one, f"{head}.", names)
    if len(found) == 1:
        return next(iter(found.items()))
    there = ", ".join(repr(place) if place else "the file itself" for place in (found or states))
    number = "no" if not found else f"{len(found)} state dicts for"
    raise InputError(f"state: {number} {state!r} in {contents.path}; there are {there}")


class _Part(Mapping[str, Tensor]):
    """Those tensors of a state dict that are under a prefix, without it."""

    def __init__(self, whole: Mapping[str, Tensor], prefix: str, names: list[str]) -> None:
        self._whole, self._names = whole, {name.removeprefix(prefix): name for name in names}

    def __getitem__(self, name: str) -> Tensor:
        return self._whole[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
