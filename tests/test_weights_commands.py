"""Files of weights on the command line: `sc analyze`, `sc compress` and `sc report` with --weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stochastic_collapse import cli, load_compressed, train
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
    shown = json.loads(out)
    assert [row["step"] for row in shown["collapse"]] == [3, 3, 4, 4]
    assert list(shown["collapse"][0]) == list(COLLAPSE)
    assert [one["file"] for one in shown["weights"]] == [str(ckpts / f"ckpt_{step}.pt") for step in (10, 200)]
    assert shown["model"] == "mlp"


def test_the_table_of_one_file(ckpts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = sc(capsys, "analyze", "--weights", "ckpts/ckpt_200.pt")
    assert (status, err) == (0, "mlp: weights of ckpts/ckpt_200.pt (model)\n")
    assert out.splitlines()[0] == "ckpts/ckpt_200.pt"
    assert re.search(r"fc1 .* 200 .* 6 .* 1 ", out)
    assert re.search(r"fc2 .* 200 .* 5 .* 0 ", out)


def test_json_is_json_where_all_neurons_have_vanished(ckpts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.load(ckpts / "ckpt_10.pt", weights_only=True)["model"]
    torch.save({name: torch.zeros_like(tensor) for name, tensor in state.items()}, "zeros.pt")
    for command in ("analyze", "compress", "report"):
        status, out, _ = sc(capsys, command, "--weights", "zeros.pt", "--json")
        assert status == 0
        assert "NaN" not in out
        assert json.loads(out)


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


def test_what_compress_prints_and_writes_beside_the_file(ckpts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = sc(capsys, "compress", "--weights", "ckpts/ckpt_200.pt", "--tolerance", "0")
    assert (status, err) == (0, "mlp: weights of ckpts/ckpt_200.pt (model)\n")
    assert out.splitlines()[0] == "ckpts/ckpt_200.pt, tolerance 0"
    assert re.search(r"fc1 .* 6 .* 1 .* 0 .* 5 ", out)
    assert "neurons 11 → 10 (9.1% fewer)" in out
    assert "accuracy" not in out
    assert out.splitlines()[-1] == "ckpts/ckpt_200_compressed.pt"
    assert load_compressed("ckpts/ckpt_200_compressed.pt")(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    status, _, err = sc(capsys, "analyze", "--weights", "ckpts/ckpt_200_compressed.pt")
    assert (status, err) == (0, "mlp, compressed: ckpts/ckpt_200_compressed.pt\n")
    assert sc(capsys, "compress", "--weights", "ckpts/ckpt_200.pt", "--out", "a/b.pt")[1].endswith("\na/b.pt\n")


def test_a_folder_is_compressed_twice_to_the_same_files(ckpts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        status, out, _ = sc(capsys, "compress", "--weights", ckpts, "--json")
        assert status == 0
        assert [Path(one["file"]).name for one in json.loads(out)["networks"]] == [
            "ckpt_10_compressed.pt",
            "ckpt_200_compressed.pt",
        ]
    assert len([*ckpts.iterdir()]) == 4
    status, out, _ = sc(capsys, "analyze", "--weights", ckpts, "--json")
    assert [one["step"] for one in json.loads(out)["weights"]] == [10, 200]


def test_files_whose_names_tell_no_steps_are_compressed_beside_themselves(
    ckpts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ckpts / "ckpt_10.pt").rename("a.pt")
    (ckpts / "ckpt_200.pt").rename("b.pt")
    status, out, _ = sc(capsys, "compress", "--weights", "a.pt", "--weights", "b.pt", "--json")
    assert status == 0
    assert [one["file"] for one in json.loads(out)["networks"]] == ["a_compressed.pt", "b_compressed.pt"]


def test_the_current_folder_is_compressed_beside_it(
    ckpts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (ckpts / "ckpt_10.pt").unlink()
    monkeypatch.chdir(ckpts)
    status, out, _ = sc(capsys, "compress", "--weights", ".", "--json")
    assert status == 0
    assert json.loads(out)["networks"][0]["file"] == str(ckpts.with_name("ckpts_compressed.pt"))


def test_report(ckpts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "report", "--weights", ckpts, "--out", tmp_path / "page.html")
    assert (status, out) == (0, f"{tmp_path / 'page.html'}\n")
    page = (tmp_path / "page.html").read_text()
    assert str(ckpts / "ckpt_200.pt") in page
    assert "2 files of weights" in page
    assert sc(capsys, "report", "--weights", ckpts / "ckpt_10.pt")[:2] == (0, "report.html\n")
    status, out, _ = sc(capsys, "report", "--weights", ckpts, "--steps", "1,2", "--out", "a/b.html", "--json")
    assert (status, json.loads(out)["report"]) == (0, "a/b.html")
    assert json.loads(out)["bytes"] == Path("a/b.html").stat().st_size
    sc(capsys, "compress", "--weights", ckpts)
    assert sc(capsys, "report", "--weights", ckpts / "ckpt_200_compressed.pt")[:2] == (0, "report.html\n")


def test_a_checkpoint_of_a_run_says_what_it_is_of(
    tiny: Callable[..., TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(train(tiny("model={name: vit, patch: 2, dim: 8, depth: 1, heads: 2}")).directory)
    status, out, err = sc(capsys, "analyze", "--weights", run.checkpoint(40), "--json")
    assert (status, err) == (0, f"vit: weights of {run.checkpoint(40)} (model)\n")
    expected: list[dict[str, Any]] = run.collapse().query("step == 40").drop(columns="step").to_dict("records")
    found = [{key: value for key, value in row.items() if key != "step"} for row in json.loads(out)["collapse"]]
    assert found == expected


OTHER = (
    "other.pt does not fit the network mlp: it has 0.weight (2, 2), 0.bias (2,), 1.weight (2, 2) and 1 more, which the "
    "network lacks; the network has fc1.weight (6, 16), fc1.bias (6,), fc2.weight (5, 6) and 3 more, which it lacks"
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyze", "RUN", "--weights", "W"], "give either RUN directories, or --weights FILE"),
        (["analyze", "RUN", "--model", "mlp"], "--model goes with --weights"),
        (["compress", "RUN", "--state", "ema"], "--state goes with --weights"),
        (["compress", "RUN", "--steps", "3"], "--steps goes with --weights"),
        (["report", "RUN", "--steps", "3"], "--steps goes with --weights"),
        (["report", "RUN", "--input", "3,4,4"], "--input goes with --weights"),
        (["analyze", "--weights", "W", "--attractivity"], "--attractivity needs a RUN"),
        (["analyze", "--weights", "W", "--every-checkpoint"], "--every-checkpoint goes with RUN directories"),
        (["analyze", "--weights", "W", "--arguments", "{a"], "expected YAML such as {width: 64}, found '{a'"),
        (["analyze", "--weights", "W", "--arguments", ""], "expected YAML such as {width: 64}, found ''"),
        (["analyze", "--weights", "W", "--arguments", "3"], "expected YAML such as {width: 64}, found '3'"),
        (["analyze", "--weights", "W", "--input", "3,x"], "expected numbers such as 3,32,32, found '3,x'"),
        (["analyze", "--weights", "W", "--input", ""], "expected numbers such as 3,32,32, found ''"),
        (["analyze", "--weights", "W", "--input", "3,-1,4"], "expected numbers of at least 1, found '3,-1,4'"),
        (["analyze", "--weights", "W", "--vocabulary", "0"], "0 is not in the range x>=1"),
        (["analyze", "--weights", "W", "--steps", "x"], "expected numbers such as 1000,2000, found 'x'"),
        (["analyze", "RUN", "--arguments", "{a: 1}"], "--arguments goes with --weights"),
        (["compress", "RUN", "--vocabulary", "3"], "--vocabulary goes with --weights"),
        (["compress", "--weights", "W", "--step", "3"], "--step goes with a RUN"),
        (["analyze", "RUN", "--out", "measured"], "--out goes with --weights"),
        (["analyze", "--weights", "W", "--out", "W"], "is a file"),
        (["analyze", "--weights", "W", "--steps", "1,2"], "--steps: 2 steps for 1 files of weights"),
        (["analyze", "--weights", "none.pt"], "none.pt: no such file"),
        (["analyze", "--weights", "ckptz"], "ckptz: no such file or folder; did you mean 'ckpts'?"),
        (["analyze", "--weights", "BOMB", "--out", "measured"], "a whole network was pickled, of class torch.nn"),
        (["compress", "--weights", "BOMB", "--out", "small.pt"], "a whole network was pickled, of class torch.nn"),
        (["report", "--weights", "BOMB", "--out", "page.html"], "a whole network was pickled, of class torch.nn"),
        (
            ["analyze", "--weights", "OTHER"],
            "does not say which network its weights are of (0.weight, 0.bias, 1.weight, …)",
        ),
        (["analyze", "--weights", "W", "--weights", "OTHER", "--steps", "1,2", "--out", "measured"], OTHER),
        (["compress", "--weights", "W", "--model", "timm:", "--out", "small.pt"], "model.name: no network 'timm:'"),
        (["compress", "--weights", "W", "--weights", "OTHER", "--out", "small"], "name them with --steps"),
        (["report", "--weights", "W", "--model", "vgg11", "--out", "page.html"], "these weights are not a vgg11"),
        (["compress", "--weights", "W", "--state", "ema"], "state: no 'ema' in "),
    ],
)
def test_mistakes_exit_2_with_one_clear_line_and_leave_nothing(
    arguments: list[str], says: str, ckpts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "bomb.pt")  # a whole module
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).state_dict(), tmp_path / "other.pt")
    before = sorted(tmp_path.rglob("*"))
    names = {"W": str(ckpts / "ckpt_10.pt"), "RUN": str(tmp_path)}
    names |= {name: str(tmp_path / f"{name.lower()}.pt") for name in ("BOMB", "OTHER")}
    status, out, err = sc(capsys, *[names.get(a, a) for a in arguments])
    assert (status, out) == (2, "")
    assert says in err
    assert len([line for line in err.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_run_has_measured_is_not_written_over(
    tiny: Callable[..., TrainConfig], ckpts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(train(tiny()).directory)
    before = (run.path / "collapse.csv").read_bytes()
    for command in ("analyze", "compress"):
        status, _, err = sc(capsys, command, "--weights", ckpts, "--out", run.path)
        assert status == 2
        assert f"{run.path}: a run's directory" in err
    assert (run.path / "collapse.csv").read_bytes() == before
    assert not [*run.path.glob("*_compressed.pt")]
