"""The catalogue of runs: what it lists, filters, prunes and removes, and `sc runs`, which prints it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from stochastic_collapse import cli, training
from stochastic_collapse.catalogue import (
    COLUMNS,
    DASH,
    differing,
    figures_of,
    load_runs,
    plan_prune,
    problem,
    prune,
    reading,
    remove,
    settings_of,
    starting_from,
)
from stochastic_collapse.cli import runs as command
from stochastic_collapse.config import TrainConfig, dump_yaml, identity
from stochastic_collapse.errors import InputError, RunLocked
from stochastic_collapse.provenance import located
from stochastic_collapse.runs import RunDirectory, find_runs, runs_root

Tiny = Callable[..., TrainConfig]
Make = Callable[..., RunDirectory]
METRICS = "step,epoch,lr,train_loss,eval_loss,eval_accuracy\n"
ADAM = "optimizer={name:\tadam,\tlr:\t0.05,\tweight_decay:\t5e-4}"
VGG = "model={name:\tvgg16,\twidth:\t0.25}"


@pytest.fixture
def make(tiny: Tiny) -> Make:
    """Write a run directory as a run of these settings leaves it, checkpoints of a byte for each step and one more."""

    def one(
        *overrides: str,
        state: Any = "finished",
        step: int = 40,
        metrics: str = METRICS + "40,1.0,0.1,0.5,0.4,0.9\n",
        checkpoints: tuple[int, ...] = (),
    ) -> RunDirectory:
        config = located(tiny(*overrides))
        run = RunDirectory.of(config)
        run.write_config(config)
        run.write_status(state, step, 1.5)
        (run.path / "metrics.csv").write_text(metrics)
        for number in checkpoints:
            run.checkpoint(number).parent.mkdir(exist_ok=True)
            run.checkpoint(number).write_bytes(b"x" * (number + 1))
        return run

    return one


def sc(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.run(["runs", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


# --- listing ---


def test_a_row_has_how_a_run_stands_its_settings_and_its_last_figures(make: Make, tiny: Tiny) -> None:
    lines = ["10,0.2,0.1,0.8,0.7,0.6", "15,0.3,0.1,0.75,,", "20,0.4,0.1,0.25,,"]
    run = make("optimizer.lr=0.25", state="diverged", step=20, metrics=METRICS + "\n".join(lines) + "\n")
    table = load_runs()
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    [row] = table.to_dict("records")
    assert [row[column] for column in COLUMNS] == [
        str(run), "tiny", 0, identity(tiny("optimizer.lr=0.25")), "diverged", 20, 40, 1.5,
    ]  # fmt: skip
    assert (row["optimizer.lr"], row["model.widths"], row["micro_batch"]) == (0.25, [8, 6], None)
    assert (row["train_loss"], row["eval_loss"], row["eval_accuracy"]) == (0.25, 0.7, 0.6)
    assert figures_of(table) == ["train_loss", "eval_loss", "eval_accuracy"]
    assert "eval_every" in settings_of(table)
    assert set(table.columns) == {
        "run",
        "identity",
        "state",
        "step",
        "seconds",
        *settings_of(table),
        *figures_of(table),
    }


def test_figures_are_those_that_metrics_have(make: Make) -> None:
    make(metrics="step,train_loss,eval_perplexity\n5,0.5,\n10,0.25,\n")
    make("seed=4", metrics="")
    make("seed=5", metrics=METRICS)
    table = load_runs().set_index("seed")
    assert figures_of(table) == ["train_loss", "eval_perplexity", "eval_loss", "eval_accuracy"]
    assert table.loc[3, "train_loss"] == 0.25
    assert table.loc[[4, 5], figures_of(table)].isna().all(axis=None)
    assert math.isnan(table.loc[3, "eval_perplexity"])


def test_runs_lie_anywhere_and_count_once(make: Make, tmp_path: Path) -> None:
    assert list(load_runs().columns) == list(COLUMNS)
    assert load_runs().empty
    runs = [make(f"replicate={k}") for k in range(3)]
    shutil.copytree(runs[0].path, tmp_path / "elsewhere" / "mine")
    other = tmp_path / "runs" / "wandb" / "files"
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("_wandb: {value: 1}\n")
    (runs[0].path / "compressed").mkdir()
    (runs[0].path / "compressed" / "config.yaml").write_text("{}\n")
    assert list(load_runs()["run"]) == list(map(str, runs))
    assert len(load_runs([tmp_path, runs[1].path, tmp_path / "runs"])) == 4
    assert list(load_runs(str(runs[1]))["replicate"]) == [1]
    with pytest.raises(InputError, match="nowhere: no such run directory"):
        load_runs(tmp_path / "nowhere")


def test_a_trained_run_is_listed(tiny: Tiny) -> None:
    result = training.train(tiny())
    [row] = load_runs().to_dict("records")
    assert (row["run"], row["state"], row["step"]) == (str(result.directory), "finished", 40)
    assert (row["train_loss"], row["eval_loss"], row["eval_accuracy"]) == (
        result.train_loss,
        result.eval_loss,
        result.eval_accuracy,
    )


def test_states_are_what_is_true_now(make: Make) -> None:
    run = make(state="running", step=5)
    with run.lock():
        assert list(load_runs()["state"]) == ["running"]
    assert list(load_runs()["state"]) == ["interrupted"]
    (run.path / "status.json").unlink()
    assert load_runs()[["state", "step"]].to_numpy().tolist() == [["waiting", 0]]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.yaml", "name: [", r"config\.yaml:1: not valid YAML"),
        ("config.yaml", "just words", "expected settings"),
        ("config.yaml", "name: tiny\n", "model: missing"),
        ("config.yaml", "\xff", r"config\.yaml"),
        ("config.yaml", None, r"config\.yaml"),
        ("status.json", "{", r"status\.json: damaged"),
        ("status.json", "3", r"status\.json: damaged"),
        ("status.json", '{"state": "finished"}', r"status\.json: damaged: KeyError: 'step'"),
        ("status.json", '{"state": "finished", "step": [], "seconds": 1}', r"status\.json: damaged"),
        ("metrics.csv", METRICS + "1,2\n", r"metrics\.csv: expected 6 columns, found the row '1,2'"),
        ("metrics.csv", METRICS + "1,1,1,1,x,1\n", r"metrics\.csv: a column holds what it should not"),
        ("metrics.csv", METRICS + "1,1,1,1,\xff,1\n", r"metrics\.csv: a column holds what it should not"),
    ],
)
def test_damaged_runs_are_rows_too(make: Make, file: str, content: str | None, reason: str) -> None:
    make("seed=1")
    broken = make("seed=2", state="running")
    (broken.path / file).unlink()
    if content is not None:
        (broken.path / file).write_bytes(content.encode("latin-1"))
    table = load_runs().set_index("run")
    assert sorted(table["state"]) == ["damaged", "finished"]
    assert table.loc[str(broken), "state"] == "damaged"
    assert differing(load_runs()).columns.to_list() in ([], ["seed"])
    assert re.search(reason, problem(broken) or "")


def test_settings_read_fast_are_those_read_slowly(make: Make, tiny: Tiny) -> None:
    run = make()
    written = (run.path / "config.yaml").read_text()
    texts = [
        *(dump_yaml(tiny(*o)) for o in [[ADAM], [VGG], ["loss=mse"], ["from={weights:\tx.pt}"], ["sources={a: b}"]]),
        "# by hand\n" + written,
        written + "# at the end\n",
        "---\n" + written,
        json.dumps(tiny().model_dump(mode="json")),
        written.replace("widths: [8, 6]", "widths: &w\n  - 8\n  - 6").replace(
            "micro_batch: null", "micro_batch: 4 # x"
        ),
        written.replace("batch_size: 8", "batch_size: &n 8").replace("micro_batch: null", "micro_batch: *n"),
    ]
    read = reading.config_reader()
    for text in texts:
        (run.path / "config.yaml").write_text(text)
        assert read(run) == run.config()
    for text in (written + "seed: 4\n", written + "a\n", written + "seeed: 4\n", written + "---\nseed: 4\n"):
        (run.path / "config.yaml").write_text(text)
        with pytest.raises(InputError) as slowly:
            run.config()
        with pytest.raises(InputError, match=re.escape(str(slowly.value))):
            read(run)


def test_what_runs_have_in_common_is_parsed_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = Mock(wraps=reading.parse_yaml)
    monkeypatch.setattr(reading, "parse_yaml", parse)
    for k in range(20):
        make(f"optimizer.lr={k + 1}e-3")
    assert len(load_runs()) == 20
    assert parse.call_count == len(TrainConfig.model_fields) + 19


# --- filters ---


def test_filters_against_brute_force(make: Make) -> None:
    rng = np.random.default_rng(0)
    for k in range(40):
        make(
            f"replicate={k}",
            f"optimizer.lr={rng.choice([0.05, 0.1, 1, 2])}",
            f"batch_size={rng.choice(['8', '16', 'full'])}",
            f"micro_batch={rng.choice(['null', '2', '4'])}",
            f"schedule={rng.choice(['{name: constant}', '{name: cosine, warmup_steps: 3}'])}",
            f"compile={rng.choice(['true', 'false', 'auto'])}",
            f"model.widths={rng.choice(['[8]', '[8, 6]'])}",
            metrics=METRICS + f"40,1,1,{rng.choice(['0.5', '1.5'])},,{rng.choice(['0.2', ''])}\n",
        )
    rows: list[dict[str, Any]] = load_runs().to_dict("records")  # type: ignore[assignment]

    def numbers(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    conditions: dict[str, Callable[[dict[str, Any]], bool]] = {
        "optimizer.lr=1": lambda row: row["optimizer.lr"] == 1.0,
        "optimizer.lr==1.0": lambda row: row["optimizer.lr"] == 1,
        "optimizer.lr=1e-1": lambda row: row["optimizer.lr"] == 0.1,
        "optimizer.lr!=1": lambda row: row["optimizer.lr"] != 1,
        "optimizer.lr<0.1": lambda row: row["optimizer.lr"] < 0.1,
        "optimizer.lr <= 0.1": lambda row: row["optimizer.lr"] <= 0.1,
        "optimizer.lr>0.1": lambda row: row["optimizer.lr"] > 0.1,
        "batch_size>=16": lambda row: row["batch_size"] == 16,
        "batch_size=full": lambda row: row["batch_size"] == "full",
        "batch_size!=full": lambda row: row["batch_size"] != "full",
        "micro_batch=null": lambda row: row["micro_batch"] is None,
        "micro_batch<4": lambda row: row["micro_batch"] == 2,
        "compile=true": lambda row: row["compile"] is True,
        "compile=1": lambda row: False,
        "compile!=auto": lambda row: row["compile"] != "auto",
        "model.widths=[8,6]": lambda row: row["model.widths"] == [8, 6],
        "model.widths~6": lambda row: 6 in row["model.widths"],
        "schedule.name~^co(s|n).*[et]$": lambda row: True,
        "schedule.name~cos": lambda row: row["schedule.name"] == "cosine",
        "train_loss>1": lambda row: row["train_loss"] == 1.5,
        "eval_accuracy>0": lambda row: row["eval_accuracy"] == 0.2,
        "eval_accuracy=0.2": lambda row: row["eval_accuracy"] == 0.2,
        "eval_accuracy!=0.2": lambda row: row["eval_accuracy"] != 0.2,
        "replicate>=7": lambda row: row["replicate"] >= 7,
        "state=finished": lambda row: True,
        "run~replicate_1": lambda row: "replicate_1" in row["run"],
    }
    for (text, holds), (other, too) in itertools.product(conditions.items(), repeat=2):
        if text == other or (text < other and rng.random() < 0.2):
            found = load_runs(None, text, other)
            assert list(found["run"]) == [row["run"] for row in rows if holds(row) and too(row)], (text, other)


def test_a_run_without_the_setting_passes_only_unequal(make: Make) -> None:
    make()
    make(ADAM)
    make(VGG)
    assert list(load_runs(None, "optimizer.momentum=0.9")["optimizer.name"]) == ["sgd", "sgd"]
    assert list(load_runs(None, "optimizer.momentum!=0.9")["optimizer.name"]) == ["adam"]
    assert load_runs(None, "optimizer.momentum>1").empty
    assert list(load_runs(None, "model.name~vgg")["model.name"]) == ["vgg16"]
    assert load_runs(None, "from=null").shape[0] == 3


def test_an_identity_that_looks_like_a_number_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "identity", lambda config: "012345678901")
    make()
    assert len(load_runs(None, "identity=012345678901")) == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("optimizer.lr", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("optimizer.lr=", "expected KEY=VALUE"),
        ("optimizer.lr=[", "not valid YAML"),
        ("optimizer.lr<much", "expected a number after <, found 'much'"),
        ("optimizer.lr>=true", "expected a number"),
        ("name~(", "no regular expression"),
        ("lr=0.1", r"no run has this setting or figure; did you mean optimizer\.lr\?"),
        ("optimizer.momentun=1", r"did you mean optimizer\.momentum"),
        ("batchsize=1", "did you mean batch_size"),
        ("qqqqqqqq=1", "'qqqqqqqq': no run has this setting or figure$"),
    ],
)
def test_wrong_filters(make: Make, text: str, answer: str) -> None:
    make()
    with pytest.raises(InputError, match=answer) as error:
        load_runs(None, text)
    assert "\n" not in str(error.value)


# --- differences ---


def test_the_settings_that_differ(make: Make, tiny: Tiny) -> None:
    source = make(checkpoints=(40,))
    assert differing(load_runs()).shape == (1, 0)
    make("seed=4", ADAM, "micro_batch=2")
    make(f"from.run={source}", "seed=5")
    table = load_runs().set_index("run")
    found = differing(table)
    assert list(found.index) == list(table.index)
    optimizer = {"name", "momentum", "nesterov", "betas", "eps"}
    origin = {"run", "step", "weights", "identity"}
    assert set(found.columns) == {
        "seed", "micro_batch", *(f"optimizer.{key}" for key in optimizer), *(f"from.{key}" for key in origin)
    }  # fmt: skip
    assert sorted(map(str, found["micro_batch"])) == ["2", "None", "None"]
    assert sorted(map(str, found["optimizer.momentum"])) == ["0.9", "0.9", DASH]
    assert sorted(map(str, found["from.step"])) == ["40", DASH, DASH]
    assert "from" not in table


# --- pruning ---


def test_pruning_keeps_what_is_named_against_brute_force(make: Make) -> None:
    rng = np.random.default_rng(1)
    for k in range(60):
        there = sorted(rng.choice(50, rng.integers(1, 12), replace=False).tolist())
        run = make(f"replicate={k}", checkpoints=tuple(there))
        last, period = int(rng.integers(1, 5)), int(rng.integers(1, 20))
        step = int(rng.choice(there))
        rules = {
            "last": set(there[-1:]),
            f"last:{last}": set(there[-last:]),
            f"every:{period}": {s for s in there if s % period == 0},
            f"{step}": {step},
        }
        chosen = [name for name in rules if rng.random() < 0.5] or ["last"]
        kept = set().union(*(rules[name] for name in chosen)) or {there[-1]}
        plan = plan_prune([run], ",".join(chosen))
        assert set(plan.files[run]) == {run.checkpoint(s) for s in there if s not in kept}
        assert plan.bytes == sum(s + 1 for s in there if s not in kept)
        assert list(run.checkpoints()) == there
        done = prune(plan)
        assert done.bytes == plan.bytes
        assert set(run.checkpoints()) == kept
        assert prune(plan).bytes == 0


@pytest.mark.parametrize("state", ["running", "interrupted", "diverged", "failed", "damaged"])
def test_the_last_checkpoint_of_a_run_that_is_not_finished_stays(make: Make, state: str) -> None:
    run = make(state=state, checkpoints=(0, 10, 20))
    if state == "damaged":
        (run.path / "status.json").write_text("{")
    plan = plan_prune([run], "0")
    assert list(plan.spared) == [f"{run}: step 20 stays: the run is not finished"]
    prune(plan)
    assert list(run.checkpoints()) == [0, 20]


def test_no_run_is_left_without_a_checkpoint(make: Make) -> None:
    run, other = make(checkpoints=(5, 10)), make("seed=4", checkpoints=(7,))
    plan = plan_prune([run, other], "10")
    assert list(plan.spared) == [f"{other}: step 7 stays: the run would have none left"]
    prune(plan)
    assert (list(run.checkpoints()), list(other.checkpoints())) == ([10], [7])
    assert plan_prune([make("seed=5")], "last").bytes == 0


def test_what_another_process_holds_stays(make: Make) -> None:
    run, other = make(checkpoints=(0, 10)), make("seed=4", checkpoints=(0, 10))
    with run.lock():
        plan = plan_prune([run, other], "last")
        assert run not in plan.files
        assert list(plan.spared) == [f"{run}: another process holds it, all of it stays"]
    plan = plan_prune([run, other], "last")
    with run.lock():
        done = prune(plan)
    assert list(done.files) == [other]
    assert list(done.spared) == [f"{run}: another process holds it, all of it stays"]
    assert list(run.checkpoints()) == [0, 10]
    assert list(other.checkpoints()) == [10]


def test_what_came_to_be_needed_since_the_plan_stays(make: Make) -> None:
    run = make(checkpoints=(0, 10, 20))
    plan = plan_prune([run], "0")
    run.write_status("interrupted", 20, 1.0)
    make(f"from.run={run}", "from.step=10", "seed=9")
    done = prune(plan)
    assert list(run.checkpoints()) == [0, 10, 20]
    assert [line.split(": ", 1)[1][:7] for line in done.spared] == ["step 10", "step 20"]


@pytest.mark.parametrize("paired", [False, True], ids=["run", "experiment"])
def test_a_checkpoint_from_which_another_run_starts_stays(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paired: bool
) -> None:
    sources = [make(f"replicate={k}", checkpoints=(0, 10, 20, 30)) for k in (0, 1)]
    tuned = make(
        f"from.run={sources[1].path.parent if paired else sources[1]}", "from.step=10", "replicate=1", "name=tuned"
    )
    plan = plan_prune(sources, "last")
    assert set(plan.files[sources[0]]) == {sources[0].checkpoint(s) for s in (0, 10, 20)}
    assert set(plan.files[sources[1]]) == {sources[1].checkpoint(s) for s in (0, 20)}
    assert list(plan.spared) == [f"{sources[1]}: step 10 stays: {tuned} starts from it"]
    # All runs are moved: the path in the settings leads nowhere, the identity still tells.
    (tmp_path / "runs").rename(tmp_path / "moved")
    monkeypatch.setenv("SC_RUNS", str(tmp_path / "empty"))
    moved = [RunDirectory(tmp_path / "moved" / run.path.relative_to(tmp_path / "runs")) for run in sources]
    prune(plan_prune(moved, "last"))
    assert [list(run.checkpoints()) for run in moved] == [[30], [10, 30]]
    assert list(starting_from(moved)) == [moved[1]]


def test_a_file_of_weights_from_which_another_run_starts_stays(make: Make) -> None:
    run = make(checkpoints=(0, 10, 20))
    make(f"from.weights={run.checkpoint(0)}", "name=tuned")
    make(f"model.weights={os.path.relpath(run.checkpoint(10))}", "name=loaded")
    plan = plan_prune([run], "last")
    assert plan.files == {run: {}}
    assert [line.split(": ", 1)[1][:7] for line in plan.spared] == ["step 0 ", "step 10"]
    assert list(starting_from([run])) == [run]
    assert starting_from([RunDirectory(Path(path)) for path in load_runs()["run"]]) == {}


@pytest.mark.parametrize("keep", ["", "first", "last:0", "last:", "last:-1", "every:0", "every", "5;10", "-5", "last,"])
def test_malformed_keeps(make: Make, keep: str) -> None:
    with pytest.raises(InputError, match=r"expected last, last:3, every:10000 or steps such as 0,5000, found"):
        plan_prune([make(checkpoints=(1,))], keep)


def test_a_step_that_no_run_has_is_a_mistake(make: Make) -> None:
    with pytest.raises(InputError, match=r"keep '0,15': no run has a checkpoint of step 15; there are 0, 10$"):
        plan_prune([make(checkpoints=(0, 10))], "0,15")


# --- removing ---


def test_removing_runs_and_their_experiments_folder(make: Make) -> None:
    runs = [make(f"replicate={k}", checkpoints=(99,)) for k in (0, 1)]
    experiment = runs[0].path.parent
    size = sum(path.stat().st_size for path in runs[0].path.rglob("*") if path.is_file() and path.name != ".lock")
    assert remove([runs[0]]) == size
    assert sorted(path.name for path in experiment.iterdir()) == ["replicate_1"]
    remove([runs[1]])
    assert not experiment.exists()
    assert runs_root().is_dir()


def test_a_run_elsewhere_leaves_the_folder_that_it_was_in(make: Make, tmp_path: Path) -> None:
    shutil.copytree(make().path, tmp_path / "mine" / "run")
    remove([RunDirectory(tmp_path / "mine" / "run")])
    assert list((tmp_path / "mine").iterdir()) == []


def test_nothing_is_removed_while_one_is_held(make: Make) -> None:
    runs = [make(f"replicate={k}") for k in (0, 1)]
    with runs[1].lock(), pytest.raises(RunLocked, match="replicate_1: another process holds it; nothing was removed"):
        remove(runs)
    assert len(load_runs()) == 2


def test_a_killed_removal_leaves_no_run_and_the_next_one_clears_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make(f"replicate={k}", checkpoints=(10,)) for k in (0, 1)]

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(runs[:1])
    assert list(load_runs()["run"]) == [str(runs[1])]
    assert find_runs([runs_root()]) == [runs[1]]
    assert not runs[0].path.exists()
    remove(runs[1:])
    assert not runs[0].path.parent.exists()


# --- the command ---


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes of captured streams a terminal without colours, at which a user types."""

    def start(typed: str = "", width: int = 200) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        keys = io.StringIO(typed)
        monkeypatch.setattr(keys, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", keys)

    return start


def test_in_a_pipe_the_list_is_csv(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make()
    make(ADAM, metrics="")
    status, out, err = sc(capsys)
    assert (status, err) == (0, "")
    rows = {row["optimizer.name"]: row for row in csv.DictReader(io.StringIO(out))}
    assert list(rows["sgd"]) == list(load_runs().columns)
    assert (rows["sgd"]["model.widths"], rows["sgd"]["micro_batch"]) == ("[8, 6]", "null")
    assert (rows["adam"]["eval_accuracy"], rows["adam"]["optimizer.momentum"]) == ("", "")
    assert pd.read_csv(io.StringIO(out))["eval_accuracy"].max() == 0.9


def test_json_leaves_out_what_a_run_has_not(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make(metrics=METRICS + "5,1,1,inf,,\n")
    status, out, _ = sc(capsys, "--json", "seed=3")
    assert status == 0
    [row] = json.loads(out)["runs"]
    assert (row["step"], row["train_loss"], row["micro_batch"], row["model.widths"]) == (40, None, None, [8, 6])
    assert "eval_loss" not in row


def test_on_a_terminal_the_list_is_a_table(
    make: Make, capsys: pytest.CaptureFixture[str], terminal: Callable[..., None]
) -> None:
    terminal()
    assert sc(capsys)[1] == "no runs\n"
    make("optimizer.lr=0.1", "name=a")
    make("optimizer.lr=0.2", "name=b", "batch_size=16", state="interrupted", step=20)
    status, out, _ = sc(capsys)
    assert status == 0
    assert out.startswith(f"2 runs in {runs_root()}\n")
    assert re.search(r"a-\w{12} +│ +finished │ +40 │ +8 │ +0.1 │ +0.5 │ +0.4 │ +0.9 │", out)
    assert re.search(r"b-\w{12} +│ +interrupted │ +20/40 │ +16 │ +0.2 │", out)
    terminal(width=70)
    narrow = sc(capsys, runs_root())[1]
    assert "they differ also in batch_size, optimizer.lr; --csv and --compare have all" in narrow
    assert sc(capsys, "--csv")[1].startswith("run,name,replicate,")


def test_comparing(make: Make, capsys: pytest.CaptureFixture[str], terminal: Callable[..., None]) -> None:
    runs = [make("optimizer.lr=0.1"), make(ADAM, metrics=METRICS)]
    first, second = sorted(map(str, runs))
    status, out, _ = sc(capsys, "--compare")
    assert status == 0
    table = pd.read_csv(io.StringIO(out), index_col=0)
    assert list(table.columns) == [first, second]
    assert table.loc["optimizer.lr"].sort_values().tolist() == ["0.05", "0.1"]
    assert "seed" not in table.index
    assert list(table.index)[-3:] == ["train_loss", "eval_loss", "eval_accuracy"]
    rows = json.loads(sc(capsys, "--compare", "--json", *runs)[1])["runs"]
    assert {row["optimizer.lr"] for row in rows} == {0.1, 0.05}
    assert sum("optimizer.momentum" in row for row in rows) == 1
    terminal()
    out = sc(capsys, "--compare")[1]
    assert re.search(r"optimizer.momentum │ +(0.9 │ +–|– │ +0.9) │", out)
    assert re.search(r"eval_accuracy +│ +(0.9 │ +–|– │ +0.9) │", out)
    make("replicate=1", "optimizer.lr=0.1")
    assert sc(capsys, "--compare", "seed=77")[2] == "sc: --compare takes two or more runs, found none\n"


def test_showing_one(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(checkpoints=(40,))
    status, out, _ = sc(capsys, run, "--show")
    assert status == 0
    for line in (f"run: {run}", "state: finished", "  optimizer.lr: 0.05", "  eval_accuracy: 0.9"):
        assert line in out.splitlines()
    assert "  checkpoints/step_00000040.pt: 41 bytes" in out.splitlines()
    shown = json.loads(sc(capsys, run, "--show", "--json")[1])
    assert shown["settings"]["model.widths"] == [8, 6]
    assert shown["files"]["checkpoints/step_00000040.pt"] == 41
    run.write_status("failed", 3, 1.0, message="no more room")
    assert "reason: no more room" in sc(capsys, run, "--show")[1]
    (run.path / "status.json").write_text("{")
    assert "status.json: damaged" in json.loads(sc(capsys, run, "--show", "--json")[1])["reason"]
    make("seed=4")
    assert sc(capsys, "--show")[::2] == (2, "sc: --show takes one run, found 2\n")


def test_pruning_asks(make: Make, capsys: pytest.CaptureFixture[str], terminal: Callable[..., None]) -> None:
    run = make(checkpoints=(0, 10, 20))
    assert sc(capsys, "--prune", "last", "--dry-run")[1].splitlines() == [
        f"{run}: 2 of 3 checkpoints, 12 bytes",
        "2 checkpoints would go, 12 bytes",
    ]
    status, _, err = sc(capsys, "--prune", "last")
    assert status == 2
    assert "--yes" in err
    assert len(run.checkpoints()) == 3
    terminal("n\n")
    status, _, err = sc(capsys, "--prune", "last")
    assert (status, len(run.checkpoints())) == (0, 3)
    assert "Delete 2 checkpoints, 12 bytes?" in err
    assert "nothing was deleted" in err
    terminal("y\n")
    assert sc(capsys, "--prune", "last")[1].splitlines()[-1] == "freed 12 bytes"
    assert list(run.checkpoints()) == [20]
    assert sc(capsys, "--prune", "last", "--yes")[1] == "no checkpoint would go\n"


def test_pruning_says_what_it_did_as_json(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(state="interrupted", checkpoints=(0, 10, 20))
    status, out, err = sc(capsys, "--prune", "0", "--yes", "--json")
    assert status == 0
    spared = f"{run}: step 20 stays: the run is not finished"
    assert json.loads(out) == {
        "dry_run": False,
        "checkpoints": [str(run.checkpoint(10))],
        "bytes": 11,
        "spared": [spared],
    }
    assert spared in err


def test_removing_asks(make: Make, capsys: pytest.CaptureFixture[str], terminal: Callable[..., None]) -> None:
    run = make(checkpoints=(40,))
    tuned = make(f"from.run={run}", "name=tuned")
    status, out, _ = sc(capsys, run, "--remove", "--dry-run", "--json")
    assert status == 0
    assert json.loads(out)["runs"] == [str(run)]
    assert sc(capsys, run, "--remove")[0] == 2
    assert run.exists
    terminal("y\n")
    status, out, err = sc(capsys, run, "--remove")
    assert status == 0
    assert f"{run}: {tuned} starts from it" in out
    assert "Remove 1 runs" in err
    assert not run.path.exists()
    assert json.loads(sc(capsys, "name=tuned", "--remove", "--yes", "--json")[1])["dry_run"] is False
    assert load_runs().empty


def test_wrong_use(make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.cli.commands["runs"] is command.runs
    run = make(checkpoints=(1,))
    for arguments, answer in (
        (("--show", "--compare"), "give either --compare or --show"),
        (("--yes",), "go with --prune or --remove"),
        (("--csv", "--show"), "--csv goes with"),
        (("--csv", "--json"), "--csv goes with"),
        (("--remove",), "--remove needs"),
        (("--prune", "x"), "sc: keep 'x': expected last"),
        ((tmp_path / "none",), "none: no such run directory, nor folder of runs"),
        (("lr=1",), "did you mean optimizer.lr?"),
        (("--compare", run), "two or more runs, found 1"),
        (("seed=8", "--remove", "--yes"), "sc: --remove takes runs, found none"),
    ):
        status, out, err = sc(capsys, *arguments)
        assert (status, out) == (2, "")
        assert answer in err
        assert "Traceback" not in err
    folder = tmp_path / "runs" / "lr=0.1"  # a path, for it is there
    shutil.copytree(run.path, folder)
    assert sc(capsys, folder)[1].count(str(folder)) == 1
