"""Regression, next tokens, networks and losses of one's own: trained, resumed, evaluated, measured and compressed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from stochastic_collapse import compress, load_compressed, train, train_replicates
from stochastic_collapse.collapse import analyze_run
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.dataset import each, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.examples import Normalizer
from stochastic_collapse.errors import InputError, Interrupted
from stochastic_collapse.models import build_model
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training import compress_run, probe_run

from .test_loop import assert_same_run, stop_after

Tiny = Callable[..., TrainConfig]

OWN = """
import torch
from torch import nn
from torch.utils.data import Dataset


class Named(nn.Module):
    '''Two inputs by name, an object with logits, and a loss where there are labels.'''

    def __init__(self, num_classes):
        super().__init__()
        self.words, self.numbers = nn.Embedding(9, 6), nn.Linear(4, 6)
        self.hidden, self.head = nn.Linear(6, 5), nn.Linear(5, num_classes)

    def forward(self, words, numbers, labels=None):
        logits = self.head(torch.tanh(self.hidden(self.words(words).mean(1) + self.numbers(numbers))))
        output = {"logits": logits}
        if labels is not None:
            output["loss"] = nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
        return output


class Examples(Dataset):
    def __init__(self, seed, n):
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(9, (n, 3), generator=generator)
        self.numbers = torch.randn(n, 4, generator=generator)
        self.labels = (self.numbers[:, 0] > 0).long()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, k):
        return {"words": self.words[k], "numbers": self.numbers[k], "labels": self.labels[k]}


def data():
    return Examples(0, 40), Examples(1, 20)


def smoothed(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.2)


def vector(outputs, targets):
    return outputs.sum(1)


def detached(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets).detach()


class Ahead(nn.Module):
    '''Each place sees the mean of all.'''

    def __init__(self, vocab_size):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab_size, 4), nn.Linear(4, vocab_size)

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.head(x + x.mean(1, keepdim=True))


def broken(outputs, targets):
    raise ValueError("no loss today")
"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """Overrides of the tiny run, by task."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    np.savez(tmp_path / "real.npz", x=x, y=np.column_stack([x[:, 0] - x[:, 1], x[:, 2] ** 2]))
    (tmp_path / "text").write_text("the quick brown fox jumps over the lazy dog; " * 40)
    (tmp_path / "own.py").write_text(OWN)
    own = f"python:{tmp_path / 'own.py'}"
    return {
        "regression": (f"data={{name: arrays, path: {tmp_path / 'real.npz'}}}", "loss=mse", "data.target_noise=0.3"),
        "next token": (
            f"data={{name: text, path: {tmp_path / 'text'}, context: 8, train_size: 40}}",
            "model={name: gpt, dim: 8, depth: 1, heads: 2}",
            "data.label_noise=0.1",
        ),
        "by name": (f'data={{name: "{own}:data"}}', f'model={{name: "{own}:Named"}}'),
        "own loss": (f'data={{name: "{own}:data"}}', f'model={{name: "{own}:Named"}}', "loss=model"),
        "users' loss": (f'data={{name: "{own}:data"}}', f'model={{name: "{own}:Named"}}', f"loss={own}:smoothed"),
    }


TASKS = ("regression", "next token", "by name", "own loss", "users' loss")


@pytest.mark.parametrize("task", TASKS)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    task: str, settings: dict[str, tuple[str, ...]], tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RunDirectory(train(tiny(*settings[task]), out=tmp_path / "whole").directory)
    with monkeypatch.context() as patched:
        stop_after(17, patched)
        with pytest.raises(Interrupted):
            train(tiny(*settings[task]), out=tmp_path / "parts")
    parts = RunDirectory(train(tiny(*settings[task]), out=tmp_path / "parts").directory)
    parts.checkpoint(17).unlink()
    assert_same_run(whole, parts)


