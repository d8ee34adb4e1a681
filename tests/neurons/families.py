"""Networks that nobody here wrote: classifier families of timm and transformers at tiny sizes, with random weights.

They are built from their configurations, without network and without weights. `NETWORKS` has a builder for each;
timm, torchvision and transformers are imported only when one is called.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stochastic_collapse.compression import Compression, compress
from stochastic_collapse.neurons import ExampleInput, NeuronLayer, Neurons, trace

from .. import torchvision_operators

CLASSES = 5
_SEED = 0


@torch.no_grad()
def plant(model: nn.Module, layers: Sequence[NeuronLayer]) -> None:
    """In each block of each layer neuron 1 becomes equal to neuron 0, and neuron 2, if there is one, vanishes."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for tensor in model.parameters():  # nothing else may be zero or equal
        scale = max(1, tensor[0].numel()) ** -0.5 if tensor.ndim > 1 else 0.3
        tensor.copy_(torch.randn_like(tensor) * scale + (tensor.ndim < 2))
    for layer in layers:
        each = layer.neurons // layer.blocks
        for part in (*layer.parts, *layer.statistics):
            view = part.view(tensors[part.parameter])
            vectors = part.vectors(tensors[part.parameter]).clone().unflatten(0, (layer.blocks, each))
            vectors[:, 1] = vectors[:, 0]
            vectors[:, 2:3] = 0
            view.copy_(vectors.reshape(view.shape))


def left_by_planting(layer: NeuronLayer) -> int:
    """Neurons of a layer that stay after what is planted in it is compressed."""
    each = layer.neurons // layer.blocks
    return layer.blocks * (each - min(2, each - 1))


@dataclass(frozen=True)
class Examined:
    """A network, what tracing found in it, and what compressing made of what was planted there."""

    model: nn.Module
    example: ExampleInput
    neurons: Neurons
    planted: nn.Module
    compression: Compression


@functools.cache
def examine(name: str) -> Examined:
    model, example = NETWORKS[name]()
    neurons = trace(model, example)
    planted, _ = NETWORKS[name]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED + 1)
        plant(planted, neurons.layers)
    return Examined(model, example, neurons, planted, compress(planted, example, 0.0))


@dataclass(frozen=True)
class Network:
    """A network, what it is called with, and the library that it is of."""

    library: str
    build: Callable[[], nn.Module]
    example: Callable[[], Tensor | Mapping[str, Tensor]]

    @property
    def missing(self) -> str | None:
        """The library that it needs and that is not installed here."""
        needed = (self.library, "torchvision") if self.library == "timm" else (self.library,)
        return next((name for name in needed if importlib.util.find_spec(name) is None), None)

    def __call__(self) -> tuple[nn.Module, Tensor | Mapping[str, Tensor]]:
        """The network in evaluation mode and an example of its input, the same at every call."""
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(_SEED)
            torchvision_operators.declare()  # transformers imports it too, where it is installed
            return self.build().eval(), self.example()


