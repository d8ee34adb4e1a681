"""Files of weights on the command line: `sc analyze`, `sc compress` and `sc report` with --weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stochastic_collapse import cli, train
from stochastic_collapse.config import MLPSettings, TrainConfig
from stochastic_collapse.models import build_model
from stochastic_collapse.runs import COLLAPSE, COMPRESSION, RunDirectory
from stochastic_collapse.task import Task


def sc(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def ckpts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two checkpoints of one training, in the second of which a neuron has vanished."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ckpts"
    folder.mkdir()
    torch.manual_seed(0)
    model = build_model(MLPSettings(name="mlp", widths=(6, 5)), Task((1, 4, 4), 3))
    for step in (10, 200):
        torch.save({"model": model.state_dict(), "step": step}, folder / f"ckpt_{step}.pt")
        with torch.no_grad():
            for name in ("fc1.weight", "fc1.bias"):
                model.get_parameter(name)[2] = 0
            model.get_parameter("fc2.weight")[:, 2] = 0
    return folder


def test_analyze(ckpts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = sc(capsys, "analyze", "--weights", ckpts, "--out", tmp_path / "measured")
    assert status == 0
    assert err.splitlines() == [f"mlp: weights of {ckpts / f'ckpt_{step}.pt'} (model)" for step in (10, 200)]
    assert [line for line in out.splitlines() if line.endswith(".pt")] == [
        str(ckpts / "ckpt_10.pt"),
        str(ckpts / "ckpt_200.pt"),
    ]
    table = pd.read_csv(tmp_path / "measured" / "collapse.csv")
    assert list(table.columns) == list(COLLAPSE)
    assert table[table["layer"] == "fc1"]["vanished"].tolist() == [0, 1]
    assert table["step"].tolist() == [10, 10, 200, 200]
    about = json.loads((tmp_path / "measured" / "weights.json").read_text())
    assert [one["step"] for one in about["weights"]] == [10, 200]
    assert about["network"]["settings"]["name"] == "mlp"
    status, out, _ = sc(capsys, "analyze", "--weights", ckpts, "--steps", "3,4", "--json")
    assert [row["step"] for row in json.loads(out)["collapse"]] == [3, 3, 4, 4]


def test_compress(ckpts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "compress", "--weights", ckpts, "--out", tmp_path / "small", "--json")
    assert status == 0
    networks = json.loads(out)["networks"]
    assert [one["neurons_after"] for one in networks] == [11, 10]
    table = pd.read_csv(tmp_path / "small" / "compression.csv")
    assert list(table.columns) == list(COMPRESSION)
    assert table["step"].tolist() == [10, 200]
    small = tmp_path / "small" / "ckpt_200_compressed.pt"
    assert networks[1]["file"] == str(small)
    status, out, _ = sc(capsys, "analyze", "--weights", small, "--json")
    assert [row["neurons"] for row in json.loads(out)["collapse"]] == [5, 5]


def test_report(ckpts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "report", "--weights", ckpts, "--out", tmp_path / "page.html")
    assert (status, out) == (0, f"{tmp_path / 'page.html'}\n")
    assert "ckpt" in (tmp_path / "page.html").read_text()
    assert sc(capsys, "report", "--weights", ckpts / "ckpt_10.pt")[:2] == (0, "report.html\n")


def test_a_checkpoint_of_a_run_says_what_it_is_of(
    tiny: Callable[..., TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(train(tiny("model={name: vit, patch: 2, dim: 8, depth: 1, heads: 2}")).directory)
    status, out, err = sc(capsys, "analyze", "--weights", run.checkpoint(40), "--json")
    assert (status, err) == (0, f"vit: weights of {run.checkpoint(40)} (model)\n")
    expected: list[dict[str, Any]] = run.collapse().query("step == 40").drop(columns="step").to_dict("records")
    found = [{key: value for key, value in row.items() if key != "step"} for row in json.loads(out)["collapse"]]
    assert found == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyze", "RUN", "--weights", "W"], "give either RUN directories, or --weights FILE"),
        (["analyze", "RUN", "--model", "mlp"], "--model goes with --weights"),
        (["compress", "RUN", "--state", "ema"], "--state goes with --weights"),
        (["report", "RUN", "--input", "3,4,4"], "--input goes with --weights"),
        (["analyze", "--weights", "W", "--attractivity"], "--attractivity needs a RUN"),
        (["analyze", "--weights", "W", "--every-checkpoint"], "--every-checkpoint goes with RUN directories"),
        (["analyze", "--weights", "W", "--arguments", "{a"], "override 'arguments={a': the value is not valid YAML"),
        (["analyze", "--weights", "W", "--arguments", "3"], "expected YAML such as {width: 64}, found '3'"),
        (["analyze", "--weights", "W", "--input", "3,x"], "expected numbers such as 3,32,32, found '3,x'"),
        (["analyze", "--weights", "W", "--steps", "1,2"], "--steps: 2 steps for 1 files of weights"),
        (["analyze", "--weights", "none.pt"], "none.pt: no such file"),
        (["analyze", "--weights", "ckptz"], "ckptz: no such file or folder; did you mean 'ckpts'?"),
        (["compress", "--weights", "BOMB", "--out", "small.pt"], "of class"),
        (["report", "--weights", "W", "--model", "vgg11", "--out", "page.html"], "these weights are not a vgg11"),
        (["compress", "--weights", "W", "--state", "ema"], "state: no 'ema' in "),
    ],
)
def test_mistakes_exit_2_with_one_clear_line_and_leave_nothing(
    arguments: list[str], says: str, ckpts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "bomb.pt")  # a whole module
    before = sorted(tmp_path.rglob("*"))
    names = {"W": str(ckpts / "ckpt_10.pt"), "BOMB": str(tmp_path / "bomb.pt"), "RUN": str(tmp_path)}
    status, out, err = sc(capsys, *[names.get(a, a) for a in arguments])
    assert (status, out) == (2, "")
    assert says in err
    assert len([line for line in err.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1
    assert sorted(tmp_path.rglob("*")) == before
