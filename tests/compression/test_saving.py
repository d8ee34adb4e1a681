"""Files of compressed networks: what is read from them is what was written, for every kind of network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse import load_compressed
from stochastic_collapse.collapse import analyze_weights
from stochastic_collapse.compression import compress_files, compress_weights
from stochastic_collapse.compression.saving import save_compressed
from stochastic_collapse.config import GPTSettings, MLPSettings, ResNetSettings, ViTSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.networks.compressed import opened
from stochastic_collapse.neurons import trace
from stochastic_collapse.neurons.graph import arguments, outputs
from stochastic_collapse.task import Task
from stochastic_collapse.weights.files import load_file

SMALL, IMAGES = Task((1, 8, 8), 3), Task((3, 32, 32), 4)
TOKENS = Task((6,), 11, "next_token", vocabulary=11)
TIMM = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 4}


def built_in(settings: Any, task: Task, **how: Any) -> tuple[nn.Module, Any, str, dict[str, Any]]:
    return build_model(settings, task), task.example(), settings.name, how


def of_timm() -> tuple[nn.Module, Any, str, dict[str, Any]]:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, **TIMM)
    return (
        model,
        torch.zeros(2, 3, 32, 32),
        "timm:vit_tiny_patch16_224",
        {"arguments": TIMM, "input_shape": (3, 32, 32)},
    )


def of_transformers() -> tuple[nn.Module, Any, str, dict[str, Any]]:
    transformers = pytest.importorskip("transformers")
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 11, "n_positions": 12}
    config = transformers.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)
    return transformers.GPT2LMHeadModel(config).eval(), torch.zeros(2, 8, dtype=torch.int64), "", {}


KINDS: dict[str, Callable[[], tuple[nn.Module, Any, str, dict[str, Any]]]] = {
    "mlp": lambda: built_in(MLPSettings(name="mlp", widths=(9, 7)), SMALL),
    "resnet": lambda: built_in(ResNetSettings(name="resnet18", width=0.05), IMAGES),
    "vit": lambda: built_in(ViTSettings(name="vit", dim=12, depth=2, heads=4), SMALL, arguments={"heads": 4}),
    "gpt": lambda: built_in(GPTSettings(name="gpt", dim=12, depth=2, heads=4), TOKENS, arguments={"heads": 4}),
    "timm": of_timm,
    "transformers": of_transformers,
}


def collapsed(model: nn.Module, example: Any, layers: str = "") -> None:
    """Make neuron 1 of every layer that is so called a copy of neuron 0."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for layer in trace(model, example).layers:
            for part in layer.parts if layers in layer.name else ():
                vectors = part.vectors(parameters[part.parameter]).clone()
                vectors[1] = vectors[0]
                view = part.view(parameters[part.parameter])
                view.copy_(vectors.reshape(view.shape))


def called(model: nn.Module, example: Any) -> Tensor:
    args, kwargs = arguments(example)
    with torch.no_grad():
        return outputs(model.eval()(*args, **kwargs))[0]