@pytest.mark.parametrize("task", TASKS)
def test_replicates_equal_their_lone_runs(
    task: str, settings: dict[str, tuple[str, ...]], tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(*settings[task], "max_steps=20")
    together = train_replicates(config, 2)
    for k, result in enumerate(together):
        alone = train(tiny(*settings[task], "max_steps=20", f"replicate={k}"), out=tmp_path / f"alone_{k}")
        weights = (
            torch.load(RunDirectory(one.directory).checkpoint(20), weights_only=True)["model"]
            for one in (result, alone)
        )
        for one, other in zip(*(part.values() for part in weights), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def outputs_of(run: RunDirectory) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the last checkpoint on the test set, and its targets, by other code."""
    config = run.config()
    dataset = load_dataset(config.data)
    model = build_model(config.model, dataset.task)
    model.load_state_dict(torch.load(run.checkpoint(40), weights_only=True)["model"])
    inputs = Normalizer(dataset, torch.device("cpu"), torch.contiguous_format)(dataset.test.inputs)
    with torch.no_grad():
        found = model.eval()(inputs) if isinstance(inputs, torch.Tensor) else model.eval()(**inputs)["logits"]
    return found, dataset.test.targets


def test_figures_of_regression(settings: dict[str, tuple[str, ...]], tiny: Tiny) -> None:
    result = train(tiny(*settings["regression"]))
    run = RunDirectory(result.directory)
    predicted, targets = outputs_of(run)
    last = run.metrics().iloc[-1]
    assert list(run.metrics().columns) == ["step", "epoch", "lr", "train_loss", "eval_loss", "eval_r2"]
    assert last["eval_loss"] == pytest.approx(float((predicted - targets).square().mean()), rel=1e-5)
    unexplained = (predicted - targets).square().sum(0) / (targets - targets.mean(0)).square().sum(0)
    assert last["eval_r2"] == pytest.approx(float((1 - unexplained).mean()), rel=1e-5)
    assert result.scores == {"eval_r2": last["eval_r2"]}
    assert run.score_name() == "R²"


def test_figures_of_next_tokens(settings: dict[str, tuple[str, ...]], tiny: Tiny) -> None:
    run = RunDirectory(train(tiny(*settings["next token"])).directory)
    logits, targets = outputs_of(run)
    last = run.metrics().iloc[-1]
    nats = float(functional.cross_entropy(logits.flatten(0, 1), targets.long().flatten()))
    assert last["eval_loss"] == pytest.approx(nats, rel=1e-5)
    assert last["eval_bits_per_token"] == pytest.approx(nats / math.log(2), rel=1e-5)
    assert last["eval_accuracy"] == pytest.approx(float((logits.argmax(-1) == targets).double().mean()), rel=1e-6)


@pytest.mark.parametrize("task", ["own loss", "users' loss"])
def test_losses_of_ones_own(task: str, settings: dict[str, tuple[str, ...]], tiny: Tiny) -> None:
    run = RunDirectory(train(tiny(*settings[task])).directory)
    logits, targets = outputs_of(run)
    expected = float(functional.cross_entropy(logits, targets, label_smoothing=0.2))
    assert run.metrics().iloc[-1]["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_networks_loss_is_that_of_users_code(settings: dict[str, tuple[str, ...]], tiny: Tiny) -> None:
    """The same formula gives the same weights."""
    runs = [RunDirectory(train(tiny(*settings[task])).directory) for task in ("own loss", "users' loss")]
    one, other = (torch.load(run.checkpoint(40), weights_only=True)["model"] for run in runs)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_everything_downstream_follows(task: str, settings: dict[str, tuple[str, ...]], tiny: Tiny) -> None:
    result = train(tiny(*settings[task]))
    run = RunDirectory(result.directory)
    assert analyze_run(run).to_dict("records") == result.collapse.to_dict("records")
    compressed = compress_run(run, 0.9)
    assert compressed.after.neurons < compressed.before.neurons
    assert compressed.before.accuracy == pytest.approx(next(iter(result.scores.values())), abs=1e-9)
    column = "r2_after" if task == "regression" else "accuracy_after"
    assert run.compression().iloc[-1][column] == pytest.approx(compressed.after.accuracy)
    loaded = load_compressed(run.compressed(40, 0.9), run.config().model.name)
    dataset = load_dataset(run.config().data)
    inputs = Normalizer(dataset, torch.device("cpu"), torch.contiguous_format)(
        each(dataset.test.inputs, lambda one: one[:4])
    )
    found, expected = (
        model.eval()(inputs) if isinstance(inputs, torch.Tensor) else model.eval()(**inputs)["logits"]
        for model in (loaded, compressed.model)
    )
    torch.testing.assert_close(found, expected)
    assert len(first(dataset.test.inputs)) == len(dataset.test)


@pytest.mark.parametrize("noise", ["none", "isotropic"])
@pytest.mark.parametrize("task", ["regression", "next token", "by name"])
def test_mean_gradients_are_those_of_the_whole_training_set(
    task: str, noise: str, settings: dict[str, tuple[str, ...]], tiny: Tiny
) -> None:
    config = tiny(*settings[task], f"gradient_noise={noise}", "max_steps=4", "micro_batch=16", "log_every=1")
    metrics = RunDirectory(train(config).directory).metrics()
    assert metrics["train_loss"].notna().all()
    if noise == "none":
        assert metrics["train_loss"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        (
            "regression",
            ("loss=cross_entropy", "data.target_noise=0"),
            "cross_entropy is for classes, and these",
        ),
        ("regression", ("loss=bce", "data.target_noise=0"), "bce is for targets from 0 to 1, and these are from -"),
        ("regression", ("model={name: gpt}",), "gpt predicts the next token, and the data have numbers of shape"),
        ("next token", ("model={name: mlp, widths: [4]}",), "mlp takes numbers, and the data have tokens of shape"),
        ("next token", ("loss=model",), "loss: model asks for the network's own, and its forward takes no labels"),
        ("next token", ("loss=mse", "data.target_noise=0.1"), "data.target_noise: is added to one-hot or real targets"),
        ("by name", ("model={name: mlp, widths: [4]}",), "mlp takes numbers, and the data have inputs by name"),
        ("users' loss", ("loss=LOSS:vector",), r"loss: python:.*:vector: returned a tensor of shape \(8,\), expected"),
        ("users' loss", ("loss=LOSS:broken",), r"loss: python:.*own.py:\d+: ValueError: no loss today"),
        ("users' loss", ("loss=LOSS:detached",), r"loss: python:.*:detached: its result has no gradient"),
        (
            "next token",
            ('model={name: "LOSS:Ahead"}',),
            "sees the tokens that it is to predict; expected a causal network",
        ),
        ("users' loss", ("gradient_noise=none", "data.label_noise=0.1"), "gradient_noise: none averages label noise"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_leaves_nothing(
    task: str, more: tuple[str, ...], message: str, settings: dict[str, tuple[str, ...]], tiny: Tiny, tmp_path: Path
) -> None:
    more = tuple(one.replace("LOSS", f"python:{tmp_path / 'own.py'}") for one in more)
    with pytest.raises(InputError, match=message) as caught:
        train(tiny(*settings[task], *more))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["regression", "next token"])
def test_changed_data_are_refused(task: str, settings: dict[str, tuple[str, ...]], tiny: Tiny, tmp_path: Path) -> None:
    run = RunDirectory(train(tiny(*settings[task])).directory)
    compress_run(run, 0.5)
    (tmp_path / "text").write_text("another text " * 99)
    np.savez(tmp_path / "real.npz", x=np.ones((9, 5)), y=np.ones((9, 2)))
    for use in (compress_run, probe_run):
        if use is compress_run or task == "regression":
            with pytest.raises(InputError, match=r"data.path of tiny: .* has changed since the run was trained"):
                use(run)


def test_what_users_code_prints_is_no_result(
    settings: dict[str, tuple[str, ...]], tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(
        OWN.replace("    return Examples(0", "    print('loading')\n    return Examples(0")
    )
    train(tiny(*settings["by name"]))
    out, err = capsys.readouterr()
    assert "loading" not in out
    assert "loading" in err


def test_compress_takes_inputs_by_name(settings: dict[str, tuple[str, ...]], tiny: Tiny) -> None:
    config = tiny(*settings["by name"])
    dataset = load_dataset(config.data)
    torch.manual_seed(0)
    model = build_model(config.model, dataset.task)
    with torch.no_grad():
        model.get_parameter("hidden.weight")[1] = model.get_parameter("hidden.weight")[0]
        model.get_parameter("hidden.bias")[1] = model.get_parameter("hidden.bias")[0]
    example = dataset.task.example(3)
    assert isinstance(example, dict)
    smaller = compress(model, example, 0)
    assert re.search("neurons .* → .*", smaller.summary())
    torch.testing.assert_close(smaller.model.eval()(**example)["logits"], model.eval()(**example)["logits"])
