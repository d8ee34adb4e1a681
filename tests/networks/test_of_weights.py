"""The network of a file of weights: told by its user, by the file, or by the names of the weights."""

from __future__ import annotations

import importlib
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
from stochastic_collapse.compression import compress_weights
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
    "resnet50": (ResNetSettings(name="resnet50", width=0.03, stem="imagenet"), IMAGES),
    "vit": (ViTSettings(name="vit", patch=4, dim=8, depth=2, heads=2), SMALL),
    "gpt": (GPTSettings(name="gpt", dim=8, depth=2, heads=2), TOKENS),
}


def network(name: str, seed: int = 0) -> tuple[nn.Module, Any]:
    settings, task = BUILT_IN[name]
    torch.manual_seed(seed)
    return build_model(settings, task), task.example()


def without_step(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(row) for row in table.drop(columns="step").to_dict("records")]


def timm_network(name: str = "test_resnet", **arguments: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, **arguments)
    return model


TINY_VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


def lightnings(state: Mapping[str, Tensor], **beside: Any) -> dict[str, Any]:
    wrapped = {f"model.{name}": tensor for name, tensor in state.items()}
    return {"state_dict": {**wrapped, "loss.weight": torch.ones(3)}, "pytorch-lightning_version": "2.4", **beside}


def prefixed(prefix: str) -> Callable[[Mapping[str, Tensor]], Any]:
    return lambda state: {"model": {f"{prefix}{name}": tensor for name, tensor in state.items()}}


# --- recognized ---


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        *((name, dict) for name in ("mlp", "vgg16", "resnet18", "vit", "gpt")),
        ("mlp", lightnings),
        ("vgg11", lightnings),
        ("gpt", prefixed("module.")),
        ("vit", prefixed("_orig_mod.")),
        ("mlp", prefixed("module._orig_mod.")),
        ("mlp", prefixed("_fsdp_wrapped_module.")),
    ],
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


def test_networks_of_bottlenecks_are_recognized_by_their_weights(tmp_path: Path) -> None:
    save_file(dict(network("resnet50")[0].state_dict()), tmp_path / "weights.safetensors")
    assert subject_of(tmp_path / "weights.safetensors").recipe.name == "resnet50"


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
        ({"arch": "test_resnet"}, None, 1.0),
        ({"arch": "test_resnet"}, "ema", 2.0),
        ({"hyper_parameters": {"model_name": "timm:test_resnet"}}, None, 1.0),
        ({"args": {"model": "test_resnet"}}, None, 1.0),
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
    assert subject.recipe.name == "timm:test_resnet"
    assert subject.weights()["fc.bias"].tolist() == [expected] * 3


def test_names_are_tried_as_built_in_then_of_torchvision_then_of_timm(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.squeezenet1_1(num_classes=3)
    torch.save({"arch": "squeezenet1_1", "state_dict": model.state_dict()}, tmp_path / "w.pt")
    assert subject_of(tmp_path / "w.pt", input_shape=(3, 32, 32)).recipe.name == "torchvision:squeezenet1_1"
    torch.save({"arch": "resnet18", "state_dict": network("resnet18")[0].state_dict()}, tmp_path / "w.pt")
    assert subject_of(tmp_path / "w.pt").recipe.name == "resnet18"


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    try:
        lightning = importlib.import_module("lightning.pytorch")
    except ImportError:
        lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, arch: str, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = timm.create_model(arch, num_classes=3, in_chans=1)
            self.loss = nn.CrossEntropyLoss(weight=torch.ones(3))

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return self.loss(self.net(batch[0]), torch.zeros(2, dtype=torch.int64))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), self.hparams["lr"])

    module = Module("test_resnet", 0.1)
    data = torch.utils.data.TensorDataset(torch.randn(2, 1, 32, 32))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, **quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one worker
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=2))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    expected = without_step(measure_collapse(module.net, torch.zeros(2, 1, 32, 32)))
    for reference in (None, "timm:test_resnet"):
        measured = analyze_weights(tmp_path / "last.ckpt", reference, input_shape=(1, 32, 32))
        assert without_step(measured.collapse) == expected


def test_a_file_has_no_code_run(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import pathlib\nfrom torch import nn\n\npathlib.Path(__file__).with_name('ran').touch()\n\n\n"
        "def net():\n    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))\n"
    )
    name, weights = f"python:{tmp_path / 'own.py'}:net", tmp_path / "w.pt"
    torch.save({"arch": name, "state_dict": nn.Linear(4, 5).state_dict()}, weights)
    with pytest.raises(InputError, match="does not say which network"):
        subject_of(weights)
    assert not (tmp_path / "ran").exists()
    torch.save(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).state_dict(), weights)
    _, compressed = compress_weights(weights, name, 0.0, input_shape=(4,))
    (tmp_path / "ran").unlink()
    with pytest.raises(InputError, match=r"own\.py:net, which runs where you name it only: --model python:/"):
        subject_of(compressed)
    assert not (tmp_path / "ran").exists()
    assert len(analyze_weights(compressed, name).collapse) == 1


