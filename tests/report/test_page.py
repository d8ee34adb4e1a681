"""The file: self-contained, small, safe whatever names are in it; and the command that writes it."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stochastic_collapse import cli
from stochastic_collapse.config import load_config
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import neuron_layers
from stochastic_collapse.report import collect, write_page, write_report
from stochastic_collapse.report.page import page
from stochastic_collapse.runs import COLLAPSE, METRICS, RunDirectory
from stochastic_collapse.task import Task

from .conftest import MakeRun, compression_table


def test_it_loads_nothing(run: RunDirectory) -> None:
    text = page(collect([run]))
    assert not re.search(r"https?:|\bsrc=|@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\b", text)
    assert "default-src 'none'" in text  # and a browser would refuse


def test_the_summary_is_one_sentence(run: RunDirectory) -> None:
    table = run.metrics()
    table["eval_accuracy"] = 0.9
    run.write_metrics(table)
    lead = re.search(r'<p class="lead">(.*?)</p>', page(collect([run])))
    assert lead
    independent = run.collapse().tail(2)["independent"].sum() / 14
    assert lead[1] == (
        "After 40 steps the test accuracy is <b>90.0%</b> (median of the last five evaluations 90.0%), "
        f"<b>{independent:.0%}</b> of the 14 neurons are independent, and compression at tolerance 0.1 removes "
        "<b>50%</b> of all neurons, which changes the accuracy by <b>−0.4 points</b>."
    )


def test_names_cannot_become_markup(run: RunDirectory) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{data}}&"
    data = collect([run])
    for key in ("label", "path", "name", "settings", "state"):
        data["runs"][0][key] = evil
    data["runs"][0]["notes"] = [evil]
    data["runs"][0]["distances"]["layers"][0]["name"] = evil
    text, clean = page(data), page(collect([run]))
    for opening in ("<script", "<img", "</script"):
        assert text.count(opening) == clean.count(opening)
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert embedded
    assert json.loads(embedded[1])["runs"][0]["label"] == evil


def test_a_page_for_vgg16_with_50_checkpoints_is_below_3_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers at full width, a metrics.csv and a collapse.csv as long as the published runs', and 50 checkpoints.

    These are empty files: reading them is replaced by zeros of the weights' shapes, of which the layers are read, and
    the distances between a layer's n neurons by random (n, n) ones. The page's size does not depend on the values of
    the matrices, only on their number and sides.
    """
    config = load_config("configs/cifar10/vgg16_gelu.yaml")
    weights = {
        k: torch.zeros(v.shape) for k, v in build_model(config.model, Task((3, 32, 32), 10)).state_dict().items()
    }
    layers = neuron_layers("vgg16", weights)
    run = RunDirectory(tmp_path / "run")
    run.write_config(config)
    run.write_status("finished", 100_000, 1e5, versions={"torch": "2"})
    random = np.random.default_rng(0)
    steps = np.arange(100, 100_001, 100)
    run.write_metrics(
        pd.DataFrame(
            {column: random.uniform(size=len(steps)) for column in [*METRICS, "eval_accuracy"]} | {"step": steps}
        )
    )
    rows = [
        [step, layer.name, layer.neurons, 10, 20, 20 / layer.neurons, 50 * random.uniform()]
        for step in range(0, 100_001, 1000)
        for layer in layers
    ]
    run.write_collapse(pd.DataFrame(rows, columns=list(COLLAPSE)))
    run.write_compression(compression_table(100_000))
    run.checkpoint(0).parent.mkdir()
    for step in range(2000, 100_001, 2000):
        run.checkpoint(step).touch()

    @functools.cache
    def distance(n: int) -> torch.Tensor:
        half = torch.from_numpy(random.uniform(0, 2, (n, n)))
        return ((half + half.T) / 2).fill_diagonal_(0)

    measured = "stochastic_collapse.report.measured."
    monkeypatch.setattr(measured + "state_of_checkpoint", lambda path: weights)
    monkeypatch.setattr(measured + "incoming_vectors", lambda weights, layer: torch.empty(layer.neurons, 0))
    monkeypatch.setattr(measured + "outgoing_vectors", lambda weights, layer: torch.empty(layer.neurons, 0))
    monkeypatch.setattr(measured + "normalized_distance", lambda w: distance(len(w)))
    monkeypatch.setattr("stochastic_collapse.report.compressed.TOLERANCES", (0.0, 0.1, 0.5))
    assert len(run.checkpoints()) == 50
    data = collect([run])
    write_page(data, tmp_path / "page.html")
    assert 2_000_000 < (tmp_path / "page.html").stat().st_size < 3_000_000
    distances = data["runs"][0]["distances"]
    assert [layer["name"] for layer in distances["layers"]] == [layer.name for layer in layers]
    assert min(layer["side"] for layer in distances["layers"]) == 64  # of the first layers, which have 64 neurons
    assert max(layer["side"] for layer in distances["layers"]) == 85
    assert len(distances["steps"]) == 16


def test_where_it_is_written(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run(f"optimizer.lr={lr}") for lr in (0.05, 0.01)]
    assert write_report(runs[:1]) == runs[0].path / "report.html"
    assert write_report(runs) == tmp_path / "runs" / "report.html"
    assert write_report(runs, tmp_path / "new" / "page.html").stat().st_size > 10_000


def test_notes_are_reported(run: RunDirectory, tmp_path: Path) -> None:
    run.checkpoint(15).write_bytes(b"half a file")
    lines: list[str] = []
    write_page(collect([run]), tmp_path / "silent.html")
    write_report([run], report=lines.append)
    assert [line.partition(" is left out")[0] for line in lines] == [f"{run}: The checkpoint of step 15"]


def test_the_command(run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(run)]) == 0
    written = run.path / "report.html"
    assert capsys.readouterr() == (f"{written}\n", "")
    assert cli.run(["report", str(run.path.parent), "--json", "--out", str(tmp_path / "r.html")]) == 0
    size = (tmp_path / "r.html").stat().st_size
    assert json.loads(capsys.readouterr().out) == {"report": str(tmp_path / "r.html"), "bytes": size}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["report"], "give either RUN directories, or --weights FILE"),
        (["report", "nowhere"], "nowhere: no such run directory"),
        (["report", "."], "no run here"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
