"""Conditions on the rows of a table of runs, as users write them: ``optimizer.lr=0.1``."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from ..errors import InputError
from .reading import parse_yaml

DASH = "–"
"""Stands where a run has no such setting or figure."""

_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def is_filter(text: str) -> bool:
    """Whether `text`, of a command line, is a filter rather than a path."""
    return bool(re.search("[=<>~]", text)) and not Path(text).exists()


def condition(text: str) -> tuple[str, Callable[[Any], bool]]:
    """The key of a filter, and what must hold for its value, which is NaN where a run has none; see `load_runs`."""
    match = re.fullmatch(r"\s*([A-Za-z_][\w.-]*)\s*(!=|<=|>=|==?|<|>|~)\s*(.*\S)\s*", text)
    if not match:
        raise InputError(
            f"filter {text!r}: expected KEY=VALUE, such as optimizer.lr=0.1, or with != < <= > >=, or KEY~PATTERN"
        )
    key, sign, written = match.groups()
    if sign == "~":
        try:
            pattern = re.compile(written)
        except re.error as error:
            raise InputError(f"filter {text!r}: {written!r} is no regular expression: {error}") from None
        return key, lambda have: not is_missing(have) and bool(pattern.search(in_words(have)))
    try:
        value = parse_yaml(written)
    except YAMLError:
        raise InputError(f"filter {text!r}: the value is not valid YAML") from None
    if sign in _ORDERS:
        if not _is_number(value):
            raise InputError(f"filter {text!r}: expected a number after {sign}, found {written!r}")
        return key, lambda have: _is_number(have) and _ORDERS[sign](have, value)

    def equal(have: Any) -> bool:
        if isinstance(have, str):  # an identity may look like a number
            return have in (value, written)
        return have == value and _is_number(have) == _is_number(value)  # true is not 1

    return key, (lambda have: not equal(have)) if sign == "!=" else equal


def is_missing(value: object) -> bool:
    """Whether a cell of a table of runs is empty, which null, a setting's value, is not."""
    return isinstance(value, float) and math.isnan(value)


def in_words(value: object) -> str:
    """A cell of a table of runs as text: as it would stand in YAML, or a DASH where it is empty."""
    return DASH if is_missing(value) else value if isinstance(value, str) else json.dumps(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
