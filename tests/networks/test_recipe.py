"""Recipes of networks: what a file holds of one builds it again, and code that has changed is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stochastic_collapse import train
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.networks.recipe import Recipe, of_settings
from stochastic_collapse.provenance import model_source
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.task import Input, Task

SMALL = Task((1, 8, 8), 3)
TOKENS = Task((6,), 11, "next_token", vocabulary=11)
NAMED = Task((6,), 2, "regression", 9, {"tokens": Input((6,), 9), "numbers": Input((4,))})
OWN = """
from torch import nn


class Net(nn.Module):
    def __init__(self, outputs, task, width=4):
        super().__init__()
        self.embedding = nn.Embedding(task.vocabulary, width)
        self.head = nn.Linear(width + 4, outputs)

    def forward(self, tokens, numbers):
        import torch

        return self.head(torch.cat([self.embedding(tokens).mean(1), numbers], 1))
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN)
    return f"python:{tmp_path / 'own.py'}:Net"


@pytest.mark.parametrize(
    ("settings", "task"),
    [
        ({"name": "mlp", "widths": [6, 5], "activation": "relu"}, SMALL),
        ({"name": "vit", "patch": 4, "dim": 8, "depth": 1, "heads": 2}, SMALL),
        ({"name": "gpt", "dim": 8, "depth": 1, "heads": 2, "tied": True}, TOKENS),
        ({"name": "OWN", "arguments": {"width": 3}}, NAMED),
    ],
)
def test_a_recipe_comes_back_from_json_and_builds_the_network(settings: dict[str, Any], task: Task, own: str) -> None:
    settings = {**settings, "name": own if settings["name"] == "OWN" else settings["name"]}
    recipe = Recipe(settings, task, model_source(settings["name"]))
    back = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert back == recipe
    model, example = back.build({})
    built = of_settings(settings, task)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in built.state_dict().items()}
    inputs = {name: (tuple(t.shape), t.dtype) for name, t in example.items()} if isinstance(example, dict) else {}
    expected = {"tokens": ((2, 6), torch.int64), "numbers": ((2, 4), torch.float32)}
    assert inputs == (expected if task.named else {})
    outputs = model(**example) if isinstance(example, dict) else model(example)
    assert outputs.shape == (2, 6, 11) if task is TOKENS else (2, task.outputs)


def test_building_draws_nothing() -> None:
    state = torch.get_rng_state()
    Recipe({"name": "mlp", "widths": [6]}, SMALL, None).build({})
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("name", "told"), [("mlp", {}), ("vit", {"heads": 2}), ("vit", {"head_size": 4})])
def test_without_a_task_weights_say_what_a_built_in_network_is(name: str, told: dict[str, int]) -> None:
    settings: dict[str, dict[str, Any]] = {
        "mlp": {"name": "mlp", "widths": [6, 5]},
        "vit": {"name": "vit", "patch": 4, "dim": 8, "depth": 2, "heads": 2},
    }
    weights = of_settings(settings[name], SMALL).state_dict()
    model, example = Recipe.from_json(Recipe({"name": name, **told}, None, None).to_json()).build(weights)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in weights.items()}
    assert isinstance(example, Tensor)
    assert model(example).shape == (2, 3)


def test_without_a_task_a_folder_says_what_a_network_of_transformers_is(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, vocab_size=13, n_positions=12, bos_token_id=1, eos_token_id=2,
        architectures=["GPT2LMHeadModel"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    name = f"transformers:{tmp_path}"
    recipe = Recipe({"name": name, "arguments": {}}, None, model_source(name))
    model, example = Recipe.from_json(json.loads(json.dumps(recipe.to_json()))).build({})
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert isinstance(example, dict)
    assert model(**example).logits.shape == (2, 12, 13)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace("13", "14"))
    with pytest.raises(InputError, match=r"transformers:.* has changed since the network was trained") as caught:
        recipe.build({})
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"it was sha256:\w{12} and is none; put it back"):
        recipe.build({})


def test_code_that_has_changed_or_gone_is_told(own: str, tmp_path: Path) -> None:
    recipe = Recipe({"name": own, "arguments": {}}, NAMED, model_source(own))
    recipe.build({})
    (tmp_path / "own.py").write_text(OWN.replace("width=4", "width=5"))
    with pytest.raises(
        InputError, match=r"model.name: .*own.py:Net has changed since .*: it was sha256:\w+ and is sha256"
    ):
        recipe.build({})
    (tmp_path / "own.py").write_text(OWN)
    recipe.build({})
    (tmp_path / "own.py").unlink()
    with pytest.raises(InputError, match=r"no file .*own.py"):
        recipe.build({})


def test_the_recipe_of_a_run_is_that_of_its_settings(tiny: Callable[..., TrainConfig]) -> None:
    run = RunDirectory(train(tiny()).directory)
    recipe = Recipe.of_run(run)
    assert recipe is not None
    assert recipe.name == "mlp"
    assert recipe.settings["widths"] == [8, 6]
    assert not {"weights", "state"} & recipe.settings.keys()
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    built = build_model(run.config().model, Task((1, 4, 4), 3)).state_dict()
    assert {k: v.shape for k, v in recipe.build({})[0].state_dict().items()} == {k: v.shape for k, v in built.items()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mpl"}, "model.name: no network 'mpl'; expected one of mlp, vgg11, .*, timm:…, .*, python:…$"),
        ({"name": "foo:bar"}, "model.name: no network 'foo:bar'; expected one of mlp"),
        ({}, "model.name: no network None; expected one of mlp"),
        ({"name": "vit", "depth": 0}, "model: vit: Input should be greater than or equal to 1"),
        ({"name": "vit", "patch": 3}, "patch"),
        ({"name": "gpt"}, "model.name: gpt predicts the next token, and the data have images of shape"),
    ],
)
def test_settings_of_no_network_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        of_settings(settings, SMALL)
    assert "\n" not in str(caught.value)
