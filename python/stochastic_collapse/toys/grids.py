"""Lists of numbers as settings files write them: numbers, and ranges {start, stop, count} with both ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, WithJsonSchema

from ..config import Count, NonNegative, PositiveReal

_RANGE = {"start", "stop", "count"}
_RANGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"start": {"type": "number"}, "stop": {"type": "number"}, "count": {"type": "integer", "minimum": 1}},
    "required": sorted(_RANGE),
    "additionalProperties": False,
}
_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number"},
        _RANGE_SCHEMA,
        {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "number"}, _RANGE_SCHEMA]}},
    ]
}


def _grid(value: Any) -> tuple[Any, ...]:
    numbers: list[Any] = []
    for part in _parts(value):
        if isinstance(part, Mapping):
            numbers.extend(_range(part))
        elif isinstance(part, int | float) and not isinstance(part, bool):
            numbers.append(part)
        else:
            raise ValueError(f"expected numbers or ranges such as {{start: 0, stop: 1, count: 5}}, found {part!r}")
    if not numbers:
        raise ValueError("expected one number or more")
    return tuple(numbers)


def _step_grid(value: Any) -> tuple[Any, ...]:
    """The same for numbers of steps; a range gives the nearest whole numbers."""
    whole: list[Any] = []
    for part in _parts(value):
        whole.extend(map(round, _range(part)) if isinstance(part, Mapping) else [part])
    return _grid(whole)


def _parts(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _range(part: Mapping[Any, Any]) -> list[float]:
    if set(part) != _RANGE:
        raise ValueError(f"a range has the keys start, stop and count, found {', '.join(map(str, part)) or 'none'}")
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in part.values()):
        raise ValueError(f"start, stop and count of a range are finite numbers, found {dict(part)}")
    if not isinstance(part["count"], int) or part["count"] < 1:
        raise ValueError(f"count of a range is an integer of 1 or more, found {part['count']!r}")
    return np.linspace(part["start"], part["stop"], part["count"]).tolist()


Grid = Annotated[tuple[NonNegative, ...], BeforeValidator(_grid), WithJsonSchema(_SCHEMA)]
PositiveGrid = Annotated[tuple[PositiveReal, ...], BeforeValidator(_grid), WithJsonSchema(_SCHEMA)]
StepGrid = Annotated[tuple[Count, ...], BeforeValidator(_step_grid), WithJsonSchema(_SCHEMA)]
