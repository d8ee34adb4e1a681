"""Schedules, losses, the optimization step, and what `auto` means on this machine."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from stochastic_collapse.config import (
    AdamSettings,
    ConstantSchedule,
    DecaySchedule,
    MultistepSchedule,
    OptimizerSettings,
    SGDSettings,
    TrainConfig,
)
from stochastic_collapse.data.loader import Batch
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.schedule import learning_rate
from stochastic_collapse.task import Task
from stochastic_collapse.training.execution import resolve, suited_to
from stochastic_collapse.training.losses import LOSSES
from stochastic_collapse.training.objective import Compared
from stochastic_collapse.training.step import TrainingStep, make_optimizer

Tiny = Callable[..., TrainConfig]


def test_warm_up_is_linear_and_then_the_rate_stays() -> None:
    schedule = ConstantSchedule(name="constant", warmup_steps=4)
    assert [learning_rate(schedule, 0.8, step, 10) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]
    )


def test_milestones_drop_the_rate() -> None:
    schedule = MultistepSchedule(name="multistep", milestones=(2, 5), gamma=0.5)
    assert [learning_rate(schedule, 1.0, step, 7) for step in range(7)] == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(("name", "half_way"), [("cosine", 0.55), ("linear", 0.55)])
def test_decays_end_at_the_final_fraction(name: str, half_way: float) -> None:
    schedule = DecaySchedule.model_validate({"name": name, "warmup_steps": 2, "final_fraction": 0.1})
    rates = [learning_rate(schedule, 1.0, step, 13) for step in range(13)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(half_way)
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[2:]))
    quarter = 0.1 + 0.9 * ((1 + math.cos(0.3 * math.pi)) / 2 if name == "cosine" else 0.7)
    assert rates[5] == pytest.approx(quarter)


def test_losses_are_their_formulas() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    noise = torch.randn(6, 4, dtype=torch.float64)
    one_hot = torch.eye(4, dtype=torch.float64)[labels]
    batch = Batch(torch.empty(0), labels, None)
    log_softmax = logits - logits.exp().sum(1, keepdim=True).log()
    torch.testing.assert_close(LOSSES["cross_entropy"](logits, batch), -(one_hot * log_softmax).sum(1).mean())
    torch.testing.assert_close(LOSSES["mse"](logits, batch), ((logits - one_hot) ** 2).mean())
    noisy = batch._replace(target_noise=noise)
    torch.testing.assert_close(LOSSES["mse"](logits, noisy), ((logits - one_hot - noise) ** 2).mean())
    sigmoid = 1 / (1 + (-logits).exp())
    entropy = -(one_hot * sigmoid.log() + (1 - one_hot) * (1 - sigmoid).log()).mean()
    torch.testing.assert_close(LOSSES["bce"](logits, batch), entropy)


def steps(settings: OptimizerSettings, count: int = 5) -> tuple[nn.Linear, list[float]]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    loss_sum = torch.zeros((), dtype=torch.float64)
    step = TrainingStep(
        model,
        make_optimizer(settings, model),
        Compared(LOSSES["mse"], Task((3,), 2)),
        autocast=contextlib.nullcontext,
        gradient_clip=settings.gradient_clip,
        cuda_graph=False,
        loss_sum=loss_sum,
    )
    torch.manual_seed(1)
    losses = []
    for k in range(count):
        before = loss_sum.item()
        step(Batch(torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0]), None), lr=0.1 * (k + 1))
        losses.append(loss_sum.item() - before)
    return model, losses


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_sgd_is_its_recursion(nesterov: bool, clip: float | None) -> None:
    """Momentum, Nesterov, L2 weight decay on biases too, clipping of the whole gradient; the losses are summed."""
    settings = SGDSettings(name="sgd", lr=1, momentum=0.9, weight_decay=0.01, nesterov=nesterov, gradient_clip=clip)
    model, losses = steps(settings)
    torch.manual_seed(0)
    reference = nn.Linear(3, 2).double()
    torch.manual_seed(1)
    parameters = list(reference.parameters())
    momenta = [torch.zeros_like(p) for p in parameters]
    for k in range(5):
        images = torch.randn(4, 3, dtype=torch.float64)
        target = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 0]]
        loss = ((reference(images).float() - target) ** 2).mean()
        assert losses[k] == pytest.approx(loss.item(), rel=1e-5)
        gradients = list(torch.autograd.grad(loss, parameters))
        norm = math.sqrt(sum((g**2).sum().item() for g in gradients))
        factor = min(1.0, clip / norm) if clip else 1.0
        for p, gradient, momentum in zip(parameters, gradients, momenta, strict=True):
            g = factor * gradient + 0.01 * p.detach()
            momentum.mul_(0.9).add_(g)
            p.data -= 0.1 * (k + 1) * (g + 0.9 * momentum if nesterov else momentum)
    for p, q in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_adamw_decays_apart_from_the_gradient() -> None:
    def after_one_step(name: str) -> torch.Tensor:
        model, _ = steps(AdamSettings.model_validate({"name": name, "lr": 1, "weight_decay": 0.1}), count=1)
        return model.weight.detach()

    torch.manual_seed(0)
    start = nn.Linear(3, 2).double().weight.detach()
    # Adam's first step has size lr whatever the gradient; AdamW adds lr·decay of the weight.
    assert ((after_one_step("adam") - start).abs() - 0.1).abs().max() < 1e-5
    assert ((after_one_step("adamw") - start * (1 - 0.1 * 0.1)).abs() - 0.1).abs().max() < 1e-5


def test_auto_is_plain_on_a_cpu(tiny: Tiny) -> None:
    execution = resolve(tiny())
    assert execution.device == torch.device("cpu")
    assert not any((execution.bfloat16, execution.channels_last, execution.compile, execution.cuda_graphs))


def test_channels_last_where_onednn_keeps_to_its_memory(tiny: Tiny) -> None:
    """oneDNN issue 6035; the sweep over shapes found crashes exactly below one vector register of input channels."""

    def suited(width: float, name: str, *settings: str) -> bool:
        config = tiny(f"model={{name: {name}, width: {width}}}", "data.shape=[3,32,32]", "device=cpu", *settings)
        model = build_model(config.model, Task((3, 32, 32), 10))
        return suited_to(model, resolve(config), config, examples=60, has_images=True).channels_last

    assert suited(0.05, "vgg16")  # no stride
    assert suited(0.25, "resnet18")  # 16 channels before the first stride
    assert not suited(0.05, "resnet18")
    assert not suited(0.05, "resnet18", "channels_last=false")
    with pytest.raises(InputError, match="channels_last: true asked for, but this network strides a 1x1 convolution"):
        suited(0.05, "resnet18", "channels_last=true")


def test_what_this_machine_cannot_do_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="cuda_graphs: true needs a CUDA device"):
        resolve(tiny("cuda_graphs=true"))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device: cuda asked for, but PyTorch .* finds no CUDA device here"):
            resolve(tiny("device=cuda"))
    else:
        with pytest.raises(InputError, match="there are"):
            resolve(tiny(f"device=cuda:{torch.cuda.device_count()}"))
