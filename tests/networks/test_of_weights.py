"""The network of a file of weights: told by its user, by the file, or by the names of the weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stochastic_collapse import measure_collapse, train
from stochastic_collapse.collapse import analyze_weights
from stochastic_collapse.config import GPTSettings, MLPSettings, ResNetSettings, TrainConfig, VGGSettings, ViTSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.networks import subject_of
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.task import Task

IMAGES, SMALL = Task((3, 32, 32), 7), Task((1, 8, 8), 3)
TOKENS = Task((6,), 11, "next_token", vocabulary=11)
BUILT_IN: dict[str, tuple[Any, Task]] = {
    "mlp": (MLPSettings(name="mlp", widths=(6, 5)), SMALL),
    "vgg11": (VGGSettings(name="vgg11", width=0.05), IMAGES),
    "vgg16": (VGGSettings(name="vgg16", width=0.05, batch_norm=True), IMAGES),
    "resnet18": (ResNetSettings(name="resnet18", width=0.05), IMAGES),
    "resnet50": (ResNetSettings(name="resnet50", width=0.05, stem="imagenet"), IMAGES),
    "vit": (ViTSettings(name="vit", patch=4, dim=8, depth=2, heads=2), SMALL),
    "gpt": (GPTSettings(name="gpt", dim=8, depth=2, heads=2), TOKENS),
}


def network(name: str, seed: int = 0) -> tuple[nn.Module, Any]:
    settings, task = BUILT_IN[name]
    torch.manual_seed(seed)
    return build_model(settings, task), task.example()


def without_step(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(row) for row in table.drop(columns="step").to_dict("records")]


def timm_network(name: str = "resnet18", **arguments: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, **arguments)
    return model


def lightnings(state: Mapping[str, Tensor], **beside: Any) -> dict[str, Any]:
    wrapped = {f"model.{name}": tensor for name, tensor in state.items()}
    return {"state_dict": {**wrapped, "loss.weight": torch.ones(3)}, "pytorch-lightning_version": "2.4", **beside}


def of_parallel(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {"model": {f"module.{name}": tensor for name, tensor in state.items()}}


# --- recognized ---


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize(
    "wrap", [dict, lightnings, lambda state: {"model": {f"module.{k}": v for k, v in state.items()}}]
)
def test_built_in_networks_are_recognized_by_their_weights(
    name: str, wrap: Callable[[Mapping[str, Tensor]], Any], tmp_path: Path
) -> None:
    model, example = network(name)
    torch.save(wrap(model.state_dict()), tmp_path / "weights.pt")
    told: dict[str, Any] = {"arguments": {"heads": 2}} if name in ("vit", "gpt") else {}
    measured = analyze_weights(tmp_path / "weights.pt", **told)
    assert without_step(measured.collapse) == without_step(measure_collapse(model, example))
    assert measured.subject.recipe.name == name


def test_the_checkpoint_of_a_run_is_of_its_network(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    source = "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self, classes):\n"
    source += "        super().__init__(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, classes))\n"
    (tmp_path / "own.py").write_text(source)
    result = train(tiny(f'model={{name: "python:{tmp_path / "own.py"}:Net"}}'))
    run = RunDirectory(result.directory)
    assert without_step(analyze_weights(run.checkpoint(40)).collapse) == without_step(result.collapse)
    (tmp_path / "own.py").write_text(source + "# changed\n")
    with pytest.raises(InputError, match=r"own.py:Net has changed since the network was trained: it was sha256:"):
        analyze_weights(run.checkpoint(40))


@pytest.mark.parametrize(
    ("about", "state", "expected"),
    [
        ({"arch": "resnet18"}, None, 1.0),
        ({"arch": "resnet18"}, "ema", 2.0),
        ({"hyper_parameters": {"model_name": "timm:resnet18"}}, None, 1.0),
        ({"args": {"model": "resnet18"}}, None, 1.0),
    ],
)
def test_what_a_checkpoint_says_of_itself(
    about: dict[str, Any], state: str | None, expected: float, tmp_path: Path
) -> None:
    model = timm_network(num_classes=3, in_chans=1)
    weights = {name: torch.ones_like(t) if name == "fc.bias" else t for name, t in model.state_dict().items()}
    averaged = {name: 2 * t if name == "fc.bias" else t for name, t in weights.items()}
    torch.save({"state_dict": weights, "state_dict_ema": averaged, **about}, tmp_path / "weights.pt")
    subject = subject_of(tmp_path / "weights.pt", state=state, input_shape=(1, 32, 32))
    assert subject.weights()["fc.bias"].tolist() == [expected] * 3


def test_a_folder_of_timm(tmp_path: Path) -> None:
    model = timm_network(num_classes=5, in_chans=2)
    save_file(dict(model.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 5}))
    subject = subject_of(tmp_path)
    assert subject.recipe.name == "timm:resnet18"
    assert subject.recipe.task is not None
    assert (subject.recipe.task.outputs, subject.recipe.task.input_shape) == (5, (2, 224, 224))


@pytest.mark.parametrize("kind", ["Bert", "GPT2", "Llama"])
def test_a_folder_of_transformers(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "vocab_size": 30,
    }
    if kind == "GPT2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30, "n_positions": 20}
    config = getattr(transformers, f"{kind}Config")(**sizes, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    head = {"Bert": "BertModel", "GPT2": "GPT2LMHeadModel", "Llama": "LlamaForCausalLM"}[kind]
    torch.manual_seed(0)
    model = getattr(transformers, head)(config).eval()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    expected = measure_collapse(model, {"input_ids": torch.zeros(2, 8, dtype=torch.int64)})
    assert without_step(analyze_weights(tmp_path).collapse) == without_step(expected)


def test_a_folder_of_torchs_distributed_checkpoints(tmp_path: Path) -> None:
    from torch.distributed import checkpoint

    model, example = network("vit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a single process saves
        content = {"model": model.state_dict()}
        checkpoint.save(content, checkpoint_id=tmp_path / "dcp", no_dist=True)  # type: ignore[attr-defined]
    found = analyze_weights(tmp_path / "dcp", arguments={"heads": 2})
    assert without_step(found.collapse) == without_step(measure_collapse(model, example))


# --- told ---


def test_outputs_and_channels_are_those_of_the_weights(tmp_path: Path) -> None:
    torch.save(lightnings(timm_network(num_classes=5, in_chans=2).state_dict()), tmp_path / "last.ckpt")
    measured = analyze_weights(tmp_path / "last.ckpt", "timm:resnet18", input_shape=(3, 64, 64))
    task = measured.subject.recipe.task
    assert task is not None
    assert (task.outputs, task.input_shape) == (5, (2, 64, 64))
    taken = "prefix model. removed, 1 name outside model. left out"
    assert measured.said == [f"timm:resnet18: weights of {tmp_path / 'last.ckpt'} (state_dict), {taken}"]


def test_arguments_are_handed_over(tmp_path: Path) -> None:
    arguments = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = timm_network("vit_tiny_patch16_224", num_classes=4, **arguments)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    given: dict[str, Any] = {"arguments": arguments, "input_shape": (3, 16, 16)}
    measured = analyze_weights(tmp_path / "w.pt", "timm:vit_tiny_patch16_224", **given)
    assert without_step(measured.collapse) == without_step(measure_collapse(model, torch.zeros(2, 3, 16, 16)))


def test_tokens_of_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef net(vocab_size):\n"
        "    return nn.Sequential(nn.Embedding(vocab_size, 6), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, vocab_size))\n"
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(13, 6), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 13))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    measured = analyze_weights(tmp_path / "w.pt", f"python:{tmp_path / 'own.py'}:net", vocabulary=13)
    expected = measure_collapse(model, torch.zeros(2, 16, dtype=torch.int64))
    assert without_step(measured.collapse) == without_step(expected)


# --- a training ---


def test_files_of_a_training_are_its_steps(tmp_path: Path) -> None:
    (tmp_path / "ckpts").mkdir()
    tables = []
    for step, seed in ((1000, 1), (200, 2)):
        model, example = network("mlp", seed)
        with torch.no_grad():
            model.get_parameter("fc1.weight")[: step // 200] = 0
            model.get_parameter("fc1.bias")[: step // 200] = 0
        save_file(dict(model.state_dict()), tmp_path / "ckpts" / f"ckpt_{step}.safetensors")
        tables.append(measure_collapse(model, example).assign(step=step))
    measured = analyze_weights(tmp_path / "ckpts")
    assert measured.collapse.to_dict("records") == pd.concat(tables[::-1]).to_dict("records")
    assert [path.name for path in measured.files.values()] == ["ckpt_200.safetensors", "ckpt_1000.safetensors"]
    given = [tmp_path / "ckpts" / f"ckpt_{step}.safetensors" for step in (200, 1000)]
    assert list(analyze_weights(given, steps=[7, 3]).files) == [3, 7]


# --- mistakes ---


@pytest.mark.parametrize(
    ("reference", "given", "message"),
    [
        ("vgg16", {}, "these weights are not a vgg16: no 'conv1.weight' among fc1.weight"),
        ("timm:resnet81", {}, "timm has no 'resnet81'; the nearest names are resnet18"),
        ("resnet81", {}, "no built-in network 'resnet81'; did you mean 'resnet18'"),
        ("timm:resnet18", {}, r"does not fit the network timm:resnet18: it has fc1.weight \(6, 64\), fc1.bias"),
        ("mlp", {"arguments": {"a": 1}}, "model.arguments: mlp takes none, found a"),
        ("mlp", {"state": "ema"}, "state: no 'ema' in .*; there are the file itself"),
        ("python:none.py:net", {}, "no file none.py"),
    ],
)
def test_what_does_not_fit_is_one_line(reference: str, given: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(network("mlp")[0].state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=message) as caught:
        subject_of(tmp_path / "w.pt", reference, **given)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_tell_is_asked_about(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        InputError, match=r"w.pt: does not say which network its weights are of \(weight, bias, …\); name"
    ):
        subject_of(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["vit", "gpt"])
def test_how_many_heads_there_are_has_to_be_said(name: str, tmp_path: Path) -> None:
    torch.save(network(name)[0].state_dict(), tmp_path / "w.pt")
    for reference in (None, name):
        with pytest.raises(InputError, match=rf"w.pt: the weights of a {name} do not tell its heads; say it by --arg"):
            subject_of(tmp_path / "w.pt", reference)
    with pytest.raises(InputError, match="heads: expected a divisor of 8, found 3"):
        subject_of(tmp_path / "w.pt", name, arguments={"heads": 3})


def test_another_network_among_the_files_of_a_training(tmp_path: Path) -> None:
    for step, name in ((1, "mlp"), (2, "resnet18")):
        torch.save(network(name)[0].state_dict(), tmp_path / f"step_{step}.pt")
    with pytest.raises(InputError, match=r"step_2.pt does not fit the network mlp: it has conv1.*; the network has f"):
        analyze_weights([tmp_path / "step_1.pt", tmp_path / "step_2.pt"])
