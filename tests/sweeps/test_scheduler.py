"""The scheduler with an executor whose tasks end when the test says so, and with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stochastic_collapse import train
from stochastic_collapse.cli import run as sc
from stochastic_collapse.errors import StochasticCollapseError
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps import PlannedRun, SweepDirectory, load_sweep, news, run_sweep
from stochastic_collapse.sweeps.local import LocalExecutor
from stochastic_collapse.sweeps.tasks import Outcome

from .test_plan import DROP

Write = Callable[..., Path]


class InProcess:
    """Trains at once, in this process; remembers what and in which order."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.started: list[str] = []

    def start(self, runs: tuple[PlannedRun, ...]) -> Done:
        self.started += [run.title for run in runs]
        try:
            trained = [not train(run.config).already_finished for run in runs]
        except StochasticCollapseError as error:
            return Done(Outcome(str(error), 0))
        return Done(Outcome(None, sum(trained)))

    def close(self) -> None:
        pass


class Done:
    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def outcome(self) -> Outcome:
        return self._outcome

    def stop(self) -> None:
        pass

    def kill(self) -> None:
        pass


def test_a_row_for_each_run_and_layer(sweep_file: Write) -> None:
    sweep = load_sweep(sweep_file())
    result = run_sweep(sweep, InProcess())
    assert (result.runs, result.finished, result.trained, result.failures) == (4, 4, 4, {})
    table = pd.read_csv(SweepDirectory(sweep.directory).table_path)
    assert len(table) == 4 * 2
    for run in sweep.runs:
        own, metrics = run.directory.collapse(), run.directory.metrics()
        rows = table[
            (table["optimizer.lr"] == run.varied["optimizer.lr"]) & (table["replicate"] == run.config.replicate)
        ]
        last = own[own["step"] == 30]
        assert list(rows["layer"]) == list(last["layer"])
        assert list(rows["fraction_independent"]) == list(last["fraction_independent"])
        assert set(rows["eval_accuracy"]) == {metrics["eval_accuracy"].iloc[-1]}
        assert set(rows["state"]) == {"finished"}
    recorded = SweepDirectory(sweep.directory).runs()
    assert [run.directory.path.resolve() for run in recorded] == [run.directory.path.resolve() for run in sweep.runs]
    assert all(run.is_finished for run in recorded)


def test_only_what_is_new_is_trained(sweep_file: Write) -> None:
    first = InProcess()
    run_sweep(load_sweep(sweep_file()), first)
    assert len(first.started) == 4
    file = sweep_file()
    file.write_text(file.read_text().replace("[0.01, 0.1]", "[0.01, 0.05, 0.1]"))
    second = InProcess()
    result = run_sweep(load_sweep(file, replicates=3), second)
    assert second.started == ["mlp lr 0.01 #2", *(f"mlp lr 0.05 #{k}" for k in range(3)), "mlp lr 0.1 #2"]
    assert (result.finished, result.trained) == (9, 5)


def test_an_origin_comes_before_what_starts_from_it(sweep_file: Write) -> None:
    sweep = load_sweep(sweep_file(DROP.format(origin="high", steps=[10, 40])))
    executor = InProcess(capacity=1)
    result = run_sweep(sweep, executor)
    assert result.finished == 6
    assert executor.started[:2] == ["high #0", "high #1"]