def test_a_folder_of_timm(tmp_path: Path) -> None:
    model = timm_network(num_classes=5, in_chans=2)
    save_file(dict(model.state_dict()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_resnet.r160_in1k", "num_classes": 5}))
    subject = subject_of(tmp_path)
    assert subject.recipe.name == "timm:test_resnet"
    assert subject.recipe.task is not None
    assert (subject.recipe.task.outputs, subject.recipe.task.input_shape) == (5, (2, 160, 160))


@pytest.mark.parametrize("classes", [4, 0])
def test_a_folder_that_timm_wrote_says_how_its_network_was_made(classes: int, tmp_path: Path) -> None:
    model = timm_network("vit_tiny_patch16_224", num_classes=classes, in_chans=1, **TINY_VIT)
    timm = pytest.importorskip("timm")
    made_with = {**TINY_VIT, "num_classes": classes, "in_chans": 1}
    timm.models.save_for_hf(model, tmp_path, model_config={"num_classes": classes}, model_args=made_with)
    measured = analyze_weights(tmp_path)
    assert without_step(measured.collapse) == without_step(measure_collapse(model, torch.zeros(2, 1, 16, 16)))
    assert measured.subject.recipe.task is not None
    assert measured.subject.recipe.task.input_shape == (1, 16, 16)


def of_transformers(kind: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes: dict[str, Any] = {**layers, "vocab_size": 30, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "GPT2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30, "n_positions": 20}
        sizes |= {"bos_token_id": 1, "eos_token_id": 2}
    elif kind == "ViT":
        sizes = {**layers, "image_size": 16, "patch_size": 8}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    heads = {"Bert": "ForMaskedLM", "GPT2": "LMHeadModel", "Llama": "ForCausalLM", "ViT": "ForImageClassification"}
    torch.manual_seed(0)
    model: nn.Module = getattr(transformers, kind + heads[kind])(config).eval()
    return model


def example_of(kind: str) -> dict[str, Tensor]:
    return {"pixel_values": torch.zeros(2, 3, 16, 16)} if kind == "ViT" else {"input_ids": torch.zeros(2, 8).long()}


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("Bert", {"max_shard_size": "20KB"}),
        ("GPT2", {"max_shard_size": "20KB"}),
        ("GPT2", {}),
        ("Llama", {"max_shard_size": "20KB"}),
        ("ViT", {}),  # of which the library writes other names than its networks have
    ],
)
def test_a_folder_of_transformers(kind: str, how: dict[str, Any], tmp_path: Path) -> None:
    model: Any = of_transformers(kind)
    model.save_pretrained(tmp_path, **how)
    assert len([*tmp_path.glob("*.safetensors")]) > 1 if how else (tmp_path / "model.safetensors").is_file()
    measured = analyze_weights(tmp_path)
    assert without_step(measured.collapse) == without_step(measure_collapse(model, example_of(kind)))
    assert measured.subject.recipe.name == f"transformers:{tmp_path}"
    with pytest.raises(InputError, match=r"is made as its config.json says, found hidden_size"):
        analyze_weights(tmp_path, arguments={"hidden_size": 8})


def test_names_of_early_transformers_and_tensors_of_other_heads(tmp_path: Path) -> None:
    model: Any = of_transformers("Bert")
    model.config.architectures = ["BertForMaskedLM"]
    model.config.save_pretrained(tmp_path)
    olds = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    state = {"cls.seq_relationship.weight": torch.ones(2, 16)}
    for name, tensor in model.state_dict().items():
        old = next((name.replace(now, old) for now, old in olds.items() if name.endswith(now)), name)
        state[old] = tensor
    torch.save(state, tmp_path / "pytorch_model.bin")
    measured = analyze_weights(tmp_path)
    assert without_step(measured.collapse) == without_step(measure_collapse(model, example_of("Bert")))
    assert measured.said[0].endswith("1 tensor that are not of it left out")
    del state["bert.encoder.layer.1.output.LayerNorm.gamma"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"the network has bert.encoder.layer.1.output.LayerNorm.weight \(16,\), which it lacks$"
    ):
        analyze_weights(tmp_path)


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
    measured = analyze_weights(tmp_path / "last.ckpt", "timm:test_resnet", input_shape=(3, 64, 64))
    task = measured.subject.recipe.task
    assert task is not None
    assert (task.outputs, task.input_shape) == (5, (2, 64, 64))
    taken = "prefix model. removed, 1 name outside model. left out"
    assert measured.said == [f"timm:test_resnet: weights of {tmp_path / 'last.ckpt'} (state_dict), {taken}"]


def test_arguments_are_handed_over(tmp_path: Path) -> None:
    model = timm_network("vit_tiny_patch16_224", num_classes=4, **TINY_VIT)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    given: dict[str, Any] = {"arguments": TINY_VIT, "input_shape": (3, 16, 16)}
    measured = analyze_weights(tmp_path / "w.pt", "timm:vit_tiny_patch16_224", **given)
    assert without_step(measured.collapse) == without_step(measure_collapse(model, torch.zeros(2, 3, 16, 16)))


def test_outputs_of_torchvisions_networks_are_those_of_the_weights(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.squeezenet1_1(num_classes=6)
    torch.save(prefixed("module.")(model.state_dict()), tmp_path / "w.pt")
    measured = analyze_weights(tmp_path / "w.pt", "torchvision:squeezenet1_1", input_shape=(3, 32, 32))
    assert without_step(measured.collapse) == without_step(measure_collapse(model, torch.zeros(2, 3, 32, 32)))
    assert measured.subject.recipe.task == Task((3, 32, 32), 6)


def test_images_of_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef net(in_channels, num_classes, width=8):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n"
        "                         nn.Linear(width, num_classes))\n"
    )
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    torch.save({"net": model.state_dict(), "ema": nn.Linear(1, 1).state_dict()}, tmp_path / "w.pt")
    reference, given = f"python:{tmp_path / 'own.py'}:net", {"width": 5}
    measured = analyze_weights(tmp_path / "w.pt", reference, arguments=given, input_shape=(3, 8, 8))
    assert without_step(measured.collapse) == without_step(measure_collapse(model, torch.zeros(2, 2, 8, 8)))
    assert measured.subject.recipe.task == Task((2, 8, 8), 4)
    with pytest.raises(InputError, match=r"own.py:net has no such parameter; it takes .*the nearest names are width"):
        subject_of(tmp_path / "w.pt", reference, arguments={"widht": 5})


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


def test_what_was_compressed_beside_the_files_of_a_training_is_left_out(tmp_path: Path) -> None:
    for step in (1, 2):
        torch.save(network("mlp", step)[0].state_dict(), tmp_path / f"ckpt_{step}.pt")
        compress_weights(tmp_path / f"ckpt_{step}.pt", tolerance=0.1 * step)
    measured = analyze_weights(tmp_path)
    assert [path.name for path in measured.files.values()] == ["ckpt_1.pt", "ckpt_2.pt"]


def test_the_compressed_networks_of_a_training_are_each_of_its_own_size(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    for step in (1, 2):
        model, _ = network("mlp")
        with torch.no_grad():
            model.get_parameter("fc1.weight")[:step] = 0
            model.get_parameter("fc1.bias")[:step] = 0
            model.get_parameter("fc2.weight")[:, :step] = 0
        torch.save(model.state_dict(), tmp_path / f"ckpt_{step}.pt")
        compress_weights(tmp_path / f"ckpt_{step}.pt", tolerance=0.0, out=tmp_path / "small" / f"{step}_compressed.pt")
    table = analyze_weights(tmp_path / "small").collapse
    assert table[table["layer"] == "fc1"][["step", "neurons"]].to_numpy().tolist() == [[1, 5], [2, 4]]


def test_checkpoints_of_hugging_faces_trainer_are_its_steps(tmp_path: Path) -> None:
    model: Any = of_transformers("GPT2")
    for step in (20, 5):
        with torch.no_grad():
            model.get_parameter("transformer.h.0.mlp.c_fc.weight").mul_(-1)
        model.save_pretrained(tmp_path / f"checkpoint-{step}")
    measured = analyze_weights(tmp_path)
    assert list(measured.files) == [5, 20]
    assert without_step(measured.collapse[measured.collapse["step"] == 5]) == without_step(
        measure_collapse(model, example_of("GPT2"))
    )


# --- mistakes ---


@pytest.mark.parametrize(
    ("reference", "given", "message"),
    [
        ("vgg16", {}, "these weights are not a vgg16: no 'conv1.weight' among fc1.weight"),
        ("timm:resnet81", {}, "timm has no 'resnet81'; the nearest names are resnet18"),
        ("torchvision:resnet81", {}, "torchvision has no 'resnet81'; the nearest names are resnet18"),
        ("transformers:bort", {}, "neither a folder with a config.json nor a type of transformers; the nearest names"),
        ("resnet81", {}, "no built-in network 'resnet81'; did you mean 'resnet18'"),
        ("tim:resnet18", {}, "model.name: no network 'tim:resnet18'; expected one of mlp, .*python:…$"),
        ("timm:", {}, "model.name: no network 'timm:'; expected one of mlp"),
        ("timm:test_resnet", {}, r"does not fit the network timm:test_resnet: it has fc1.weight \(6, 64\), fc1.bias"),
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


@pytest.mark.parametrize("said", ["MyNet", "mlp", "resnet"])
def test_a_file_that_tells_no_network_that_it_fits_is_asked_about(said: str, tmp_path: Path) -> None:
    torch.save({"arch": said, "state_dict": nn.Linear(3, 4).state_dict()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=rf"w.pt says that it is of '{said}', and .*; name its network by --model$"):
        subject_of(tmp_path / "w.pt")


def test_a_file_that_tells_no_network_is_recognized_by_its_weights(tmp_path: Path) -> None:
    torch.save({"arch": "MyNet", "compressed": True, "state_dict": network("mlp")[0].state_dict()}, tmp_path / "w.pt")
    assert subject_of(tmp_path / "w.pt").recipe.name == "mlp"


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
