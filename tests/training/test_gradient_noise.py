"""Full batches, no gradient noise, isotropic noise, several passes: against brute force and by their statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse import cli, train
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.dataset import first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.loader import Batch
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.report.data import _noise
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.execution import resolve
from stochastic_collapse.training.inputs import Perturbed
from stochastic_collapse.training.losses import LOSSES
from stochastic_collapse.training.probe import probe_run
from stochastic_collapse.training.run import Run
from stochastic_collapse.training.step import add_isotropic_noise

Tiny = Callable[..., TrainConfig]


def started(config: TrainConfig, tmp_path: Path) -> Run:
    return Run(config, RunDirectory(tmp_path), load_dataset(config.data), resolve(config), print)


def gradient(run: Run) -> Tensor:
    """Of the next step, which leaves the weights alone; (P,), float64."""
    run.take_step(0.0)
    return torch.cat([p.grad.flatten() for p in run.model.parameters() if p.grad is not None]).double()


@pytest.mark.parametrize("micro_batch", ["null", "7", "20", "100"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_without_noise_the_gradient_is_the_mean_over_examples_and_labels(
    tiny: Tiny, tmp_path: Path, loss: str, micro_batch: str
) -> None:
    """A double loop in double precision: float32 leaves 2e-6 of the largest component."""
    noisy = ("data.label_noise=0.3", f"loss={loss}", f"micro_batch={micro_batch}")
    config = tiny("gradient_noise=none", *noisy)
    run = started(config, tmp_path)
    dataset = load_dataset(config.data)
    model = build_model(config.model, dataset.task).double()
    model.load_state_dict(run.model.state_dict())
    images = (first(dataset.train.inputs).double() - 127.5) / 52.0
    total = torch.zeros((), dtype=torch.float64)
    for image, label in zip(images, dataset.train.targets.tolist(), strict=True):
        for other in range(3):
            probability = 0.7 if other == label else 0.15
            batch = Batch(image[None], torch.tensor([other]), None)
            total = total + probability / 60 * LOSSES[loss](model(batch.inputs), batch)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.parameters()))])
    found = gradient(run)
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max()
    # Of squared error the constant Σ q(1 − q), over classes, is not in the loss.
    constant = (0.7 * 0.3 + 2 * 0.15 * 0.85) / 3 if loss == "mse" else 0.0
    assert run.loss_sum.item() == pytest.approx(total.item() - constant, rel=1e-5)
    assert torch.equal(gradient(run), found)


def test_a_full_batch_is_the_mean_over_the_set_as_it_lies(tiny: Tiny, tmp_path: Path) -> None:
    full, none = tiny("batch_size=full"), tiny("gradient_noise=none")
    first = started(full, tmp_path)
    assert torch.equal(gradient(first), gradient(started(none, tmp_path)))
    batch = cast(Batch, first.loader.next())
    assert batch.inputs is cast(Batch, first.loader.next()).inputs
    assert torch.equal(batch.targets, load_dataset(full.data).train.targets)


@pytest.mark.parametrize(
    "noise", [("data.label_noise=0.3",), ("data.label_noise=0.2", "data.target_noise=0.3", "loss=mse")]
)
def test_the_expectation_is_the_mean_over_many_draws(tiny: Tiny, tmp_path: Path, noise: tuple[str, ...]) -> None:
    """About 200 components, each beyond 6 of its standard errors with probability 2e-9: false alarms below 1e-6."""
    run = started(tiny("batch_size=full", *noise), tmp_path)
    draws = torch.stack([gradient(run) for _ in range(1500)])
    mean = gradient(started(tiny("gradient_noise=none", *noise), tmp_path))
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - mean).abs() < 6 * error + 1e-7).all()
    assert (error > 0).all()


@pytest.mark.parametrize("batch_size", ["8", "full"])
def test_isotropic_noise_has_a_batchs_power_and_no_direction(tiny: Tiny, tmp_path: Path, batch_size: str) -> None:
    settings = (f"batch_size={batch_size}", "data.label_noise=0.3")
    run = started(tiny("gradient_noise=isotropic", *settings), tmp_path)
    twin = started(tiny(*settings), tmp_path)
    mean = gradient(started(tiny("gradient_noise=none", *settings), tmp_path))
    n = 1000
    noise = torch.stack([gradient(run) - mean for _ in range(n)])
    power = torch.stack([(gradient(twin) - mean).square().sum() for _ in range(n)])
    # The twin sees the same batches, so only z is left to chance; 5 standard errors: false alarms 6e-7.
    difference = noise.square().sum(1) - power
    assert difference.mean().abs() < 5 * difference.std() / math.sqrt(n)
    assert difference.std() / math.sqrt(n) < 0.01 * power.mean()
    # z has unit variance and no correlations: ⟨z_i z_j⟩ has standard error 1/√n, or √(2/n) where i = j; about 20,000
    # pairs, each beyond 6.5 of them with probability below 1e-9 (Gaussian, which the mean of so many nearly is).
    size = noise.shape[1]
    z = noise / (power / size).sqrt()[:, None]
    z = z[:, :: max(1, size // 60)]
    deviation = z.T @ z / n - torch.eye(z.shape[1])
    assert (deviation.abs() < 6.5 * (1 + torch.eye(z.shape[1])).sqrt() / math.sqrt(n)).all()


def test_isotropic_noise_by_hand() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))]
    for p in parameters:
        p.grad = torch.ones_like(p)
    sampled = [torch.tensor([[1.0, 1.0], [1.0, 4.0]]), torch.tensor([1.0, 5.0, 1.0])]  # ‖b − g‖ = 5
    direction = torch.arange(7.0)
    add_isotropic_noise(parameters, sampled, direction)
    found = torch.cat([cast(Tensor, p.grad).flatten() for p in parameters])
    torch.testing.assert_close(found, 1 + direction * 5 / math.sqrt(7))


def test_the_batches_of_isotropic_noise_are_those_of_the_sampled_run(tiny: Tiny, tmp_path: Path) -> None:
    settings = ("data.label_noise=0.3", "data.crop_padding=1", "data.flip=true")
    isotropic = started(tiny("gradient_noise=isotropic", *settings), tmp_path)
    sampled = started(tiny(*settings), tmp_path)
    for _ in range(10):
        one, other = cast(Perturbed, isotropic.loader.next()).sampled, cast(Batch, sampled.loader.next())
        assert torch.equal(first(one.inputs), first(other.inputs))
        assert torch.equal(one.targets, other.targets)


@pytest.mark.parametrize(
    "settings",
    [
        ("optimizer.gradient_clip=0.1",),
        ("batch_size=full", "data.label_noise=0.3", "loss=mse", "data.target_noise=0.1"),
        ("gradient_noise=isotropic", "optimizer={name: adam, lr: 0.01}"),
    ],
)
def test_passes_add_up_to_the_step(tiny: Tiny, tmp_path: Path, settings: tuple[str, ...]) -> None:
    whole = train(tiny(*settings), out=tmp_path / "whole")
    passes = train(tiny(*settings, "micro_batch=3"), out=tmp_path / "passes")
    assert passes.train_loss == pytest.approx(whole.train_loss, rel=1e-4)
    first, second = (RunDirectory(r.directory).metrics()["train_loss"] for r in (whole, passes))
    torch.testing.assert_close(torch.tensor(first), torch.tensor(second), rtol=1e-4, atol=0)


def test_epochs_count_the_examples_of_the_full_gradient(tiny: Tiny, tmp_path: Path) -> None:
    for k, settings in enumerate(["batch_size=full", "gradient_noise=none", "gradient_noise=isotropic"]):
        metrics = RunDirectory(train(tiny(settings, "data.label_noise=0.1"), out=tmp_path / str(k)).directory).metrics()
        assert list(metrics["epoch"]) == list(metrics["step"])


@pytest.mark.parametrize(
    ("settings", "says", "fact"),
    [
        ("gradient_noise=none", "no gradient noise that its neurons could be drawn by", "no gradient noise"),
        ("gradient_noise=isotropic", "is isotropic; probe its twin", "isotropic noise of the power of batches of 8"),
        ("batch_size=full", "is that of full batches; probe its twin", "full batches"),
    ],
)
def test_what_such_runs_are_is_said(tiny: Tiny, settings: str, says: str, fact: str) -> None:
    config = tiny(settings, "max_steps=1")
    assert not config.stackable
    assert _noise(config) == [fact]
    run = RunDirectory(train(config).directory)
    with pytest.raises(InputError, match=says):
        probe_run(run, neurons=1)
    sound = RunDirectory(train(tiny("max_steps=1")).directory)
    assert cli.run(["analyze", str(sound), str(run), "--attractivity"]) == 2
    assert sound.attractivity().empty  # it is said before anything is measured
