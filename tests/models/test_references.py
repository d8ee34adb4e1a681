"""Networks by reference: of timm, torchvision and transformers, and of a user's own file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse.config.models import (
    PythonModelSettings,
    TimmSettings,
    TorchvisionSettings,
    TransformersSettings,
)
from stochastic_collapse.errors import InputError
from stochastic_collapse.models.calling import call, predictions
from stochastic_collapse.models.references import python, timm_, torchvision_, transformers_
from stochastic_collapse.task import Input, Task

IMAGES = Task((3, 32, 32), 7)
GREY = Task((1, 24, 16), 3)
NUMBERS = Task((30,), 4)
TOKENS = Task((12,), 5, "classification", 50)
TARGETS = Task((12,), 2, "regression", 50)
TEXT = Task((12,), 50, "next_token", 50)
MASKED = Task((12,), 5, "classification", 50, {"input_ids": Input((12,), 50), "attention_mask": Input((12,), 2)})

SOURCES: dict[str, tuple[Any, Any]] = {
    "timm": (timm_, TimmSettings),
    "torchvision": (torchvision_, TorchvisionSettings),
    "transformers": (transformers_, TransformersSettings),
    "python": (python, PythonModelSettings),
}

GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2}
BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
LLAMA = {**BERT, "num_key_value_heads": 1}
VIT = {**BERT, "patch_size": 8}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]}
TIMM_VIT = {"patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 3}


def build(name: str, task: Task, seed: int = 0, **arguments: Any) -> nn.Module:
    source, settings = SOURCES[name.partition(":")[0]]
    for library in ("timm", "transformers"):  # a developer's environment may lack what others' networks need
        if name.startswith(f"{library}:"):
            pytest.importorskip(library)
    if name.startswith(("timm:", "torchvision:")):
        pytest.importorskip("torchvision")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return source.build(settings(name=name, arguments=arguments), task)


def refuse(name: str, task: Task, message: str, **arguments: Any) -> None:
    """The network is refused by exactly one line, which has this in it."""
    with pytest.raises(InputError, match=message) as raised:
        build(name, task, **arguments)
    assert len(str(raised.value).splitlines()) == 1


@torch.no_grad()
def outputs(model: nn.Module, task: Task) -> Tensor:
    return predictions(call(model.eval(), task.example(2)))


# --- networks of libraries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "arguments"),
    [
        ("timm:resnet18", IMAGES, {}),
        ("timm:resnet18.a1_in1k", GREY, {}),
        ("timm:vit_tiny_patch16_224", IMAGES, TIMM_VIT),
        ("timm:vit_tiny_patch16_224", GREY, {**TIMM_VIT, "patch_size": 8}),
        ("timm:resnet18", Task((3, 32, 32), 2, "regression"), {}),
        ("torchvision:resnet18", IMAGES, {}),
        ("torchvision:vit_b_16", IMAGES, {}),
        ("torchvision:googlenet", IMAGES, {}),
        ("transformers:vit", IMAGES, VIT),
        ("transformers:vit", GREY, VIT),
        ("transformers:resnet", GREY, RESNET),
        ("transformers:bert", TOKENS, BERT),
        ("transformers:bert", TARGETS, BERT),
        ("transformers:bert", MASKED, BERT),
        ("transformers:bert", TEXT, BERT),
        ("transformers:roberta", TOKENS, BERT),
        ("transformers:modernbert", TOKENS, BERT),
        ("transformers:gpt2", TOKENS, GPT2),
        ("transformers:gpt2", TARGETS, GPT2),
        ("transformers:gpt2", MASKED, {**GPT2, "pad_token_id": 0}),
        ("transformers:gpt2", TEXT, GPT2),
        ("transformers:llama", TOKENS, LLAMA),
        ("transformers:llama", TEXT, LLAMA),
    ],
)
def test_outputs_are_of_the_tasks_shape(name: str, task: Task, arguments: dict[str, Any]) -> None:
    model = build(name, task, **arguments)
    assert model.training
    expected = (2, *task.input_shape, task.outputs) if task.kind == "next_token" else (2, task.outputs)
    assert tuple(outputs(model, task).shape) == expected
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "task", "arguments"),
    [
        ("timm:resnet18", IMAGES, {}),
        ("torchvision:resnet18", IMAGES, {}),
        ("transformers:gpt2", TOKENS, GPT2),
        ("transformers:roberta", TOKENS, BERT),
    ],
)
def test_the_seed_decides_the_initialization(name: str, task: Task, arguments: dict[str, Any]) -> None:
    def weights(seed: int) -> Tensor:
        return nn.utils.parameters_to_vector(build(name, task, seed, **arguments).parameters())

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


@pytest.mark.parametrize(("library", "source"), [(name, source) for name, (source, _) in SOURCES.items()])
def test_versions_are_those_of_what_is_installed(library: str, source: Any) -> None:
    if library == "python":
        assert source.version() == {}
        return
    try:
        version = metadata.version(library)
    except metadata.PackageNotFoundError:
        with pytest.raises(InputError, match=f"needs {library}, which is not installed"):
            source.version()
    else:
        assert source.version() == {library: version}


@pytest.mark.parametrize(
    ("name", "task", "extra"),
    [
        ("timm:resnet18", IMAGES, "timm"),
        ("torchvision:resnet18", IMAGES, "torchvision"),
        ("transformers:gpt2", TOKENS, "huggingface"),
    ],
)
def test_a_library_that_is_missing_is_said_with_how_to_get_it(
    name: str, task: Task, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = name.partition(":")[0]
    source, settings = SOURCES[library]
    monkeypatch.setitem(sys.modules, library, None)
    message = f"model.name: {name} needs {library}, which is not installed: pip install 'stochastic-collapse[{extra}]'"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        source.build(settings(name=name), task)


def test_a_library_that_fails_to_import_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    message = "model.name: timm:resnet18: importing timm failed: RuntimeError: does not exist; its torchvision is of "
    message += "another torch than is installed"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        timm_.build(TimmSettings(name="timm:resnet18"), IMAGES)


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
@pytest.mark.parametrize(
    ("task", "given"),
    [
        (NUMBERS, r"numbers of shape \(30,\)"),
        (TOKENS, r"tokens of shape \(12,\)"),
        (MASKED, "inputs by name: input_ids, attention_mask"),
    ],
)
def test_networks_for_images_refuse_all_else(name: str, task: Task, given: str) -> None:
    refuse(name, task, rf"^model.name: {name} takes images \(channels, height, width\), and the data have {given}$")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("timm:resnet18", "pretrained", True),
        ("timm:resnet18", "checkpoint_path", "weights.pth"),
        ("torchvision:resnet18", "weights", "DEFAULT"),
        ("torchvision:resnet18", "pretrained", True),
    ],
)
def test_weights_do_not_come_by_arguments(name: str, key: str, value: Any) -> None:
    refuse(name, IMAGES, rf"^model.arguments.{key}: .* give a file of them as model.weights$", **{key: value})
    build(name, IMAGES, **{key: None})  # type: ignore[arg-type]


# --- timm -----------------------------------------------------------------------------------------------------------


def test_timm_names_are_known_or_the_nearest_are_told() -> None:
    refuse(
        "timm:resnet81", IMAGES, r"^model.name: timm:resnet81: timm has no 'resnet81'; the nearest names are .*resnet18"
    )
    refuse("timm:hf-hub:timm/resnet18", IMAGES, "timm has no 'hf-hub:timm/resnet18'")  # nothing is fetched


def test_timm_takes_the_users_arguments_before_those_of_the_task() -> None:
    assert outputs(build("timm:resnet18", IMAGES, num_classes=9), IMAGES).shape == (2, 9)
    model: Any = build("timm:vit_tiny_patch16_224", IMAGES, **TIMM_VIT, img_size=64)
    assert model.patch_embed.img_size == (64, 64)
    refuse("timm:resnet18", IMAGES, r"timm failed: TypeError: .*'img_size'", img_size=32)  # which it does not take
    refuse("timm:resnet18", IMAGES, r"timm failed: TypeError: .*'widht'", widht=3)


def test_timm_patches_that_leave_a_border_out_are_refused() -> None:
    refuse(
        "timm:vit_tiny_patch16_224",
        Task((3, 30, 32), 7),
        r"patches of 8 × 8 pixels do not divide images of 30 × 32; choose others by model.arguments.patch_size$",
        **{**TIMM_VIT, "patch_size": 8},
    )
    padded = {**TIMM_VIT, "patch_size": 8, "dynamic_img_pad": True, "dynamic_img_size": True}
    assert outputs(build("timm:vit_tiny_patch16_224", Task((3, 30, 32), 7), **padded), IMAGES).shape == (2, 7)


# --- torchvision ----------------------------------------------------------------------------------------------------


def test_torchvision_refuses_other_channels_and_oblong_images_for_its_transformers() -> None:
    refuse("torchvision:resnet18", GREY, "torchvision's networks take 3 channels, and the data's images have 1")
    refuse("torchvision:vit_b_16", Task((3, 32, 16), 7), "takes square images, and the data's are of 32 × 16 pixels")
    refuse("torchvision:vit_b_16", Task((3, 30, 30), 7), "torchvision failed: AssertionError: .*indivisible by patch")


def test_torchvision_names_are_those_of_classifiers_or_the_nearest_are_told() -> None:
    refuse("torchvision:resnet81", IMAGES, r"torchvision has no 'resnet81'; the nearest names are .*resnet18")
    for name in ("fcn_resnet50", "ssd300_vgg16", "r3d_18"):
        refuse(f"torchvision:{name}", IMAGES, rf"{name} does not classify images")


def test_torchvision_takes_the_users_arguments_before_those_of_the_task() -> None:
    assert outputs(build("torchvision:resnet18", IMAGES, num_classes=9), IMAGES).shape == (2, 9)
    assert build("torchvision:googlenet", IMAGES, aux_logits=True).aux1 is not None
    assert build("torchvision:googlenet", IMAGES).aux1 is None
    refuse("torchvision:resnet18", IMAGES, r"torchvision failed: TypeError: .*'widht'", widht=3)


# --- transformers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """Writes a config.json and gives the folder."""

    def write(**values: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(values))
        return str(tmp_path)

    return write


def gpt2(**values: Any) -> dict[str, Any]:
    """Of a folder: a GPT-2 for more tokens, and more of them, than the tasks here have."""
    return {"model_type": "gpt2", "vocab_size": 61, "n_positions": 16, **GPT2, **values}


def test_sizes_of_a_type_are_the_tasks() -> None:
    config: Any = build("transformers:gpt2", TEXT, **GPT2).config
    assert (config.vocab_size, config.n_positions, config.n_embd) == (50, 12, 16)
    assert config.use_cache is False
    config = build("transformers:vit", GREY, **VIT).config
    assert (config.num_channels, tuple(config.image_size), config.num_labels) == (1, (24, 16), 3)
    # Places are counted from the padding token on, which is 1: the first is 2.
    assert build("transformers:roberta", TOKENS, **BERT).config.max_position_embeddings == 14  # type: ignore[union-attr]
    longer = build("transformers:roberta", TOKENS, **BERT, max_position_embeddings=99)
    assert longer.config.max_position_embeddings == 99  # type: ignore[union-attr]


@pytest.mark.parametrize("key", ["n_positions", "max_position_embeddings"])
def test_arguments_go_before_what_is_filled_in_by_either_of_their_names(key: str) -> None:
    config: Any = build("transformers:gpt2", TOKENS, **{**GPT2, key: 20, "vocab_size": 70, "num_labels": 9}).config
    assert (config.n_positions, config.vocab_size, config.num_labels) == (20, 70, 9)


def test_labels_by_name_are_not_filled_in() -> None:
    config: Any = build("transformers:bert", TOKENS, **BERT, id2label={0: "no", 1: "yes"}).config
    assert (config.num_labels, config.id2label) == (2, {0: "no", 1: "yes"})


def test_a_folder_keeps_its_sizes_and_gets_the_tasks_outputs(folder: Callable[..., str]) -> None:
    saved = folder(**gpt2(architectures=["GPT2LMHeadModel"], dtype="bfloat16", use_cache=True, resid_pdrop=0.25))
    for name in (saved, f"{saved}/config.json"):
        model: Any = build(f"transformers:{name}", TOKENS)
        assert type(model).__name__ == "GPT2ForSequenceClassification"  # the one it names does not classify
        assert (model.config.vocab_size, model.config.n_positions, model.config.num_labels) == (61, 16, 5)
        assert (model.config.resid_pdrop, model.config.use_cache) == (0.25, False)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert outputs(model, TOKENS).shape == (2, 5)
    assert build(f"transformers:{saved}", TOKENS, n_layer=1).config.n_layer == 1  # type: ignore[union-attr]


def test_a_folder_decides_among_the_networks_that_fit_the_task(folder: Callable[..., str]) -> None:
    deit = {"model_type": "deit", "image_size": 32, **VIT}
    named = "DeiTForImageClassificationWithTeacher"
    assert type(build(f"transformers:{folder(**deit, architectures=[named])}", IMAGES)).__name__ == named
    assert type(build(f"transformers:{folder(**deit)}", IMAGES)).__name__ == "DeiTForImageClassification"


def test_a_folder_with_other_labels_gets_as_many_as_the_task_has(folder: Callable[..., str]) -> None:
    labels = {str(k): f"label {k}" for k in range(9)}
    saved = folder(model_type="bert", vocab_size=61, max_position_embeddings=16, **BERT, id2label=labels)
    assert outputs(build(f"transformers:{saved}", TOKENS), TOKENS).shape == (2, 5)


@pytest.mark.parametrize(("name", "arguments"), [("gpt2", GPT2), ("bert", BERT), ("llama", LLAMA)])
def test_who_predicts_the_next_token_does_not_see_it(name: str, arguments: dict[str, Any]) -> None:
    model = build(f"transformers:{name}", TEXT, **arguments).eval()
    tokens = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 50
    with torch.no_grad():
        before, after = (predictions(call(model, one)) for one in (tokens, changed))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_a_decoder_without_a_padding_token_classifies_by_the_last_token() -> None:
    model: Any = build("transformers:gpt2", TOKENS, **GPT2).eval()
    tokens = torch.randint(0, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.score(model.transformer(tokens).last_hidden_state)[:, -1]
        torch.testing.assert_close(predictions(call(model, tokens)), expected)


def test_a_decoder_that_may_read_padding_asks_which_token_it_is() -> None:
    refuse("transformers:gpt2", MASKED, "say which one is padding by model.arguments.pad_token_id$", **GPT2)


def test_names_that_lead_to_no_configuration_are_refused(tmp_path: Path, folder: Callable[..., str]) -> None:
    refuse("transformers:gtp2", TOKENS, "neither a folder with .* nor a type of transformers; the nearest .*gpt2")
    refuse(f"transformers:{tmp_path}", TOKENS, f"no config.json in {tmp_path}$")
    refuse("transformers:openai/gpt2", TOKENS, "no folder openai/gpt2 with a config.json; nothing is fetched here")
    (tmp_path / "broken.json").write_text("{")
    refuse(f"transformers:{tmp_path}/broken.json", TOKENS, "broken.json is no JSON")
    refuse(f"transformers:{folder(hidden_size=3)}", TOKENS, "config.json has no model_type")
    refuse(f"transformers:{folder(model_type='gtp2')}", TOKENS, "is of type 'gtp2', .* the nearest names are .*gpt2")


def test_code_of_a_folders_own_is_not_run(folder: Callable[..., str], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w').close()")
    saved = folder(**gpt2(auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"}))
    refuse(f"transformers:{saved}", TOKENS, "code of its own .*python:path/to/file.py:callable$")
    refuse("transformers:gpt2", TOKENS, "model.arguments.trust_remote_code", trust_remote_code=True)
    assert not ran.exists()


def test_arguments_that_the_configuration_lacks_are_refused_with_the_nearest(folder: Callable[..., str]) -> None:
    for name in ("gpt2", folder(**gpt2())):
        refuse(f"transformers:{name}", TOKENS, "model.arguments.n_embed: .* the nearest names are .*n_embd", n_embed=3)
        refuse(f"transformers:{name}", TOKENS, "model.arguments.torch_dtype: .* no such entry", torch_dtype="bfloat16")


def test_networks_too_small_for_the_data_are_refused(folder: Callable[..., str]) -> None:
    for name, arguments in ((folder(**gpt2(vocab_size=49)), {}), ("gpt2", {**GPT2, "vocab_size": 49})):
        message = "knows 49 tokens, and the data have 50: give it as many by model.arguments.vocab_size$"
        refuse(f"transformers:{name}", TOKENS, message, **arguments)
    short = folder(**gpt2(n_positions=11))
    message = "has a context of 11 tokens, and the data's are of 12: give it 12 by model.arguments."
    refuse(f"transformers:{short}", TEXT, message)
    message = "has a context of 11 tokens, and the data's are of 12: give it 14 by model.arguments."
    refuse("transformers:roberta", TOKENS, message, **BERT, max_position_embeddings=13)


def test_data_that_the_type_is_not_for_are_refused() -> None:
    refuse("transformers:bert", IMAGES, "no network of type bert for the classification of images$")
    refuse("transformers:vit", TOKENS, "no network of type vit for the classification of tokens$")
    refuse("transformers:vit", TEXT, "no network of type vit for predicting the next token$")
    refuse("transformers:bert", NUMBERS, r"takes images or tokens, and the data have numbers of shape \(30,\)$")
    misnamed = MASKED._replace(named={"input_id": Input((12,), 50)})
    refuse(
        "transformers:bert", misnamed, "BertForSequenceClassification takes no input 'input_id'; .*input_ids", **BERT
    )


def test_what_transformers_refuses_is_one_line() -> None:
    refuse("transformers:bert", TOKENS, "transformers failed: .*hidden_size", **{**BERT, "hidden_size": "wide"})
    refuse("transformers:vit", Task((3, 30, 32), 7), "patches of 8 × 8 pixels do not divide images of 30 × 32", **VIT)


# --- users' own code ------------------------------------------------------------------------------------------------

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, num_classes, width=4, image_size=None):
        super().__init__()
        self.told = in_channels, num_classes, width, image_size
        self.body = nn.Conv2d(in_channels, width, 3)
        self.head = nn.Linear(width, num_classes)
    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

def all_of_images(outputs, in_chans, img_size, input_shape, in_features, task, *, classes, bias=True):
    net = nn.Identity()
    net.told = outputs, in_chans, img_size, input_shape, in_features, task, classes, bias
    return net

def of_text(vocab_size, block_size, num_labels=1, vocabulary=None, seq_len=0, input_size=-1):
    net = nn.Identity()
    net.told = vocab_size, block_size, num_labels, vocabulary, seq_len, input_size
    return net

def of_layers(channels=(8, 16), classes=("cat", "dog"), outputs=True):
    net = nn.Identity()
    net.told = channels, classes, outputs
    return net

def others(num_classes, **more):
    net = nn.Linear(2, num_classes)
    net.told = more
    return net

def deep(depth, width, num_classes): ...
def no_network(): return {"weights": 3}
def failing(num_classes): raise RuntimeError("first line\\nsecond line")
ready = nn.Linear(30, 4)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return f"python:{path}"


def test_a_class_is_called_with_what_it_asks_for(own: str) -> None:
    model: Any = build(f"{own}:Net", IMAGES, width=6)
    assert model.told == (3, 7, 6, 32)
    assert outputs(model, IMAGES).shape == (2, 7)
    assert build(f"{own}:Net", GREY, num_classes=9).told == (1, 9, 4, (24, 16))


def test_a_function_is_told_all_that_the_data_tell(own: str) -> None:
    model: Any = build(f"{own}:all_of_images", GREY)
    assert model.told == (3, 1, (24, 16), (1, 24, 16), 384, GREY, 3, True)
    model = build(f"{own}:of_text", TOKENS)
    assert model.told == (50, 12, 5, 50, 12, -1)  # tokens are no features


def test_a_parameter_that_means_something_else_keeps_its_default(own: str) -> None:
    model: Any = build(f"{own}:of_layers", IMAGES)
    assert model.told == ((8, 16), ("cat", "dog"), True)


def test_a_function_of_any_arguments_gets_the_users(own: str) -> None:
    model: Any = build(f"{own}:others", NUMBERS, anything=3)
    assert (model.told, model.out_features) == ({"anything": 3}, 4)


def test_a_network_that_stands_in_the_file_is_copied(own: str) -> None:
    first, second = (build(f"{own}:ready", NUMBERS, seed) for seed in (0, 1))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert outputs(second, NUMBERS).abs().sum() > 0
    assert not outputs(first, NUMBERS).any()
    refuse(f"{own}:ready", NUMBERS, "is a network already, which takes no width$", width=3)


def test_the_seed_decides_the_initialization_of_own_code(own: str) -> None:
    # Importing the file draws random numbers too, once.
    first, again, other = (build(f"{own}:Net", IMAGES, seed).get_parameter("head.weight") for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_own_code_that_makes_no_network_is_refused(own: str) -> None:
    refuse(f"{own}:no_network", IMAGES, "no_network: returned a value of type dict, expected a torch.nn.Module$")
    refuse(f"{own}:failing", IMAGES, r"^model.name: .*own.py:failing: .*own.py:\d+: .*second line$")
    refuse(f"{own}:nte", IMAGES, r"^model.name: .*no 'nte' in .*own.py")


def test_arguments_of_own_code_are_known_and_complete(own: str) -> None:
    refuse(f"{own}:deep", NUMBERS, r"deep needs depth, width: .* what the data tell goes by num_classes, n_classes, ")
    refuse(f"{own}:deep", NUMBERS, r"deep needs depth: ", width=3)
    refuse(f"{own}:Net", NUMBERS, r"Net needs in_channels: ")  # which a table does not have
    message = r"^model.arguments.widht: .*Net has no such parameter; it takes in_channels, .*nearest .*width"
    refuse(f"{own}:Net", IMAGES, message, widht=3)
