"""Files of compressed networks: what is read from them is what was written, for every kind of network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse import load_compressed
from stochastic_collapse.collapse import analyze_weights
from stochastic_collapse.compression import compress_weights
from stochastic_collapse.config import GPTSettings, MLPSettings, ResNetSettings, ViTSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import trace
from stochastic_collapse.neurons.graph import arguments, outputs
from stochastic_collapse.task import Task

SMALL, IMAGES = Task((1, 8, 8), 3), Task((3, 32, 32), 4)
TOKENS = Task((6,), 11, "next_token", vocabulary=11)
TIMM = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 4}


def built_in(settings: Any, task: Task, **how: Any) -> tuple[nn.Module, Any, str, dict[str, Any]]:
    return build_model(settings, task), task.example(), settings.name, how


def of_timm() -> tuple[nn.Module, Any, str, dict[str, Any]]:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, **TIMM)
    return (
        model,
        torch.zeros(2, 3, 16, 16),
        "timm:vit_tiny_patch16_224",
        {"arguments": TIMM, "input_shape": (3, 16, 16)},
    )


KINDS: dict[str, Callable[[], tuple[nn.Module, Any, str, dict[str, Any]]]] = {
    "mlp": lambda: built_in(MLPSettings(name="mlp", widths=(9, 7)), SMALL),
    "resnet": lambda: built_in(ResNetSettings(name="resnet18", width=0.1), IMAGES),
    "vit": lambda: built_in(ViTSettings(name="vit", dim=12, depth=2, heads=3), SMALL, arguments={"heads": 3}),
    "gpt": lambda: built_in(GPTSettings(name="gpt", dim=12, depth=2, heads=3), TOKENS, arguments={"heads": 3}),
    "timm": of_timm,
}


def collapsed(model: nn.Module, example: Any) -> None:
    """Make neuron 1 of every layer a copy of neuron 0."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for layer in trace(model, example).layers:
            for part in layer.parts:
                vectors = part.vectors(parameters[part.parameter]).clone()
                vectors[1] = vectors[0]
                view = part.view(parameters[part.parameter])
                view.copy_(vectors.reshape(view.shape))


def called(model: nn.Module, example: Any) -> Tensor:
    args, kwargs = arguments(example)
    with torch.no_grad():
        return outputs(model.eval()(*args, **kwargs))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_written(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, example, name, how = KINDS[kind]()
    collapsed(model, example)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    result, path = compress_weights(tmp_path / "w.pt", name, 0.0, **how)
    assert path == tmp_path / "w_compressed.pt"
    assert result.after.neurons < result.before.neurons
    x = torch.randn_like(example) if example.is_floating_point() else torch.randint(11, example.shape)
    loaded = load_compressed(path)
    torch.testing.assert_close(called(loaded, x), called(result.model, x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(called(loaded, x), called(model, x), rtol=1e-4, atol=1e-4)  # exact collapse
    assert sum(p.numel() for p in loaded.parameters()) == result.after.parameters < result.before.parameters
    measured = analyze_weights(path)
    assert measured.collapse["neurons"].sum() == result.after.neurons


def test_a_compressed_network_of_code_that_has_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))\n"
    )
    torch.save(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).state_dict(), tmp_path / "w.pt")
    _, path = compress_weights(tmp_path / "w.pt", f"python:{tmp_path / 'own.py'}:net", 0.5, input_shape=(4,))
    load_compressed(path)
    with (tmp_path / "own.py").open("a") as stream:
        stream.write("# changed\n")
    for read in (load_compressed, analyze_weights):
        with pytest.raises(InputError, match=r"own\.py:net has changed since the network was trained") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_later_format_is_told(tmp_path: Path) -> None:
    torch.save({"format": 9, "compressed": {}, "model": {"a": torch.ones(1)}}, tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"c.pt: written by a later version \(format 9\); update this one"):
        load_compressed(tmp_path / "c.pt")