def written(model: nn.Module, name: str, folder: Path) -> tuple[Path, str | None]:
    """Where weights lie, and what --model has to say."""
    if not name:
        model.save_pretrained(folder / "w")  # type: ignore[operator]
        return folder / "w", None
    torch.save(model.state_dict(), folder / "w.pt")
    return folder / "w.pt", name


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_written(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, example, name, how = KINDS[kind]()
    collapsed(model, example)
    weights, reference = written(model, name, tmp_path)
    result, path = compress_weights(weights, reference, 0.0, **how)
    assert path == tmp_path / "w_compressed.pt"
    assert result.after.neurons < result.before.neurons
    x = torch.randn_like(example) if example.is_floating_point() else torch.randint(11, example.shape)
    loaded = load_compressed(path)
    torch.testing.assert_close(called(loaded, x), called(result.model, x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(called(loaded, x), called(model, x), rtol=1e-4, atol=1e-4)  # exact collapse
    assert sum(p.numel() for p in loaded.parameters()) == result.after.parameters < result.before.parameters
    measured = analyze_weights(path)
    assert measured.collapse["neurons"].sum() == result.after.neurons
    assert measured.said == [f"{measured.subject.recipe.name}, compressed: {path}"]


@pytest.mark.parametrize("kind", ["mlp", "transformers"])
def test_compressed_networks_are_compressed_again(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, example, name, how = KINDS[kind]()
    collapsed(model, example)
    weights, reference = written(model, name, tmp_path)
    first, path = compress_weights(weights, reference, 0.0, **how)
    smaller, _, recipe = opened(path, load_file(path), None)
    collapsed(smaller, example, layers="fc")
    save_compressed(path, recipe, replace(first, model=smaller), model)
    again, twice = compress_weights(path, None, 0.0)
    assert twice == tmp_path / "w_compressed_compressed.pt"
    assert again.after.neurons < again.before.neurons == first.after.neurons
    x = torch.randn_like(example) if example.is_floating_point() else torch.randint(11, example.shape)
    torch.testing.assert_close(called(load_compressed(twice), x), called(again.model, x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(called(load_compressed(twice), x), called(smaller, x), rtol=1e-4, atol=1e-4)
    assert analyze_weights(twice).collapse["neurons"].sum() == again.after.neurons


def test_a_compressed_network_is_analyzed_by_its_name_too_and_in_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, example, name, how = KINDS["vit"]()
    collapsed(model, example)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    (tmp_path / "small").mkdir()
    result, path = compress_weights(tmp_path / "w.pt", name, 0.0, tmp_path / "small" / "c.pt", **how)
    for measured in (analyze_weights(path), analyze_weights(path, "vit"), analyze_weights(path.parent)):
        assert measured.collapse["neurons"].sum() == result.after.neurons
    with pytest.raises(InputError, match="these weights are not a mlp"):
        analyze_weights(path, "mlp")


def test_a_compressed_network_of_code_that_has_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))\n"
    )
    torch.save(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).state_dict(), tmp_path / "w.pt")
    name = f"python:{tmp_path / 'own.py'}:net"
    _, path = compress_weights(tmp_path / "w.pt", name, 0.5, input_shape=(4,))
    load_compressed(path, name)
    for other in (None, "python:os:system"):
        with pytest.raises(InputError, match=r"its network is made by python:.*own\.py:net, which runs where you name"):
            load_compressed(path, other)
    with (tmp_path / "own.py").open("a") as stream:
        stream.write("# changed\n")
    for read in (load_compressed, analyze_weights):
        with pytest.raises(InputError, match=r"own\.py:net has changed since the network was trained") as caught:
            read(path, name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("with_settings", [True, False])
def test_the_first_format_is_read_and_analyzed(with_settings: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, example, name, _ = KINDS["mlp"]()
    settings = MLPSettings(name="mlp", widths=(11, 8)).model_dump(mode="json")
    network = {"settings": settings, "image_shape": (1, 8, 8), "num_classes": 3} if with_settings else None
    content = {"format": 1, "compressed": {"name": name, "tolerance": 0.1, "network": network}}
    torch.save({**content, "model": model.state_dict()}, tmp_path / "c.pt")
    torch.testing.assert_close(called(load_compressed(tmp_path / "c.pt"), example), called(model, example))
    assert analyze_weights(tmp_path / "c.pt").collapse["neurons"].tolist() == [9, 7]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"format": 9, "compressed": {"a": 1}}, "written by a later version (format 9); update this one"),
        ({"format": 2, "compressed": {"a": 1}}, "not as `sc compress` writes networks, or damaged ('recipe')"),
        ({"format": 1, "compressed": {"a": 1}}, "not as `sc compress` writes networks, or damaged ('network')"),
        ({"compressed": {"recipe": {"settings": {"a": 1}, "task": None, "source": None}}}, "or damaged ('name')"),
    ],
)
def test_what_sc_compress_did_not_write_is_one_line(content: dict[str, Any], says: str, tmp_path: Path) -> None:
    torch.save({**content, "model": {"a": torch.ones(1)}}, tmp_path / "c.pt")
    for read in (load_compressed, analyze_weights):
        with pytest.raises(InputError, match=rf"c.pt: .*{re.escape(says)}") as caught:
            read(tmp_path / "c.pt")
        assert "\n" not in str(caught.value)


def test_files_of_the_same_name_are_not_written_over_each_other(tmp_path: Path) -> None:
    model, _, _, _ = KINDS["mlp"]()
    paths = [tmp_path / folder / "w.pt" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        torch.save(model.state_dict(), path)
    assert [target for _, target, *_ in compress_files(paths)] == [path.with_name("w_compressed.pt") for path in paths]
    with pytest.raises(InputError, match=r"small/w_compressed.pt: several of the compressed networks would be written"):
        compress_files(paths, out=tmp_path / "small", steps=[1, 2])
    assert not (tmp_path / "small").exists()
