"""How a figure came out, as a file beside its pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stochastic_collapse.runs import write_atomically

from .messages import Message


@dataclass(frozen=True)
class Source:
    """Runs that a figure is drawn from."""

    command: str
    """That makes them."""
    runs: int
    """How many are finished."""
    seconds: float
    """Of computing, summed over processes that ran side by side."""
    how: str
    """Engine or device, and versions."""
    settings: dict[str, str]
    """Texts of the settings files behind them, by name."""


@dataclass
class Record:
    """A figure as it was made."""

    name: str
    title: str
    size: str
    caption: str
    differences: str
    """From the published figure."""
    pictures: list[str] = field(default_factory=list)
    """Names of the files beside the record; empty where the figure could not be drawn."""
    inches: float = 0.0
    """Their width."""
    messages: list[Message] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What failed, a line each; a figure may be drawn from the runs that did not."""
    sources: list[Source] = field(default_factory=list)
    drawing_seconds: float = 0.0
    """Loading the results included."""

    @property
    def seconds(self) -> float:
        """Of computing, for its runs and for the drawing."""
        return self.drawing_seconds + sum(source.seconds for source in self.sources)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        messages = [message._asdict() for message in self.messages]
        return {**dataclasses.asdict(self), "messages": messages}


def write_record(folder: Path, record: Record) -> None:
    """Write `record` as ``<name>.json`` into `folder`."""
    with write_atomically(folder / f"{record.name}.json") as temporary:
        temporary.write_text(json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_records(folder: Path, names: Iterable[str]) -> list[Record]:
    """The records in `folder` of those figures `names` that have one, in this order.

    Those that cannot be read, such as another version's, are left out: the figure's next call writes it anew.
    """
    return [record for name in names if (record := _read(folder / f"{name}.json")) is not None]


def _read(path: Path) -> Record | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["messages"] = [Message(**message) for message in content["messages"]]
        content["sources"] = [Source(**source) for source in content["sources"]]
        return Record(**content)
    except (OSError, ValueError, KeyError, TypeError):
        return None
