"""Compressing runs and files of weights: what is written, what `sc compress` prints, and that both load again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from stochastic_collapse import cli, load_compressed, train
from stochastic_collapse.collapse import analyze_weights
from stochastic_collapse.compression import compress_weights
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.examples import Normalizer
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.runs import COMPRESSION, RunDirectory
from stochastic_collapse.task import Task
from stochastic_collapse.training import compress_run, compression_curve

Tiny = Callable[..., TrainConfig]


@pytest.fixture
def collapsed(tiny: Tiny) -> tuple[RunDirectory, nn.Module, TrainConfig]:
    """A tiny run, into whose last checkpoint a copy and a zero neuron are written for each layer."""
    config = tiny()
    run = RunDirectory(train(config).directory)
    path = run.checkpoint(40)
    content = torch.load(path, weights_only=True)
    weights = content["model"]
    for layer, following in (("fc1", "fc2"), ("fc2", "fc3")):
        for name in (f"{layer}.weight", f"{layer}.bias"):
            weights[name][1], weights[name][2] = weights[name][0], 0
        weights[f"{following}.weight"][:, 1] = weights[f"{following}.weight"][:, 0]
        weights[f"{following}.weight"][:, 2] = 0
    torch.save(content, path)
    model = build_model(config.model, Task((1, 4, 4), 3))
    model.load_state_dict(weights)
    return run, model, config


def accuracy(model: nn.Module, config: TrainConfig) -> float:
    dataset = load_dataset(config.data)
    images = Normalizer(dataset, torch.device("cpu"), torch.contiguous_format)(dataset.test.inputs)
    return float((model.eval()(images).argmax(1) == dataset.test.targets).float().mean())


def test_a_run_is_compressed_and_measured_on_its_test_set(
    collapsed: tuple[RunDirectory, nn.Module, TrainConfig],
) -> None:
    run, model, config = collapsed
    result = compress_run(run, 0)
    assert list(result.layers["neurons_after"]) == [6, 4]
    assert result.before.accuracy == pytest.approx(accuracy(model, config))
    assert result.after.accuracy == pytest.approx(accuracy(result.model, config))
    loaded = load_compressed(run.compressed(40, 0))
    assert loaded.training
    x = torch.randn(5, 1, 4, 4)
    torch.testing.assert_close(loaded(x), model(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(loaded.eval()(x), result.model(x))
    assert list(analyze_weights(run.compressed(40, 0), "mlp").collapse["neurons"]) == [6, 4]

    row = run.compression().iloc[-1]
    assert (row.step, row.tolerance, row.neurons_before, row.neurons_after) == (40, 0, 14, 10)
    assert row.parameters_after == sum(p.numel() for p in loaded.parameters())
    assert row.accuracy_after == result.after.accuracy


def test_rows_are_added_and_replaced(collapsed: tuple[RunDirectory, nn.Module, TrainConfig]) -> None:
    run, *_ = collapsed
    compress_run(run, 0.1)
    compress_run(run, 0.1, step=15)
    compress_run(run, 0.1)
    assert run.compression()[["step", "tolerance"]].to_numpy().tolist() == [[15, 0.1], [40, 0.1]]
    table = compression_curve(run, [0, 0.1, 0.3])
    assert list(table.columns) == list(COMPRESSION)
    assert list(table["tolerance"]) == [0, 0.1, 0.3]
    assert table["neurons_after"].is_monotonic_decreasing
    assert not run.compressed(40, 0.3).exists()
    before = (run.path / "compression.csv").stat().st_mtime_ns
    assert compression_curve(run, [0, 0.3])["tolerance"].tolist() == [0, 0.3]
    assert (run.path / "compression.csv").stat().st_mtime_ns == before


def test_convolutional_networks(tiny: Tiny) -> None:
    for name in ("vgg16", "resnet18"):
        network = f"model={{name: {name}, width: 0.05}}"
        config = tiny(network, "data.shape=[3,32,32]", "max_steps=1", "batch_size=4")
        run = RunDirectory(train(config).directory)
        result = compress_run(run, 0.9)
        assert result.after.neurons < result.before.neurons
        x = torch.randn(2, 3, 32, 32)
        loaded = load_compressed(run.compressed(1, 0.9))
        torch.testing.assert_close(loaded.eval()(x), result.model.eval()(x))
        assert sum(analyze_weights(run.compressed(1, 0.9), name).collapse["neurons"]) <= result.after.neurons


def test_a_file_of_weights(collapsed: tuple[RunDirectory, nn.Module, TrainConfig], tmp_path: Path) -> None:
    _, model, _ = collapsed
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pt")
    result, path = compress_weights(tmp_path / "mine.pt", "mlp", 0)
    assert path == tmp_path / "mine_compressed.pt"
    assert result.before.accuracy is None
    x = torch.randn(5, 16)
    torch.testing.assert_close(load_compressed(path)(x), model(x), rtol=1e-5, atol=1e-5)
    assert compress_weights(tmp_path / "mine.pt", "mlp", 0, tmp_path / "x" / "y.pt")[1].is_file()
    with pytest.raises(InputError, match="not a network that `sc compress` wrote"):
        load_compressed(tmp_path / "mine.pt")
    with pytest.raises(InputError, match="no such file"):
        load_compressed(tmp_path / "none.pt")


def sc(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command(
    collapsed: tuple[RunDirectory, nn.Module, TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model, _ = collapsed
    status, out, err = sc(capsys, "compress", run, "--tolerance", "0")
    assert (status, err) == (0, "")
    assert re.search(r"fc1 .* 8 .* 1 .* 1 .* 6 ", out)
    assert re.search(r"neurons 14 → 10 \(28\.6% fewer\), parameters .* accuracy [\d.]+% → [\d.]+%", out)
    assert out.splitlines()[-1] == str(run.compressed(40, 0))
    status, out, err = sc(capsys, "compress", tmp_path / "runs", "--step", "15", "--json")
    assert status == 0
    (network,) = json.loads(out)["networks"]
    assert network["file"] == str(run.compressed(15, 0.1))
    assert network["neurons_before"] == 14
    assert [layer["layer"] for layer in network["layers"]] == ["fc1", "fc2"]
    torch.save(model.state_dict(), tmp_path / "mine.pt")
    status, out, err = sc(capsys, "compress", "--weights", tmp_path / "mine.pt", "--model", "mlp", "--tolerance", "0")
    assert (status, err) == (0, f"mlp: weights of {tmp_path / 'mine.pt'}\n")
    assert "accuracy" not in out
    assert out.splitlines()[-1] == str(tmp_path / "mine_compressed.pt")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compress"], "give either RUN directories, or --weights FILE"),
        (["compress", "/nowhere"], "/nowhere: no such run directory"),
        (["compress", "RUN", "--step", "7"], "no checkpoint of step 7; there are 15, 30, 40"),
        (["compress", "RUN", "--tolerance", "2"], "2.0 is not in the range 0<=x<=1"),
        (["compress", "RUN", "--out", "x.pt"], "--out goes with --weights"),
        (["compress", "--weights", "x.pt", "--model", "mlp", "--step", "7"], "--step goes with a RUN"),
        (["compress", "--weights", "x.pt", "--model", "mlp"], "x.pt: no such file"),
        (["compress", "--weights", "CHECKPOINT", "--model", "mpl"], "no built-in network 'mpl'"),
        (["compress", "--weights", "CHECKPOINT", "--model", "vgg16"], "these weights are not a vgg16"),
    ],
)
def test_mistakes_exit_2_with_one_clear_line(
    arguments: list[str], says: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(train(tiny()).directory)
    names = {"RUN": str(run), "CHECKPOINT": str(run.checkpoint(40))}
    status, out, err = sc(capsys, *[names.get(a, a) for a in arguments])
    assert (status, out) == (2, "")
    assert says in err
    assert len([line for line in err.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1


def test_a_run_that_trains_is_left_alone(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(train(tiny()).directory)
    with run.lock():
        status, _, err = sc(capsys, "compress", run)
    assert status == 1
    assert "another process is training in this directory" in err
