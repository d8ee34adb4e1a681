"""Which runs start from which: fine-tuning needs a checkpoint of another run."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from ..config import identity
from ..runs import RunDirectory, runs_root
from .reading import REPLICATE, config_reader, directories


class Starts:
    """Where the runs in $SC_RUNS, and those beside `runs`, start; but for the runs `without`."""

    def __init__(self, runs: Collection[RunDirectory], without: Collection[RunDirectory] = ()) -> None:
        self._config_of = config_reader()
        # A run's path or its identity, or a file's path → the step, None for the last → who starts there.
        self._found: dict[str, dict[int | None, RunDirectory]] = defaultdict(dict)
        places = {Path(os.path.realpath(run.path)) for run in runs}
        beside = {path.parents[1] if path.name.startswith(REPLICATE) else path for path in places}
        hidden = {os.path.realpath(run.path) for run in without}
        for other in directories([runs_root(), *sorted(beside)]):
            if os.path.realpath(other.path) not in hidden:
                with contextlib.suppress(OSError, ValueError):  # it is damaged
                    self._add(other)

    def _add(self, other: RunDirectory) -> None:
        config = self._config_of(other)
        origin = config.origin
        for weights in (config.model.weights, origin and origin.weights):
            if weights:
                self._found[os.path.realpath(weights)][None] = other
        if origin and origin.run:
            replicate = f"{REPLICATE}{config.replicate}"
            names = {os.path.realpath(origin.run), os.path.realpath(Path(origin.run) / replicate)}
            if origin.identity:  # for a path is relative to where training was started, and runs may be moved
                names.add(origin.identity if "/" in origin.identity else f"{origin.identity}/{replicate}")
            for name in names:
                self._found[name][origin.step] = other

    def _names(self, run: RunDirectory) -> list[str]:
        """What `_found` may call a run."""
        names = [os.path.realpath(run.path)]
        with contextlib.suppress(OSError, ValueError):  # it is damaged
            config = self._config_of(run)
            names.append(f"{identity(config)}/{REPLICATE}{config.replicate}")
        return names

    def steps_of(self, run: RunDirectory) -> dict[int, RunDirectory]:
        """The steps of its checkpoints at which other runs start, each with one that does."""
        there = run.checkpoints()
        found: dict[int, RunDirectory] = {}
        for name in self._names(run):
            for step, other in self._found.get(name, {}).items():
                found[max(there, default=0) if step is None else step] = other
        for step, path in there.items():
            for other in self._found.get(os.path.realpath(path), {}).values():
                found[step] = other
        return {step: other for step, other in found.items() if step in there}

    def anywhere_in(self, run: RunDirectory) -> list[RunDirectory]:
        """Runs that start from any file of a run."""
        names, inside = self._names(run), os.path.realpath(run.path) + os.sep
        return [
            other
            for name, others in self._found.items()
            if name in names or name.startswith(inside)
            for other in others.values()
        ]