def test_failures_are_named_and_stop_nothing(sweep_file: Write, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
name: failing
experiments:
  bad: {base: tiny.yaml, settings: {optimizer.lr: 1e30, schedule.warmup_steps: 0}}
  after: {base: tiny.yaml, from: bad, settings: {from.step: 40}}
  good: {base: tiny.yaml}
"""
    sweep = load_sweep(sweep_file(text))
    result = run_sweep(sweep, InProcess())
    assert result.finished == 1
    assert list(result.failures) == ["bad #0", "after #0"]
    assert "diverged" in result.failures["bad #0"]
    assert "not started" in result.failures["after #0"]
    assert not sweep.runs[1].directory.exists
    again = InProcess()
    assert list(run_sweep(sweep, again).failures) == ["bad #0", "after #0"]
    assert again.started == []  # it diverged before


def test_status_sees_that_a_run_was_killed(sweep_file: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file()
    sweep = load_sweep(file)
    train(sweep.runs[0].config)
    directory = sweep.runs[1].directory
    directory.write_config(sweep.runs[1].config)
    directory.write_status("running", 10, 2.0, train_loss=0.5)
    with directory.lock():
        assert news(sweep.runs[1]).state == "running"
        assert news(sweep.runs[1]).eta == pytest.approx(4)
    assert sc(["sweep", "-f", str(file), "--status", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["state"] for run in runs] == ["finished", "interrupted", "waiting", "waiting"]
    assert sc(["sweep", "-f", str(file), "--status"]) == 0
    assert "1 finished, 1 interrupted, 2 waiting" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["collapse.csv", "metrics.csv", "status.json"])
def test_damaged_files_of_a_run_are_its_failure_alone(sweep_file: Write, name: str) -> None:
    sweep = load_sweep(sweep_file())
    run_sweep(sweep, InProcess())
    (sweep.runs[1].directory.path / name).write_text("a,b\n1,2\n")
    file = sweep_file()
    file.write_text(file.read_text().replace("[0.01, 0.1]", "[0.01, 0.1, 0.2]"))
    result = run_sweep(load_sweep(file), InProcess())
    assert list(result.failures) == ["mlp lr 0.01 #1"]
    assert name in result.failures["mlp lr 0.01 #1"]
    assert result.trained == 2
    table = pd.read_csv(SweepDirectory(sweep.directory).table_path)
    assert len(table) == 5 * 2


def test_overrides_that_make_other_runs_have_their_own_results(sweep_file: Write) -> None:
    file = sweep_file()
    assert load_sweep(file, overrides=["device=cpu", "threads=1"]).name == "rates"
    assert load_sweep(file, replicates=2).name == "rates"
    other, fewer = load_sweep(file, overrides=["max_steps=9"]), load_sweep(file, replicates=1)
    assert len({"rates", other.name, fewer.name}) == 3
    assert other.name.startswith("rates-")
    assert load_sweep(file, overrides=["max_steps=9"]).name == other.name


def test_cores_are_divided_among_what_there_is_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    found = [
        (executor.capacity, executor.threads)
        for executor in (
            LocalExecutor(tmp_path, tasks, jobs) for tasks, jobs in ((1, None), (3, None), (99, None), (99, 2))
        )
    ]
    assert found == [(1, 8), (3, 2), (8, 1), (2, 4)]


def test_options_of_the_other_executor(sweep_file: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert sc(["sweep", "-f", str(sweep_file()), "--gpus-per-run", "1"]) == 2
    assert "executor local: --gpus-per-run is an option of the other executor" in capsys.readouterr().err
    assert sc(["sweep", "-f", str(sweep_file()), "--executor", "ray", "--jobs", "1"]) == 2
    assert "executor ray: --jobs is an option of the other executor" in capsys.readouterr().err


# --- real processes -----------------------------------------------------------------------------------------------


def start(file: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stochastic_collapse", "sweep", "-f", str(file), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_processes_and_failures(sweep_file: Write) -> None:
    text = """
name: mixed
experiments:
  good: {base: tiny.yaml, grid: {seed: [1, 2]}}
  bad: {base: tiny.yaml, settings: {optimizer.lr: 1e30, schedule.warmup_steps: 0}}
"""
    process = start(sweep_file(text), "--json", "--jobs", "2")
    out, err = process.communicate(timeout=150)
    assert process.returncode == 1
    result = json.loads(out)
    assert (result["runs"], result["finished"]) == (3, 2)
    assert list(result["failures"]) == ["bad #0"]
    assert "diverged" in result["failures"]["bad #0"]
    assert "finished: good seed 1 #0" in err
    assert "Traceback" not in err


LONG = """
name: long
replicates: 2
experiments:
  mlp:
    base: tiny.yaml
    settings: {max_steps: 60000, checkpoint_every: 100, log_every: 100, eval_every: 0, collapse.every: 0}
    grid: {seed: [1, 2]}
"""


def wait_until(holds: Callable[[], bool], seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_or_killed_it_leaves_no_process_and_continues(sweep_file: Write, number: signal.Signals) -> None:
    """SIGTERM saves checkpoints; after SIGKILL the workers see that the sweep is no more, and save theirs too."""
    file = sweep_file(LONG)
    runs = [run.directory for run in load_sweep(file).runs]
    process = start(file, "--jobs", "2")
    wait_until(lambda: all(run.status().get("step", 0) > 0 for run in runs))
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=150)
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert "the same command continues" in err
    wait_until(lambda: not any(run.is_locked() for run in runs))
    assert [run.status()["state"] for run in runs] == ["interrupted"] * 4
    steps = [run.status()["step"] for run in runs]
    assert all(max(run.checkpoints()) == step for run, step in zip(runs, steps, strict=True))
    sweep = load_sweep(file)
    for run in sweep.runs[:2]:  # continued alone: from where the stack stopped
        said: list[str] = []
        shortened(run.directory, max(run.directory.checkpoints()) + 5)
        train(run.directory.config(), out=run.directory.path, report=said.append)
        assert "continues at step" in said[0]


def shortened(run: RunDirectory, steps: int) -> None:
    """Let the run have `steps` steps, so that continuing it takes no time."""
    run.write_config(run.config().model_copy(update={"max_steps": steps}))


def test_a_worker_that_is_killed_is_a_failure_with_a_reason(sweep_file: Write) -> None:
    file = sweep_file(LONG)
    runs = [run.directory for run in load_sweep(file).runs]
    process = start(file, "--jobs", "1")
    wait_until(lambda: runs[0].status().get("step", 0) > 0)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[0]), signal.SIGKILL)
    wait_until(lambda: runs[2].status().get("step", 0) > 0)  # the next one was started
    process.terminate()
    _, err = process.communicate(timeout=150)
    assert "failed: mlp seed 1 #0: its process ended without a result (killed by signal 9)" in err
    assert process.returncode == 130
