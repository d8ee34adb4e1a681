"""Run directories found in folders, and each read into a row; made for many runs at a time."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..config import TrainConfig, identity
from ..errors import InputError
from ..runs import RunDirectory

CONFIG, STATUS, _METRICS = "config.yaml", "status.json", "metrics.csv"
REPLICATE = "replicate_"

SETTINGS = [field.alias or name for name, field in TrainConfig.model_fields.items()]
"""The settings at the top, by the names that users write."""


def directories(folders: Iterable[Path]) -> list[RunDirectory]:
    """The run directories at or under `folders`, each once, also those whose files are damaged."""
    found: dict[str, RunDirectory] = {}
    for root in folders:
        for folder, inside, files in os.walk(root):
            # A settings file alone may be another program's, unless it lies where ours do.
            if STATUS in files or (CONFIG in files and Path(folder).name.startswith(REPLICATE)):
                found.setdefault(os.path.realpath(folder), RunDirectory(Path(folder)))
                inside.clear()
            inside[:] = sorted(name for name in inside if not name.startswith("."))
    return list(found.values())


def files_of(run: RunDirectory) -> dict[str, int]:
    """Sizes in bytes of the files in a run's directory, by their paths in it; without hidden ones, such as its lock."""
    paths = [path for path in sorted(run.path.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(run.path).as_posix(): path.stat().st_size for path in paths}


def is_figure(column: str) -> bool:
    """Whether a column of a table of runs is a figure of training or evaluation, and no setting."""
    return column == "train_loss" or (column.startswith("eval_") and column not in SETTINGS)


def problem(run: RunDirectory) -> str | None:
    """Why a run is listed as damaged, a line for each mistake; None where it is not."""
    return row_reader()(run)[1]


def row_reader() -> Callable[[RunDirectory], tuple[dict[str, Any], str | None]]:
    """A function from a run to its row (see `load_runs`) and to what is wrong with it; use one for many runs."""
    config_of = config_reader()

    def read(run: RunDirectory) -> tuple[dict[str, Any], str | None]:
        row: dict[str, Any] = {"run": str(run)}
        problems: list[str] = []
        with _collected(problems):
            config = config_of(run)
            row |= {"identity": identity(config), **_flat(config.model_dump(mode="json"))}
        with _collected(problems):
            row |= standing(run)
        with _collected(problems):
            row |= _last_figures(run)
        return (row | {"state": "damaged"}, "\n".join(problems)) if problems else (row, None)

    return read


def config_reader() -> Callable[[RunDirectory], TrainConfig]:
    """A function that reads the settings of many runs, faster than `RunDirectory.config` and to the same effect.

    Parsing takes nearly all the time, and runs share most of what their files say: so each section, from a key at the
    margin to the next, is parsed once for all runs. What cannot be taken apart so is left to `RunDirectory.config`.
    """
    parse = functools.cache(parse_yaml)

    def read(run: RunDirectory) -> TrainConfig:
        try:
            text = (run.path / CONFIG).read_text(encoding="utf-8")
            head, *sections = re.split(r"^(?=[A-Za-z_])", text, flags=re.MULTILINE)
            parts = [parse(section) for section in sections]
            values = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
            if not head.strip() and len(values) == len(parts):
                return TrainConfig.model_validate(values)
        except (YAMLError, UnicodeDecodeError, ValidationError):
            pass  # which `config` says in one line
        return run.config()

    return read


def parse_yaml(text: str) -> Any:
    """The value of a YAML document; raises ruamel's `YAMLError`."""
    return YAML(typ="safe", pure=True).load(text)


def standing(run: RunDirectory) -> dict[str, Any]:
    """State, step and seconds of a run; `InputError` where its status is damaged."""
    try:
        status = run.status() or {"state": "waiting", "step": 0, "seconds": 0.0}
        found = {"state": str(status["state"]), "step": int(status["step"]), "seconds": float(status["seconds"])}
    except (KeyError, TypeError) as error:
        raise InputError(f"{run.path / STATUS}: damaged: {type(error).__name__}: {error}") from None
    if found["state"] == "running" and not _is_held(run):  # its process was killed
        found["state"] = "interrupted"
    return found


def _is_held(run: RunDirectory) -> bool:
    try:
        return run.is_locked()
    except OSError:  # where we may not write there is no asking
        return True


def _last_figures(run: RunDirectory) -> dict[str, float]:
    """The last values that are not blank of the figures in metrics.csv; NaN where all are."""
    path = run.path / _METRICS
    if not path.is_file():
        return {}
    header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    columns = header.split(",")
    found: dict[str, float] = {}
    wanted = {column for column in columns if is_figure(column)}
    for line in reversed(lines):
        if wanted == found.keys():
            break
        cells = line.split(",")
        if len(cells) != len(columns):
            raise InputError(f"{path}: expected {len(columns)} columns, found the row {line!r}")
        last = {column: cell for column, cell in zip(columns, cells, strict=True) if cell and column in wanted}
        try:
            found = {column: float(cell) for column, cell in last.items()} | found
        except ValueError as error:
            raise InputError(f"{path}: a column holds what it should not: {error}") from None
    return {column: found.get(column, math.nan) for column in columns if column in wanted}


@contextlib.contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # InputError is a ValueError
        problems.append(str(error))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
