"""Run directories: atomic files, exact tables, one process at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stochastic_collapse.config import TrainConfig
from stochastic_collapse.errors import InputError, RunLocked
from stochastic_collapse.runs import COMPRESSION, METRICS, RunDirectory, find_runs, labelled, write_atomically

Tiny = Callable[..., TrainConfig]
ADAM = "optimizer={name:\tadam,\tlr:\t0.05,\tweight_decay:\t5e-4}"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def broken() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_are_as_readable_as_any(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "a") as temporary:
        temporary.write_text("x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_tables_read_back_to_the_last_bit(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    table = pd.DataFrame(
        [[1, 0.1 + 0.2, 1e-17, 1 / 3, None, None], [2, 2.0, 3.0, 4.0, 0.7, 1.0]], columns=[*METRICS, "eval_accuracy"]
    )
    run.write_metrics(table)
    first = (tmp_path / "metrics.csv").read_bytes()
    run.write_metrics(run.metrics())
    assert (tmp_path / "metrics.csv").read_bytes() == first
    assert run.metrics()["epoch"].iloc[0] == 0.1 + 0.2


def test_compressions_come_back_as_they_were(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert list(run.compression().columns) == list(COMPRESSION)
    assert run.compression().empty
    row = [40, 0.1, 14, 7, 220, 110, 3 * 10**10, 10**10, 0.1 + 0.2, 0.05, 0.9, np.nan, 1e-7]
    run.write_compression(pd.DataFrame([row], columns=list(COMPRESSION)))
    assert run.compression().dtypes.map(lambda kind: kind.kind).to_list() == [
        "i" if t is int else "f" for t in COMPRESSION.values()
    ]
    found = run.compression().iloc[0].to_list()
    assert found[:11] == row[:11]
    assert np.isnan(found[11])


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"metrics\.csv: expected the columns step"):
        RunDirectory(tmp_path).metrics()


def test_lock_keeps_other_processes_out_and_clears_left_overs(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from stochastic_collapse.runs import RunDirectory\n"
        "from stochastic_collapse.errors import RunLocked\n"
        "try:\n  with RunDirectory(Path(sys.argv[1])).lock(): print('free')\n"
        "except RunLocked: print('locked')"
    )

    def from_another_process() -> str:
        return subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True).stdout

    with run.lock():
        assert from_another_process() == "locked\n"
    (run.path / ".metrics.csv.abc.sc-tmp").write_text("half")
    assert from_another_process() == "free\n"
    assert not list(run.path.glob(".*tmp"))


def test_lock_error_is_ours(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.lock(), pytest.raises(RunLocked, match="another process"), RunDirectory(tmp_path).lock():
        pass


def test_find_runs(tmp_path: Path, tiny: Tiny) -> None:
    for replicate in (0, 1):
        run = RunDirectory.of(tiny(f"replicate={replicate}"), tmp_path)
        run.path.mkdir(parents=True)
        run.write_config(tiny(f"replicate={replicate}"))
        run.write_status("finished", 1, 1.0)
    assert [run.path.name for run in find_runs([tmp_path, run.path])] == ["replicate_0", "replicate_1"]
    with pytest.raises(InputError, match="no such run directory"):
        find_runs([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no run here"):
        find_runs([tmp_path / "empty"])


def test_labels_are_the_settings_that_differ(tmp_path: Path, tiny: Tiny) -> None:
    def label(*changes: str) -> list[str]:
        runs = []
        for k, change in enumerate(changes):
            run = RunDirectory(tmp_path / f"{len(changes)}-{k}")
            run.path.mkdir(exist_ok=True)
            run.write_config(tiny(*change.split(" ")))
            runs.append(run)
        return [name for _, name in labelled(runs)]

    assert label("optimizer.lr=0.1", "optimizer.lr=0.02") == ["lr 0.02", "lr 0.1"]
    assert label("replicate=0", "replicate=1") == ["replicate 0", "replicate 1"]
    assert label("replicate=0 seed=1", "replicate=1 seed=1", "seed=2") == ["seed 1", "seed 1", "seed 2"]
    assert label("replicate=0 device=auto", "replicate=1 log_every=9") == ["replicate 0", "replicate 1"]
    assert label("seed=3", "model.widths=[4]") == ["widths [4]", "widths [8, 6]"]
    assert label("optimizer.name=sgd", ADAM) == ["optimizer adam", "optimizer sgd"]
    assert label("seed=1") == ["tiny"]


def test_the_accuracy_of_a_step_and_a_median_of_several(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    accuracies = [0.1, None, 0.9, 0.2, 0.8, 0.7]
    rows = [[k, 0.0, 0.1, 0.5, 0.4, accuracy] for k, accuracy in enumerate(accuracies)]
    run.write_metrics(pd.DataFrame(rows, columns=[*METRICS, "eval_accuracy"]))
    assert run.score(0) == 0.1
    assert run.score(1) == 0.1
    assert run.score(5) == 0.7
    assert run.score(5, 5) == 0.7  # of 0.1, 0.9, 0.2, 0.8, 0.7
    assert run.score(3, 5) == 0.2
    assert run.score(-1) is None


def test_a_damaged_status_is_named(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(InputError, match=r"status\.json: damaged"):
        RunDirectory(tmp_path).status()
