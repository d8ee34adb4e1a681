"""Run directories: the only code that knows paths and file names in a run (docs/reference/run-directory.md#training).

    runs/<name>-<hash12>/replicate_<k>/
        config.yaml  task.json  metrics.csv  collapse.csv  compression.csv  status.json  checkpoints/step_00020000.pt

Every file appears atomically: it is written beside its place, flushed to disk, and renamed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from .config import NOT_IDENTIFYING, TrainConfig, dump_yaml, identity, load_config
from .errors import InputError, RunLocked
from .scores import SCORE_NAMES, SCORES, score_in_digits, score_of
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

# Columns of the tables, and their types. A blank in metrics.csv means: not evaluated at this step.
METRICS = {"step": int, "epoch": float, "lr": float, "train_loss": float, "eval_loss": float}
COLLAPSE = {
    "step": int,
    "layer": str,
    "neurons": int,
    "vanished": int,
    "independent": int,
    "fraction_independent": float,
    "effective_rank": float,
}
ATTRACTIVITY = {
    "step": int,
    "layer": str,
    "set": str,
    "neuron": int,
    "partner": int,
    "distance": float,
    "direction": str,
    "drift": float,
    "diffusion": float,
    "alpha": float,
    "standard_error": float,
    "verdict": str,
}
COMPRESSION = {
    "step": int,
    "tolerance": float,
    "neurons_before": int,
    "neurons_after": int,
    "parameters_before": int,
    "parameters_after": int,
    "flops_before": int,
    "flops_after": int,
    "milliseconds_before": float,
    "milliseconds_after": float,
    "accuracy_before": float,
    "accuracy_after": float,
    "largest_change": float,
}
_OTHER_NAMES = {f"accuracy_{when}": f"r2_{when}" for when in ("before", "after")}
"""Of columns of compression.csv where real targets are predicted."""

_LOCK_SECONDS = 0.5  # longer than `RunDirectory.is_locked` holds a lock
_TEMPORARY = ".sc-tmp"  # ends the names of half-written files

State = Literal["running", "finished", "interrupted", "diverged", "failed"]


def runs_root() -> Path:
    """Where runs are kept: $SC_RUNS, default ./runs."""
    return Path(os.environ.get("SC_RUNS") or "runs")


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def csv_line(values: Iterable[object]) -> str:
    """A row of a table as its line in the file, as pandas writes it too."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def remove_left_overs(*folders: Path) -> None:
    """Remove the half-written files that a killed process left in `folders`."""
    for folder in folders:
        for left_over in folder.glob(f".*{_TEMPORARY}"):
            left_over.unlink(missing_ok=True)


def refuse_foreign(folder: Path, ours: Sequence[str] = (".lock",)) -> None:
    """Raise `InputError` where `folder`, meant for a new run, already holds something else than the files `ours`."""
    if not folder.is_dir():
        return
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in ours and not p.name.endswith(_TEMPORARY))
    if foreign:
        raise InputError(f"{folder}: is not empty and holds no run ({', '.join(foreign[:3])}, …); choose another --out")


