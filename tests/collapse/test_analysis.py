"""Measuring networks and files: the neurons' vectors, the tables, runs on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from stochastic_collapse import measure_collapse, train
from stochastic_collapse.collapse import analyze_run, analyze_weights
from stochastic_collapse.config import MLPSettings, ResNetSettings, TrainConfig, VGGSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import incoming_vectors, neuron_vectors, outgoing_vectors, trace
from stochastic_collapse.runs import COLLAPSE, RunDirectory
from stochastic_collapse.task import Task

Tiny = Callable[..., TrainConfig]


def test_vectors_are_incoming_bias_outgoing() -> None:
    model = build_model(MLPSettings(name="mlp", widths=(5, 4)), Task((1, 2, 3), 3))
    parameters = dict(model.named_parameters())
    layer = trace(model, torch.zeros(2, 1, 2, 3)).layers[1]
    w = neuron_vectors(parameters, layer)
    expected = torch.cat([parameters["fc2.weight"], parameters["fc2.bias"][:, None], parameters["fc3.weight"].T], dim=1)
    assert torch.equal(w, expected)
    assert torch.equal(incoming_vectors(parameters, layer), expected[:, :6])
    assert torch.equal(outgoing_vectors(parameters, layer), expected[:, 6:])


def test_a_flattened_channel_owns_a_block_of_columns() -> None:
    model = build_model(VGGSettings(name="vgg16", width=0.02), Task((3, 64, 64), 3))  # 2 × 2 pixels at the end
    parameters = dict(model.named_parameters())
    layer = next(one for one in trace(model, torch.zeros(2, 3, 64, 64)).layers if one.name == "conv13")
    w = neuron_vectors(parameters, layer)
    channels = parameters["conv13.weight"].shape[0]
    assert w.shape == (channels, parameters["conv13.weight"][0].numel() + 1 + parameters["fc14.weight"].shape[0] * 4)
    columns = parameters["fc14.weight"].reshape(-1, channels, 4)[:, 2]
    assert sorted(w[2, -columns.numel() :].tolist()) == sorted(columns.flatten().tolist())


def test_a_residual_stream_is_one_layer() -> None:
    model = build_model(ResNetSettings(name="resnet18", width=0.1), Task((3, 32, 32), 10))
    stream = next(layer for layer in trace(model, torch.zeros(2, 3, 32, 32)).layers if layer.name == "layer2.stream")
    assert [part.parameter for part in stream.incoming if part.parameter.endswith("weight")] == [
        "layer2.0.conv2.weight",
        "layer2.0.bn2.weight",
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.weight",
        "layer2.1.conv2.weight",
        "layer2.1.bn2.weight",
    ]
    assert [part.parameter for part in stream.outgoing] == [
        "layer2.1.conv1.weight",
        "layer3.0.conv1.weight",
        "layer3.0.downsample.0.weight",
    ]


def test_planted_collapse_is_found() -> None:
    torch.manual_seed(0)
    model = build_model(MLPSettings(name="mlp", widths=(20, 10)), Task((1, 8, 8), 10))
    first, second = model.get_submodule("fc1"), model.get_submodule("fc2")
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    with torch.no_grad():
        for copy in (3, 7):  # copies of neuron 1
            first.weight[copy], first.bias[copy], second.weight[:, copy] = (
                first.weight[1],
                first.bias[1],
                second.weight[:, 1],
            )
        for gone in (4, 5, 6):
            first.weight[gone], first.bias[gone], second.weight[:, gone] = 0, 0, 0
    table = measure_collapse(model, torch.zeros(2, 1, 8, 8))
    assert list(table.columns) == list(COLLAPSE)
    row = table.iloc[0]
    assert (row.layer, row.neurons, row.vanished, row.independent) == ("fc1", 20, 3, 15)
    assert row.fraction_independent == 15 / 20
    assert row.effective_rank < 15


def test_layers_side_by_side_are_measured_as_one_by_one() -> None:
    torch.manual_seed(0)
    model = build_model(VGGSettings(name="vgg16", width=0.1), Task((3, 32, 32), 10))
    threads = torch.get_num_threads()
    tables = []
    for count in (1, 3):
        torch.set_num_threads(count)
        tables.append(measure_collapse(model, torch.zeros(2, 3, 32, 32)))
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    assert tables[0].equals(tables[1])


def test_runs_on_disk(tiny: Tiny) -> None:
    result = train(tiny())
    run = RunDirectory(result.directory)
    during = run.collapse()
    assert sorted(set(during["step"])) == [0, 20, 40]
    measured = analyze_run(run, "all")
    assert sorted(set(measured["step"])) == [15, 30, 40]
    table = run.collapse()
    assert list(table["step"]) == sorted([0, 0, 15, 15, 20, 20, 30, 30, 40, 40])
    # what training measured and what its checkpoint gives are the same
    assert table[table["step"] == 40].to_dict("records") == during[during["step"] == 40].to_dict("records")
    assert analyze_run(run).to_dict("records") == measured[measured["step"] == 40].to_dict("records")
    with pytest.raises(InputError, match="no checkpoint of step 7, 8; there are 15, 30, 40"):
        analyze_run(run, [8, 15, 7])
    file = analyze_weights(run.checkpoint(40), "mlp")
    assert file.collapse.drop(columns="step").to_dict("records") == result.collapse.drop(columns="step").to_dict(
        "records"
    )


def test_a_run_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint to analyze"):
        analyze_run(RunDirectory(tmp_path / "run"))
