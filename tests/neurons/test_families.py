"""Tracing and compressing networks that nobody here wrote, at tiny sizes: see `families`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stochastic_collapse.neurons.graph import arguments, outputs

from .families import NETWORKS, Examined, examine, left_by_planting
from .network_table import with_table

# By hand, of each network's architecture: how many layers there are, and the fraction of weights in them.
LAYERS = {
    "ResNet": 9,  # 4 stages of one block: its inside and its stream, and the stem
    "ResNet, bottlenecks": 13,  # 4 × (2 inside, stream) and the stem
    "ResNeXt": 13,
    "VGG": 7,  # 5 convolutions, 2 linear layers
    "VGG, batch norm": 7,
    "DenseNet": 15,  # stem, 3 blocks × 2 layers × (bottleneck, new features), 2 transitions
    "MobileNetV3": 26,  # stem, first block (squeeze, out), 2 + 8 × 2 inside, 3 streams, 2 convolutions at the end
    "EfficientNet": 23,  # stem with the first block (stream, squeeze), 7 × (inside, squeeze), 6 streams, the last
    "RegNet": 29,  # 8 blocks × (2 inside, squeeze), 4 streams and the stem
    "ConvNeXt": 9,  # 5 inner layers and 4 streams
    "EdgeNeXt": 17,  # 7 inner layers, 3 attentions, 4 streams, 3 of which have a part of their own beside
    "ViT": 5,  # 2 × (heads, inner layer) and the stream
    "DeiT": 5,
    "Swin": 10,  # 4 × (heads, inner layer) and 2 streams
    "MLP-Mixer": 5,  # 2 × (tokens' inner layer, channels' inner layer) and the stream
    "ResMLP": 3,  # 2 inner layers and the stream
    "gMLP": 3,
    "GPT-2": 5,
    "GPT-2, classifier": 5,
    "BERT": 6,  # 2 × (heads, inner layer), the stream, and the pooler
    "DistilBERT": 6,
    "T5 encoder": 4,  # its heads share the table of positions: one layer for both blocks; 2 inner layers, the stream
    "LLaMA": 5,
    "Qwen3": 5,
}
COVERAGE = {"ResMLP": 0.9651606, "gMLP": 0.9671963}  # of all others 1; their layers over places are in an order

# Layers that stay larger than what is planted in them allows, with what they keep of their neurons and what is said.
STAYING = {
    ("EdgeNeXt", "stages.1.blocks.1.xca.heads"): (4, "do not fit"),
    ("EdgeNeXt", "stages.2.blocks.1.xca.heads"): (4, "do not fit"),
    ("EdgeNeXt", "stages.3.blocks.1.xca.heads"): (4, "do not fit"),
    **{("EdgeNeXt", f"stages.{k}.stream{more}"): (8, "do not fit") for k in (1, 2, 3) for more in ("", "-2")},
    ("MLP-Mixer", "blocks.stream"): (23, "its vanished neurons stay: the smaller network's output differs"),
    ("GPT-2", "transformer.stream"): (23, "its redundant neurons stay: transformer.wte.weight makes them and reads"),
    ("T5 encoder", "transformer.stream"): (24, "layer_norm goes over its neurons, and depends on how many"),
    ("LLaMA", "model.stream"): (24, "input_layernorm goes over its neurons, and depends on how many"),
    ("Qwen3", "model.stream"): (24, "input_layernorm goes over its neurons, and depends on how many"),
}


def examined(name: str) -> Examined:
    if (missing := NETWORKS[name].missing) is not None:
        pytest.skip(f"{missing} is not installed: see tests/requirements-networks.txt")
    return examine(name)


def test_every_network_is_written_down() -> None:
    assert set(LAYERS) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_layers_are_found_and_symmetric(name: str) -> None:
    model, neurons = examined(name).model, examined(name).neurons
    assert [one for one in neurons.skipped if one.what.startswith("layer ")] == []
    assert len(neurons.layers) == LAYERS[name]
    assert len({layer.name for layer in neurons.layers}) == LAYERS[name]
    assert neurons.coverage(model) == pytest.approx(COVERAGE.get(name, 1), abs=1e-6)
    assert neurons.coverage(model) > 0.9


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_planted_is_compressed_and_the_outputs_stay(name: str) -> None:
    of = examined(name)
    result = of.compression
    reasons = {one.what: one.reason for one in result.skipped}
    for layer, kept in zip(of.neurons.layers, result.layers["neurons_after"], strict=True):
        if (name, layer.name) in STAYING:
            expected, reason = STAYING[name, layer.name]
            assert kept == expected
            assert reason in reasons.pop(layer.name)
        else:
            assert kept == left_by_planting(layer), layer.name
    assert reasons == {}
    args, kwargs = arguments(of.example)
    with torch.no_grad():
        largest = max(float(one.abs().max()) for one in outputs(of.planted(*args, **kwargs)))
    assert result.largest_change < 1e-5 * largest
    assert result.after.parameters < result.before.parameters


def test_the_table_in_the_docs_is_what_the_tool_writes_now() -> None:
    for name in NETWORKS:
        examined(name)
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    assert with_table(page) == page
