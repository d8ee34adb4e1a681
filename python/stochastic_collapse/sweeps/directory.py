"""What a sweep leaves in ``$SC_RUNS/sweeps/<name>-<size>/``, beside the directories of its runs.

sweep.json      which runs it consists of
sweep.csv       a row for each run and layer: settings, accuracy, collapse
logs/           what the processes of the executor `local` wrote
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs import COLLAPSE, RunDirectory, write_atomically
from ..scores import SCORES
from .plan import PlannedRun

_RECORD, _TABLE = "sweep.json", "sweep.csv"


@dataclass(frozen=True)
class SweptRun:
    """A run of a sweep as its record has it."""

    experiment: str
    varied: Mapping[str, Any]
    """Values of the settings that its experiment varies, by their dotted names."""
    replicate: int
    directory: RunDirectory

    @property
    def is_finished(self) -> bool:
        return self.directory.status().get("state") == "finished"


def swept(runs: Sequence[PlannedRun]) -> list[SweptRun]:
    """Planned runs as a record has them."""
    return [SweptRun(run.experiment, run.varied, run.config.replicate, run.directory) for run in runs]


@dataclass(frozen=True)
class SweepDirectory:
    """The results of a sweep, on disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def exists(self) -> bool:
        return (self.path / _RECORD).is_file()

    @property
    def table_path(self) -> Path:
        return self.path / _TABLE

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def write_record(self, runs: Sequence[PlannedRun], *, grows: bool = False) -> None:
        """Write down which runs the sweep consists of; paths are relative, so that all of $SC_RUNS may be moved.

        Where it grows, earlier runs stay: of other experiments, and other replicates of the same runs.
        """
        these = swept(runs)
        homes = {run.experiment: self._home(run) for run in these}
        new = {(run.experiment, run.replicate) for run in these}
        earlier = [
            run
            for run in (self.runs() if grows and self.exists else [])
            if (run.experiment, run.replicate) not in new and homes.get(run.experiment) in (None, self._home(run))
        ]
        record = [
            {
                "experiment": run.experiment,
                "varied": dict(run.varied),
                "replicate": run.replicate,
                "run": os.path.relpath(run.directory.path, self.path),
            }
            for run in (*these, *earlier)
        ]
        with write_atomically(self.path / _RECORD) as temporary:
            temporary.write_text(json.dumps({"runs": record}, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def _home(run: SweptRun) -> Path:
        """The directory of the experiment, which names its settings."""
        return run.directory.path.parent.resolve()

    def runs(self) -> list[SweptRun]:
        """The runs of the record, whether trained or not. Raises `InputError` where there is no record."""
        path = self.path / _RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))["runs"]
            return [
                SweptRun(
                    run["experiment"],
                    run["varied"],
                    run["replicate"],
                    RunDirectory(Path(os.path.normpath(self.path / run["run"]))),
                )
                for run in record
            ]
        except FileNotFoundError:
            raise InputError(f"{self.path}: no sweep here: expected {_RECORD}, which sc sweep writes") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); delete it, and the same command writes it anew") from None

    def write_table(self) -> dict[Path, str]:
        """Gather the last measurement of every run that has one in sweep.csv: a row for each run and layer.

        Returns what is wrong with the runs whose files cannot be read, by their directories.
        """
        import pandas as pd

        runs = self.runs()
        varied = list(dict.fromkeys(key for run in runs for key in run.varied))
        rows: list[dict[str, Any]] = []
        unreadable = {}
        for run in runs:
            try:
                rows += self._rows(run, varied)
            except InputError as error:
                unreadable[run.directory.path] = str(error)
        scores = [name for name in SCORES if any(name in row for row in rows)] or ["eval_accuracy"]
        columns = ["experiment", "replicate", "run", "state", *varied, "train_loss", "eval_loss", *scores]
        table = pd.DataFrame(rows, columns=[*columns, *COLLAPSE])
        with write_atomically(self.table_path) as temporary:
            table.to_csv(temporary, index=False)
        return unreadable

    def _rows(self, run: SweptRun, varied: Sequence[str]) -> list[dict[str, Any]]:
        """A row for each layer of `run` at its last measurement; none before the first."""
        collapse = run.directory.collapse()
        if collapse.empty:
            return []
        step = int(collapse["step"].max())
        metrics = run.directory.metrics()
        evaluated = metrics[metrics["step"] <= step].dropna(subset="eval_loss").tail(1).to_dict("records")
        last = evaluated[0] if evaluated else {}
        about = {
            "experiment": run.experiment,
            "replicate": run.replicate,
            "run": os.path.relpath(run.directory.path, self.path),
            "state": run.directory.status().get("state"),
            **{key: _cell(run.varied.get(key)) for key in varied},
            **{key: last.get(key) for key in ("train_loss", "eval_loss")},
            **{key: last.get(key) for key in SCORES if key in metrics},
        }
        return [{**about, **layer} for layer in collapse[collapse["step"] == step].to_dict("records")]


def _cell(value: Any) -> Any:
    """A value as one cell: what is no number or text as JSON."""
    return value if value is None or isinstance(value, int | float | str) else json.dumps(value)