@dataclass(frozen=True)
class RunDirectory:
    """One replicate of one training run, on disk."""

    path: Path

    @classmethod
    def of(cls, config: TrainConfig, root: Path | None = None) -> RunDirectory:
        """The directory that the identity of `config` names, under `root` (default: `runs_root()`)."""
        experiment = f"{config.name}-{identity(config)}"
        return cls((root or runs_root()) / experiment / f"replicate_{config.replicate}")

    def __str__(self) -> str:
        return str(self.path)

    # --- settings and status ---

    @property
    def exists(self) -> bool:
        return (self.path / "config.yaml").is_file()

    def write_config(self, config: TrainConfig) -> None:
        self._write_text("config.yaml", dump_yaml(config))

    def config(self) -> TrainConfig:
        return load_config(self.path / "config.yaml")

    def write_status(self, state: State, step: int, seconds: float, **details: Any) -> None:
        """`seconds` is the time spent training so far, over all sessions; `details` must be JSON values."""
        status = {"state": state, "step": step, "seconds": round(seconds, 3), **details}
        self._write_text("status.json", json.dumps(status, indent=2) + "\n")

    def status(self) -> dict[str, Any]:
        """Contents of status.json; empty before the first was written."""
        path = self.path / "status.json"
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise InputError(f"{path}: damaged: {error}; delete it, and the same command continues the run") from None

    def write_task(self, task: Task) -> None:
        self._write_text("task.json", json.dumps(task.to_json(), indent=2) + "\n")

    def task(self) -> Task | None:
        """What the data asked of the network; None of a run of a version that did not write it."""
        path = self.path / "task.json"
        try:
            return Task.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error}; delete it, and the same command continues the run") from None

    # --- tables ---

    def write_metrics(self, table: pd.DataFrame) -> None:
        self._write_table("metrics.csv", table[[*METRICS, *(name for name in SCORES if name in table)]])

    def metrics(self) -> pd.DataFrame:
        """One row per logged step, with the columns METRICS and those of SCORES that the task has.

        Empty, with an accuracy, before the first was written.
        """
        return self._table("metrics.csv", lambda there: {**METRICS, **_scores(there or ["eval_accuracy"])})

    def score(self, step: int, evaluations: int = 1) -> float | None:
        """Median of the last `evaluations` scores on the test set (`score_of`) up to `step`; None where none is."""
        metrics = self.metrics()
        evaluated = metrics.loc[metrics["step"] <= step, score_of(metrics)].dropna()
        return float(evaluated.tail(evaluations).median()) if len(evaluated) else None

    def score_name(self) -> str:
        """What that score is called."""
        return SCORE_NAMES[score_of(self.metrics())]

    def score_in_digits(self, step: int, evaluations: int = 1) -> str | None:
        """`score` as text."""
        value = self.score(step, evaluations)
        return None if value is None else score_in_digits(score_of(self.metrics()), value)

    def write_collapse(self, table: pd.DataFrame) -> None:
        self._write_table("collapse.csv", table[list(COLLAPSE)])

    def write_collapse_lines(self, lines: Iterable[str]) -> None:
        """The same from rows that are text already, each by `csv_line`."""
        self._write_text("collapse.csv", csv_line(COLLAPSE) + "".join(lines))

    def collapse(self) -> pd.DataFrame:
        """One row per measured step and layer, with the columns COLLAPSE; empty before the first was written."""
        return self._table("collapse.csv", COLLAPSE)

    def write_attractivity(self, table: pd.DataFrame) -> None:
        self._write_table("attractivity.csv", table[list(ATTRACTIVITY)])

    def attractivity(self) -> pd.DataFrame:
        """What `sc analyze --attractivity` found, with the columns ATTRACTIVITY; empty before the first was written."""
        return self._table("attractivity.csv", ATTRACTIVITY)

    def write_compression(self, table: pd.DataFrame) -> None:
        self._write_table("compression.csv", table[list(_compression(list(table.columns)))])

    def compression(self) -> pd.DataFrame:
        """What `sc compress` found, a row per checkpoint and tolerance, with the columns COMPRESSION; empty before.

        Accuracies are between 0 and 1, and called r2 where real targets are predicted; `largest_change` is the largest
        absolute change of an output.
        """
        return self._table("compression.csv", _compression)

    # --- checkpoints ---

    def checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step_{step:08d}.pt"

    def checkpoints(self) -> dict[int, Path]:
        """Paths of the checkpoints by step, in increasing order."""
        found = {
            int(match[1]): path
            for path in (self.path / "checkpoints").glob("step_*.pt")
            if (match := re.fullmatch(r"step_(\d+)\.pt", path.name))
        }
        return dict(sorted(found.items()))

    def compressed(self, step: int, tolerance: float) -> Path:
        """Where the network of a checkpoint lies after `sc compress`."""
        return self.path / "compressed" / f"step_{step:08d}_tolerance_{tolerance:g}.pt"

    # --- one process at a time ---

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for this process; `RunLocked` where another process holds it.

        The operating system frees the lock when its holder dies, so a killed run leaves nothing to clean up but its
        half-written temporary files, which are removed here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout:
            raise RunLocked(f"{self}: another process is training in this directory; wait for it or stop it") from None
        try:
            remove_left_overs(self.path, self.path / "checkpoints")
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Whether a process holds the directory now."""
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    # --- plain files ---

    def _write_text(self, name: str, text: str) -> None:
        with write_atomically(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _write_table(self, name: str, table: pd.DataFrame) -> None:
        with write_atomically(self.path / name) as temporary:
            table.to_csv(temporary, index=False)

    def _table(self, name: str, of: Mapping[str, type] | Callable[[list[str]], Mapping[str, type]]) -> pd.DataFrame:
        """A table; `of` are its columns and their types, or what tells them, for the columns that are there."""
        import pandas as pd  # takes a third of a second, which not every command has to wait for

        path = self.path / name
        if not path.is_file():
            columns = of([]) if callable(of) else of
            return pd.DataFrame(columns=list(columns)).astype(dict(columns))
        try:
            table = pd.read_csv(path, dtype=str)  # text to numbers below: to the last bit, in every version of pandas
        except ValueError as error:
            raise InputError(f"{path}: not a table: {error}") from None
        columns = of(list(table.columns)) if callable(of) else of
        if list(table.columns) != list(columns):
            raise InputError(f"{path}: expected the columns {', '.join(columns)}, found {', '.join(table.columns)}")
        try:
            return table.astype(dict(columns))
        except ValueError as error:
            raise InputError(f"{path}: a column holds what it should not: {error}") from None


def _scores(there: Sequence[str]) -> dict[str, type]:
    found: dict[str, type] = {name: kind for name, kind in SCORES.items() if name in there}
    return found or {"eval_accuracy": float}


def _compression(there: Sequence[str]) -> dict[str, type]:
    """Columns of compression.csv, of which some have another name in some tables."""
    return {_OTHER_NAMES[name] if _OTHER_NAMES.get(name) in there else name: kind for name, kind in COMPRESSION.items()}


def find_runs(paths: Sequence[str | Path]) -> list[RunDirectory]:
    """The run directories at or under `paths`: a replicate, an experiment with replicates, or any folder of runs.

    Raises `InputError` where a path holds no run.
    """
    runs: dict[Path, RunDirectory] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise InputError(f"{path}: no such run directory")
        found = [p.parent for p in sorted(path.rglob("config.yaml")) if RunDirectory(p.parent).status()]
        if not found:
            raise InputError(f"{path}: no run here: expected a directory with config.yaml and status.json")
        runs.update({p: RunDirectory(p) for p in found})
    return list(runs.values())


def labelled(runs: Sequence[RunDirectory]) -> list[tuple[RunDirectory, str]]:
    """`runs`, each with a short name: the settings in which they differ, such as ``lr 0.1``, or the experiment's name.

    In the order of these settings. Replicates of one experiment have the same name, unless nothing else differs.
    """
    hidden = NOT_IDENTIFYING - {"name"}
    flat = [_flatten(run.config().model_dump(mode="json", exclude=set(hidden))) for run in runs]
    # A setting that only some have, such as Adam's betas beside plain SGD, follows from one that all have.
    shared = [key for key in flat[0] if all(key in settings for settings in flat)]
    differing = [key for key in shared if len({json.dumps(settings[key]) for settings in flat}) > 1]
    if not differing and len({run.config().replicate for run in runs}) > 1:
        flat = [{**settings, "replicate": run.config().replicate} for settings, run in zip(flat, runs, strict=True)]
        differing = ["replicate"]

    def values(settings: dict[str, Any]) -> list[tuple[bool, float, str]]:
        """Numbers before texts, each in its order."""
        found = [settings[key] for key in differing]
        return [(False, v, "") if isinstance(v, int | float) else (True, 0.0, str(v)) for v in found]

    def part(key: str, value: Any) -> str:
        """``lr 0.1`` for optimizer.lr, ``optimizer adam`` for optimizer.name, the name itself for name."""
        parent, _, last = key.rpartition(".")
        return f"{parent} {value}" if last == "name" and parent else str(value) if last == "name" else f"{last} {value}"

    in_order = sorted(zip(runs, flat, strict=True), key=lambda pair: values(pair[1]))
    return [
        (run, ", ".join(part(key, settings[key]) for key in differing) or str(settings["name"]))
        for run, settings in in_order
    ]


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