@contextmanager
def _quiet() -> Iterator[None]:
    """Both libraries warn of what does not matter here, at import and when they build networks without weights."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _timm(module: str, size: int, build: Callable[[Any], nn.Module]) -> Network:
    """A network for images of `size` pixels that `build` makes of a module of timm.models."""

    def builder() -> nn.Module:
        return build(importlib.import_module(f"timm.models.{module}"))

    return Network("timm", builder, lambda: torch.randn(2, 3, size, size))


def _transformers(config: str, model: str, inputs: Callable[[], Mapping[str, Tensor]], **arguments: Any) -> Network:
    def build() -> nn.Module:
        import transformers

        built: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**arguments))
        return built

    return Network("transformers", build, inputs)


def _tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(0, 50, (2, 7))}


_DECODER = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 16,
}  # fmt: skip
_ENCODER = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 16, "num_labels": CLASSES,
}  # fmt: skip
_VGG = {"cfg": (6, "M", 8, "M", 10, "M", 12, "M", 14, "M"), "mlp_ratio": 0.01, "num_classes": CLASSES}
_RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 12, 16, 20), "stem_width": 8, "num_classes": CLASSES}
_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": CLASSES}
_MIXER = {"img_size": 32, "patch_size": 8, "num_blocks": 2, "embed_dim": 24, "num_classes": CLASSES}

NETWORKS: dict[str, Network] = {
    "ResNet": _timm("resnet", 64, lambda m: m.ResNet(m.BasicBlock, **_RESNET)),
    "ResNet, bottlenecks": _timm("resnet", 64, lambda m: m.ResNet(m.Bottleneck, **_RESNET)),
    "ResNeXt": _timm("resnet", 64, lambda m: m.ResNet(m.Bottleneck, cardinality=4, base_width=32, **_RESNET)),
    "VGG": _timm("vgg", 32, lambda m: m.VGG(**_VGG)),
    "VGG, batch norm": _timm("vgg", 32, lambda m: m.VGG(norm_layer=nn.BatchNorm2d, **_VGG)),
    "DenseNet": _timm("densenet", 64, lambda m: m.DenseNet(growth_rate=4, block_config=(2, 2, 2), num_classes=CLASSES)),
    "MobileNetV3": _timm("mobilenetv3", 64, lambda m: m._gen_mobilenet_v3(
        "mobilenetv3_small_100", channel_multiplier=0.25, num_classes=CLASSES)),
    "EfficientNet": _timm("efficientnet", 64, lambda m: m._gen_efficientnet(
        "efficientnet_b0", channel_multiplier=0.25, depth_multiplier=0.3, num_classes=CLASSES)),
    "RegNet": _timm("regnet", 64, lambda m: m.RegNet(
        m.RegNetCfg(depth=8, w0=8, wa=4.0, wm=1.5, group_size=4, se_ratio=0.25, stem_width=8), num_classes=CLASSES)),
    "ConvNeXt": _timm("convnext", 64, lambda m: m.ConvNeXt(
        depths=(1, 1, 2, 1), dims=(8, 12, 16, 20), num_classes=CLASSES)),
    "EdgeNeXt": _timm("edgenext", 64, lambda m: m.EdgeNeXt(
        dims=(8, 16, 24, 32), depths=(1, 2, 2, 2), heads=(4, 4, 4, 4), num_classes=CLASSES)),
    "ViT": _timm("vision_transformer", 32, lambda m: m.VisionTransformer(**_VIT)),
    "DeiT": _timm("deit", 32, lambda m: m.VisionTransformerDistilled(**_VIT)),
    "Swin": _timm("swin_transformer", 32, lambda m: m.SwinTransformer(
        img_size=32, window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 4), num_classes=CLASSES)),
    "MLP-Mixer": _timm("mlp_mixer", 32, lambda m: m.MlpMixer(**_MIXER)),
    "ResMLP": _timm("mlp_mixer", 32, lambda m: m.MlpMixer(
        block_layer=m.ResBlock, norm_layer=m.Affine, mlp_ratio=4, **_MIXER)),
    "gMLP": _timm("mlp_mixer", 32, lambda m: m.MlpMixer(
        block_layer=m.SpatialGatingBlock, mlp_layer=m.GatedMlp, mlp_ratio=6, **_MIXER)),
    "GPT-2": _transformers("GPT2Config", "GPT2LMHeadModel", _tokens, vocab_size=61, n_positions=16, n_embd=24,
                           n_layer=2, n_head=4),
    "GPT-2, classifier": _transformers("GPT2Config", "GPT2ForSequenceClassification", _tokens, vocab_size=61,
                                       n_positions=16, n_embd=24, n_layer=2, n_head=4, num_labels=CLASSES,
                                       pad_token_id=0),
    "BERT": _transformers("BertConfig", "BertForSequenceClassification", _tokens, **_ENCODER),
    "DistilBERT": _transformers("DistilBertConfig", "DistilBertForSequenceClassification", _tokens, vocab_size=61,
                                dim=24, hidden_dim=40, n_layers=2, n_heads=4, max_position_embeddings=16,
                                num_labels=CLASSES),
    "T5 encoder": _transformers("T5Config", "T5ForTokenClassification", _tokens, vocab_size=61, d_model=24, d_kv=6,
                                d_ff=40, num_layers=2, num_heads=4, num_labels=CLASSES),
    "LLaMA": _transformers("LlamaConfig", "LlamaForCausalLM", _tokens, **_DECODER),
    "Qwen3": _transformers("Qwen3Config", "Qwen3ForCausalLM", _tokens, head_dim=6, **_DECODER),
}  # fmt: skip
