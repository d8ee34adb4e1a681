"""How to build a network again, as plain values that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from ..config import ModelSettings, TrainConfig
from ..errors import InputError
from ..models import FAMILIES, SOURCES, is_built_in, network_like
from ..models.references.transformers_saved import saved
from ..neurons import ExampleInput
from ..provenance import require_source
from ..runs import RunDirectory
from ..task import Task


@dataclass(frozen=True)
class Recipe:
    """A network, by its settings and task; or by its name alone, where its weights or its folder say the rest."""

    settings: Mapping[str, Any]
    """As under `model` in a file of settings; without a task the name only."""
    task: Task | None
    source: str | None
    """Digest of the file that makes it, of users' code or a configuration."""

    @property
    def name(self) -> str:
        """As in `model.name`."""
        return str(self.settings["name"])

    @classmethod
    def of(cls, config: TrainConfig, task: Task) -> Recipe:
        """That of a run with these settings."""
        settings = config.model.model_dump(mode="json", exclude={"weights", "state"})
        return cls(settings, task, config.sources.get("model.name"))

    @classmethod
    def of_run(cls, run: RunDirectory) -> Recipe | None:
        """That of a run; None of one of a version that did not write its task."""
        task = run.task()
        return None if task is None else cls.of(run.config(), task)

    def build(self, weights: Mapping[str, Tensor]) -> tuple[nn.Module, ExampleInput]:
        """The network, freshly initialized, and inputs that it takes; raises `InputError` where it cannot be built.

        Without a task a built-in network has the layers that `weights` have.
        """
        require_source(self.name, self.source, "model.name")
        with torch.random.fork_rng(devices=[]):
            if self.task is not None:
                return of_settings(self.settings, self.task), self.task.example()
            if is_built_in(self.name):
                return network_like(self.name, weights, **{k: v for k, v in self.settings.items() if k != "name"})
            return saved(Path(self.name.partition(":")[2]).expanduser())

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"settings": dict(self.settings), "task": self.task and self.task.to_json(), "source": self.source}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """What `to_json` gave; raises `KeyError`, `TypeError` or `AttributeError` for anything else."""
        settings = values["settings"]
        if not isinstance(settings["name"], str):
            raise TypeError("settings.name is no string")
        return cls(settings, values["task"] and Task.from_json(values["task"]), values["source"])


def of_settings(values: Mapping[str, Any], task: Task) -> nn.Module:
    """The network of these settings, whether or not its outputs are those of the task.

    Raises `InputError` for settings of no network, and as `models.build_model` does.
    """
    source, colon, rest = str(values.get("name", "")).partition(":")
    if (colon and source not in SOURCES) or (not colon and source not in FAMILIES) or (colon and not rest):
        expected = ", ".join([*FAMILIES, *(f"{one}:…" for one in SOURCES)])
        raise InputError(f"model.name: no network {values.get('name')!r}; expected one of {expected}")
    try:
        settings: Any = TypeAdapter(ModelSettings).validate_python(dict(values))
    except ValidationError as error:
        raise InputError(f"model: {values['name']}: {error.errors()[0]['msg']}") from None
    return (SOURCES[source] if colon else FAMILIES[source]).build(settings, task)
