"""Two neurons: steps against torch.optim.SGD with the same noise, the invariant set, and how fast noise leads there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stochastic_collapse import ToyConfig, load_toys, simulate_toy
from stochastic_collapse.toys.engines import torch_students
from stochastic_collapse.toys.problems import data_of, spec_of

Make = Callable[..., ToyConfig]


def test_steps_are_those_of_torchs_optimizer(neurons: Make) -> None:
    """Autograd through nn.GELU, one network after the other, with the noise that the batched steps drew."""
    config = neurons("noise=[0.1, 0.8, 0]", "schedule={name: multistep, milestones: [10]}", "snapshots=[0, 30]")
    spec, data = spec_of(config), data_of(config)
    equations = torch_students.TwoNeurons(spec, data)
    streams = [np.random.default_rng([5, k]) for k in range(3)]
    state = equations.start(streams, range(2))
    drawn = np.zeros((3, 30, 8, 2))
    for k, stream in enumerate(streams):
        equations.draw(k, stream, drawn[k])
    step = equations.stepper(state, range(3), range(2))
    for at in range(30):
        step(torch.from_numpy(drawn[:, at].swapaxes(0, 1)), at)
    x, y = (torch.from_numpy(data[name]) for name in ("x", "y"))
    for k, lr in enumerate(spec["lr"]):
        for trajectory in range(2):
            w_in = torch.tensor([1.0, 0.6], dtype=torch.float64, requires_grad=True)
            w_out = torch.tensor([-0.6, -0.4], dtype=torch.float64, requires_grad=True)
            optimizer = torch.optim.SGD([w_in, w_out], lr=lr, momentum=0.9)
            for at in range(30):
                if at == 10:
                    optimizer.param_groups[0]["lr"] = lr / 10
                optimizer.zero_grad()
                output = torch.nn.functional.gelu(x[:, None] * w_in) @ w_out
                (0.5 * ((output - y - torch.from_numpy(drawn[k, at, :, trajectory])) ** 2).mean()).backward()
                optimizer.step()
            expected = torch.cat([w_in, w_out]).detach().numpy()
            assert state[:4, k, trajectory].numpy() == pytest.approx(expected, rel=1e-10)
    assert drawn[1].std() == pytest.approx(0.8, rel=0.15)  # 480 normals: 5 standard errors


def test_equal_neurons_stay_equal(neurons: Make, tmp_path: Path) -> None:
    """The permutation invariant set, which SGD cannot leave but for rounding, different at the ends of vectors."""
    config = neurons("problem.w_in=[0.7, 0.7]", "problem.w_out=[-0.3, -0.3]", "snapshots=[0, 300]")
    state = simulate_toy(config, "torch", out=tmp_path / "run").state
    assert np.abs(state[..., 0] - state[..., 1]).max() < 1e-13
    assert np.abs(state[..., 2] - state[..., 3]).max() < 1e-13
    assert not np.any(state[:, 1, :, 0] == state[:, 0, :, 0])


def test_a_vanished_neuron_stays_vanished(neurons: Make, tmp_path: Path) -> None:
    """The sign invariant set."""
    config = neurons("problem.w_in=[1, 0]", "problem.w_out=[-0.6, 0]", "snapshots=[0, 300]")
    state = simulate_toy(config, "torch", out=tmp_path / "run").state
    assert not np.any(state[..., [1, 3]])


def test_more_noise_and_larger_steps_merge_the_neurons_faster(tmp_path: Path) -> None:
    """The settings of the figure, 3,000 steps: the distance falls from setting to setting by a factor of 2 or more."""
    (config,) = load_toys("configs/toys/two_neurons.yaml", ["snapshots=[0, 3000]"])
    run = simulate_toy(config, "torch", out=tmp_path / "run")
    end = run.state[:, -1]
    squares = ((end[..., 0:4:2] - end[..., 1:4:2]) ** 2).sum(axis=-1)
    distance = np.exp(np.log(squares + 1e-40).mean(axis=-1))
    rates, noise = distance[:5], distance[[5, 0, 6, 7, 8]]
    assert np.all(rates[1:] < rates[:-1] / 2)
    assert np.all(noise[2:] < noise[1:-1] / 2)
    assert noise[1] < noise[0]
