"""Attractivity: against the closed forms, brute force, a quadrature and simulated SGD; its errors; its refusals."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stochastic_collapse import attractivity, theory
from stochastic_collapse.collapse.normal import Examples, NormalGradients, Place
from stochastic_collapse.config import MLPSettings, ResNetSettings, VGGSettings, ViTSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import NeuronLayer, Part, neuron_vectors, trace
from stochastic_collapse.task import Task

Array = npt.NDArray[np.float64]


class Toy(nn.Module):
    """ŷ = Σ_k out_k φ(into_k x) for scalars x: the single-neuron and the two-neuron model."""

    def __init__(self, into: list[float], out: list[float], act: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.tensor(into, dtype=torch.float64)[:, None])
        self.out = nn.Parameter(torch.tensor(out, dtype=torch.float64)[None])
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        predicted: Tensor = self.act(x[..., None] @ self.into.T) @ self.out.T
        return predicted[..., 0]


def half_mse(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean() / 2


def toy_data(m: int = 8) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=m)
    return x, x + 0.1 * rng.normal(size=m)


def noisy_copies(x: Array, y: Array, zeta: float, times: int = 1) -> tuple[Tensor, Tensor]:
    """Copies of the data with label noise of exactly zero mean and covariance ζ²m, as in the single neuron's SDE."""
    m = len(x)
    noise = zeta * m * torch.cat([torch.eye(m), -torch.eye(m)]).double().repeat(times, 1)
    return torch.tensor(x).expand(len(noise), m), torch.tensor(y) + noise


def examine(model: nn.Module, data: tuple[Tensor, Tensor], direction: str = "leading", **options: Any) -> Any:
    """The one row of one neuron or pair in `direction`."""
    neurons = len(next(model.parameters()))
    hidden = NeuronLayer("hidden", neurons, (Part("into", (0,)),), (Part("out", (1,)),))
    options = {"batch_size": 1, "loss": half_mse, "layers": [hidden], **options}
    table = attractivity(model, *data, **options)
    (row,) = table[table["direction"] == direction].itertuples()
    return row


# --- closed forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "verdict"), [(0.5, "repelled"), (0.95, None), (1.05, None), (2.0, "attracted")])
def test_single_neuron_agrees_with_theorem_5_1(ratio: float, verdict: str | None) -> None:
    x, y = toy_data()
    eta = 2 * ratio * theory.single_neuron_threshold(x, y)  # ηζ²φ'(0)/2 is `ratio` thresholds
    row = examine(Toy([0.03], [-0.01]), noisy_copies(x, y, 1.0, times=8), lr=eta, pairs=0)
    assert row.alpha == pytest.approx(-theory.single_neuron_exponents(x, y, eta)[0], rel=0.06, abs=2e-3)
    assert (row.alpha > 0) == (ratio > 1)
    if verdict is not None:
        assert row.verdict == verdict


@pytest.mark.parametrize(("ratio", "verdict"), [(0.5, "repelled"), (2.0, "attracted")])
def test_two_neurons_agree_with_the_closed_form(ratio: float, verdict: str) -> None:
    """Where the outgoing weights cancel, H_i = −y_i z_i (0 1; 1 0), z = φ'(a x) x: a single neuron with data z, y."""
    x, y = toy_data()
    a = torch.tensor(0.7 * x, requires_grad=True)
    (slope,) = torch.autograd.grad(functional.gelu(a).sum(), a)
    z = slope.numpy() * x
    eta = 2 * ratio * theory.single_neuron_threshold(z, y)
    model = Toy([0.72, 0.68], [0.01, -0.01], functional.gelu)
    row = examine(model, noisy_copies(x, y, 1.0, times=8), lr=eta, neurons=0)
    assert (row.set, row.neuron, row.partner) == ("permutation", 0, 1)
    assert row.alpha == pytest.approx(-theory.single_neuron_exponents(z, y, eta)[0], rel=0.02)
    assert row.verdict == verdict


def exponent_in_the_plane(drift: Array, noises: list[Array], points: int = 256) -> float:
    """Top Lyapunov exponent of du = A u dt + Σ B_k u dW_k from the stationary density of u's angle (Khasminskii)."""
    angle = np.arange(points) * np.pi / points
    s, p = np.stack([np.cos(angle), np.sin(angle)]), np.stack([-np.sin(angle), np.cos(angle)])

    def form(left: Array, matrix: Array, right: Array) -> Array:
        return np.asarray(np.einsum("in,ij,jn->n", left, matrix, right))

    along, across = [form(s, b, s) for b in noises], [form(p, b, s) for b in noises]
    turn = form(p, drift, s) - np.sum([a * c for a, c in zip(along, across, strict=True)], axis=0)
    growth = form(s, drift, s) + np.sum([c**2 - a**2 for a, c in zip(along, across, strict=True)], axis=0) / 2
    k = 2j * np.fft.fftfreq(points, 1 / points)[:, None]
    derivative = np.fft.ifft(k * np.fft.fft(np.eye(points), axis=0), axis=0).real
    second = np.fft.ifft(k**2 * np.fft.fft(np.eye(points), axis=0), axis=0).real
    fokker_planck = -derivative @ np.diag(turn) + second @ np.diag(np.sum(np.square(across), axis=0)) / 2
    system = np.vstack([fokker_planck, np.ones(points)])
    density = np.linalg.lstsq(system, np.append(np.zeros(points), 1.0), rcond=None)[0]
    return float(density @ growth)


def test_two_neurons_agree_with_a_quadrature_where_the_hessians_do_not_commute() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=8), rng.normal(size=8)
    into, out, sigma = 0.8, -0.5, 0.8
    z = torch.tensor(into * x, requires_grad=True)
    value = functional.gelu(z)
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    f, f1, f2 = value.detach().numpy(), first.detach().numpy(), second.numpy()
    shapes = [np.array([[out * f2[i] * x[i] ** 2, f1[i] * x[i]], [f1[i] * x[i], 0.0]]) / 8 for i in range(8)]
    drift = -np.sum([r * shape for r, shape in zip(2 * out * f - y, shapes, strict=True)], axis=0)
    expected = -exponent_in_the_plane(drift, [sigma * shape for shape in shapes])
    model = Toy([into + 0.01, into - 0.01], [out + 0.01, out - 0.01], functional.gelu)
    row = examine(model, noisy_copies(x, y, sigma / 8**0.5), lr=1.0, neurons=0, steps=400)
    assert row.alpha == pytest.approx(expected, abs=0.01)
    assert abs(row.diffusion) > 0.04  # so that the agreement is not the drift's alone


# --- brute force ----------------------------------------------------------------------------------------------------


def small_network(act: nn.Module) -> tuple[nn.Sequential, NeuronLayer, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), act, nn.Linear(4, 2)).double()
    layer = NeuronLayer("hidden", 4, (Part("0.weight", (0,)), Part("0.bias", (0,))), (Part("2.weight", (1,)),))
    return model, layer, torch.randn(5, 3).double(), torch.randn(5, 2).double()


def example_losses(model: nn.Sequential, rows: dict[int, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(n,) losses with whole vectors of neurons written over, by plain assignment."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for k, vector in rows.items():
            first, last = model[0], model[2]
            assert isinstance(first, nn.Linear)
            assert isinstance(last, nn.Linear)
            first.weight[k], first.bias[k], last.weight[:, k] = vector[:3], vector[3], vector[4:]
        return (model(x) - y).square().mean(dim=1) / 2


@pytest.mark.parametrize("act", [nn.Tanh(), nn.GELU()])
@pytest.mark.parametrize("members", [(1,), (0, 2)])
def test_agrees_with_finite_differences_of_the_loss(act: nn.Module, members: tuple[int, ...]) -> None:
    model, layer, x, y = small_network(act)
    w = neuron_vectors(dict(model.named_parameters()), layer)
    base = torch.zeros(6).double() if len(members) == 1 else (w[0] + w[2]) / 2
    signs = [1.0] if len(members) == 1 else [0.5**0.5, -(0.5**0.5)]

    def losses(u: Tensor) -> Tensor:
        return example_losses(model, {k: base + c * u for k, c in zip(members, signs, strict=True)}, x, y)

    h, unit = 1e-3, torch.eye(6).double()
    hessians = torch.empty(5, 6, 6).double()
    for k, j in itertools.product(range(6), repeat=2):
        quads = [a * b * losses(h * (a * unit[k] + b * unit[j])) for a in (1, -1) for b in (1, -1)]
        hessians[:, k, j] = torch.stack(quads).sum(dim=0) / (4 * h**2)
    u = w[1] if len(members) == 1 else (w[0] - w[2]) / 2**0.5
    s = u / u.norm()
    gradients = NormalGradients(Examples(model, x, [y], half_mse), Place(layer, members)).along(s)
    torch.testing.assert_close(gradients, hessians @ s, rtol=1e-4, atol=1e-5)

    vectors = (hessians @ s).numpy()
    radial = vectors @ s.numpy()
    kappa = 0.3 / (1 - 0.5) / 4
    diffusion = kappa * (2 * radial.var() - np.trace(np.cov(vectors.T, bias=True)))
    chosen: dict[str, Any] = (
        {"neurons": {"hidden": [1]}, "pairs": 0} if len(members) == 1 else {"neurons": 0, "pairs": {"hidden": [(0, 2)]}}
    )
    row = examine(
        model, (x, y), "present", lr=0.3, momentum=0.5, batch_size=4, weight_decay=0.01, layers=[layer], **chosen
    )
    assert row.drift == pytest.approx(radial.mean() + 0.01, rel=1e-3, abs=1e-6)
    assert row.diffusion == pytest.approx(diffusion, rel=1e-3, abs=1e-6)
    assert row.alpha == pytest.approx(row.drift + row.diffusion / 2)


@pytest.mark.parametrize(("layer", "members"), [(1, (0,)), (3, (0, 1)), (12, (1,)), (12, (0, 1))])
def test_convolutions_and_pooling_agree_with_plain_gradients(layer: int, members: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = build_model(VGGSettings(name="vgg16", width=0.05), Task((3, 32, 32), 3)).double()
    images, labels = torch.randn(2, 3, 32, 32).double(), torch.tensor([0, 2])
    place = Place(trace(model, images).layers[layer], members)
    gradients = NormalGradients(Examples(model, images, [labels], functional.cross_entropy), place)
    s = gradients.displacement / gradients.displacement.norm()
    found = gradients.along(s)

    moved = copy.deepcopy(model)
    parameters, step = dict(moved.named_parameters()), 1e-6
    w = neuron_vectors(parameters, place.layer)
    base = w[list(members)].mean(dim=0) * (len(members) - 1)
    signs = [1.0] if len(members) == 1 else [0.5**0.5, -(0.5**0.5)]
    for k, c in zip(members, signs, strict=True):
        rest = base + c * step * s
        for part in place.layer.parts:
            target = part.view(parameters[part.parameter].data)[k]
            target.copy_(rest[: target.numel()].reshape(target.shape))
            rest = rest[target.numel() :]
    for image, label, expected in zip(images, labels, found, strict=True):
        moved.zero_grad()
        functional.cross_entropy(moved(image[None]), label[None]).backward()
        rows = neuron_vectors({name: p.grad for name, p in parameters.items() if p.grad is not None}, place.layer)
        normal = sum((c * rows[k] for k, c in zip(members, signs, strict=True)), torch.zeros(()))
        torch.testing.assert_close(normal / step, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


# --- simulated SGD --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lr", "momentum"), [(0.05, 0.0), (0.4, 0.0), (0.2, 0.5)])
def test_simulated_sgd_near_the_set_does_what_is_predicted(lr: float, momentum: float) -> None:
    """Mini-batches of 1 from 32 points: 500 runs of SGD on the single neuron, written out, from |w| about 1e-6."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=32)
    y = rng.normal(size=32)
    y += (0.04 - x @ y / (x @ x)) * x  # 0.04 is then the least-squares slope, and the threshold at lr 0.17
    data = torch.tensor(x)[:, None], torch.tensor(y)[:, None]
    row = examine(Toy([0.01], [0.01]), data, lr=lr, momentum=momentum, pairs=0, steps=100)

    duration = 100.0
    steps = round(duration / (lr / (1 - momentum)))
    w = 1e-6 * (1 + 0.1 * rng.normal(size=(500, 2)))
    velocity = np.zeros_like(w)
    start = np.linalg.norm(w, axis=1)
    for _ in range(steps):
        i = rng.integers(32, size=500)
        hidden = np.tanh(w[:, 0] * x[i])
        residual = w[:, 1] * hidden - y[i]
        gradient = np.stack([residual * w[:, 1] * (1 - hidden**2) * x[i], residual * hidden], axis=1)
        velocity = momentum * velocity + gradient
        w = w - lr * velocity
    growth = np.log(np.linalg.norm(w, axis=1) / start)
    shrunk = (growth < 0).mean()
    assert row.alpha * (shrunk - 0.5) > 0.2 * abs(row.alpha)
    assert (row.alpha > 0) == (lr / (1 - momentum) > 0.2)
    error = growth.std() / 500**0.5
    assert growth.mean() == pytest.approx(-row.alpha * duration, abs=0.25 * abs(row.alpha) * duration + 3 * error)


# --- standard errors ------------------------------------------------------------------------------------------------


def test_the_standard_error_covers_the_truth() -> None:
    """Of 100 samples about 95 hold the truth within 2 errors; fewer than 88 or all 100 has a chance below 1 %.

    The displacement lies along the leading direction (1, 1), so that the closed form is the truth of both directions.
    """
    x, y = toy_data()
    eta = 2.5 * theory.single_neuron_threshold(x, y)
    truth = -theory.single_neuron_exponents(x, y, eta)[0]
    covered = 0
    for k in range(100):
        noise = 8**0.5 * torch.randn(150, 8, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        data = torch.tensor(x).expand(150, 8), torch.tensor(y) + noise
        row = examine(Toy([0.01], [0.01]), data, "present", lr=eta, pairs=0, steps=0)
        covered += abs(row.alpha - truth) < 2 * row.standard_error
    assert 88 <= covered < 100


def test_the_verdict_is_a_matter_of_two_errors() -> None:
    x, y = toy_data()
    for ratio in (0.5, 1.01, 3.0):
        eta = 2 * ratio * theory.single_neuron_threshold(x, y)
        row = examine(Toy([0.01], [0.01]), noisy_copies(x, y, 1.0), lr=eta, pairs=0, steps=10)
        z = row.alpha / row.standard_error
        assert row.verdict == ("attracted" if z > 2 else "repelled" if z < -2 else "undecided")


# --- built-in networks and refusals -----------------------------------------------------------------------------------


def images_and_labels(n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 4, 4, generator=generator), torch.randint(3, (n,), generator=generator)


def mlp(act: str = "gelu") -> nn.Module:
    torch.manual_seed(0)
    model = build_model(
        MLPSettings.model_validate({"name": "mlp", "widths": (6, 5), "activation": act}), Task((1, 4, 4), 3)
    )
    nn.init.normal_(model.get_parameter("fc1.bias"))
    return model


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_a_built_in_network(act: str) -> None:
    model = mlp(act)
    before = copy.deepcopy(model.state_dict())
    seen: list[tuple[int, int]] = []
    table = attractivity(
        model,
        *images_and_labels(),
        lr=0.1,
        batch_size=4,
        neurons=2,
        pairs=1,
        steps=6,
        progress=lambda *done: seen.append(done),
    )
    assert list(table.columns)[:6] == ["layer", "set", "neuron", "partner", "distance", "direction"]
    counts = table.groupby(["layer", "set", "direction"]).size()
    assert counts.to_dict() == {
        (layer, kind, direction): number
        for layer in ("fc1", "fc2")
        for kind, number in (("sign", 2), ("permutation", 1))
        for direction in ("present", "leading")
    }
    assert seen == [(k, 6) for k in range(1, 7)]
    assert np.isfinite(table[["alpha", "standard_error"]]).all(axis=None)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_the_nearest_are_examined_and_a_neuron_at_zero_has_no_present_direction() -> None:
    model = mlp()
    with torch.no_grad():
        for name in ("fc1.weight", "fc1.bias"):
            model.get_parameter(name)[3] = 0
        model.get_parameter("fc2.weight")[:, 3] = 0
    table = attractivity(model, *images_and_labels(), lr=0.1, batch_size=4, neurons=2, pairs=0, steps=4)
    nearest = table[table["layer"] == "fc1"]
    assert nearest["neuron"].tolist()[0] == 3
    assert nearest["direction"].tolist() == ["leading", "present", "leading"]
    assert nearest["distance"].is_monotonic_increasing


def test_without_gradients_weight_decay_alone_attracts() -> None:
    model = Toy([0.5], [0.5])
    row = examine(model, (torch.zeros(4, 1).double(), torch.zeros(4, 1).double()), lr=0.1, weight_decay=0.01, pairs=0)
    assert (row.alpha, row.standard_error, row.verdict) == (0.01, 0.0, "attracted")


@pytest.mark.parametrize(("act", "invariant"), [(torch.tanh, True), (functional.gelu, True), (torch.sigmoid, False)])
def test_sign_sets_need_an_activation_through_the_origin(act: Callable[[Tensor], Tensor], invariant: bool) -> None:
    data = torch.randn(6, 1).double(), torch.randn(6, 1).double()
    model = Toy([0.5, 0.3], [0.5, -0.4], act)
    assert isinstance(examine(model, data, lr=0.1, neurons=0, steps=4).alpha, float)  # the permutation set always is
    if invariant:
        examine(model, data, lr=0.1, neurons={"hidden": [1]}, pairs=0, steps=4)
    else:
        with pytest.raises(InputError, match="layer hidden, neuron 1: not an invariant set"):
            examine(model, data, lr=0.1, neurons={"hidden": [1]}, pairs=0)


def test_what_has_no_invariant_set_is_a_row_that_says_so() -> None:
    """Heads and hidden neurons of attention blocks have both sets, a residual stream under LayerNorm no sign set."""
    torch.manual_seed(0)
    task = Task((1, 8, 8), 3)
    model = build_model(ViTSettings(name="vit", patch=4, dim=8, depth=1, heads=2), task)
    x, y = torch.randn(6, 1, 8, 8), torch.randint(3, (6,))
    table = attractivity(model, x, y, lr=0.1, batch_size=2, neurons=1, pairs=1, steps=3)
    told = table[table["verdict"] == "not invariant"]
    assert list(zip(told["layer"], told["set"], strict=True)) == [("stream", "sign")]
    assert told[["drift", "diffusion", "alpha", "standard_error"]].isna().all(axis=None)
    rest = table[table["verdict"] != "not invariant"]
    assert len(rest) == 2 * 5  # two directions of a head, a hidden neuron, a pair of each, and a pair of the stream
    assert rest["alpha"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr: expected a number above 0, found 0.0"),
        ({"lr": math.nan}, "lr: expected"),
        ({"batch_size": 0}, "batch_size: expected 1 or more"),
        ({"momentum": 1.0}, "momentum: expected"),
        ({"weight_decay": -1.0}, "weight_decay: expected"),
        ({"steps": -1}, "steps: expected"),
        ({"neurons": -1}, "a number of neurons or pairs of 0 or more"),
        ({"neurons": {"fc9": [0]}}, "no layer 'fc9'; the layers are fc1, fc2"),
        ({"neurons": {"fc1": [6]}}, "layer fc1, neuron 6: expected different neurons between 0 and 5"),
        ({"pairs": {"fc1": [(2, 2)]}}, "layer fc1, neurons 2 and 2: expected different neurons"),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attractivity(mlp(), *images_and_labels(), **{"lr": 0.1, "batch_size": 4, **options})


def test_networks_that_cannot_be_probed_are_refused() -> None:
    images, labels = images_and_labels()
    with pytest.raises(InputError, match="as many inputs as targets; found 12, 11"):
        attractivity(mlp(), images, labels[:-1], lr=0.1, batch_size=4)
    with pytest.raises(InputError, match="cannot be traced"):
        attractivity(nn.Linear(2, 2), torch.zeros(3, 5), torch.zeros(3).long(), lr=0.1, batch_size=4)
    resnet = build_model(ResNetSettings(name="resnet18", width=0.05), Task((1, 8, 8), 3))
    with pytest.raises(InputError, match="batch normalization mixes the examples"):
        attractivity(resnet, torch.zeros(3, 1, 8, 8), labels[:3], lr=0.1, batch_size=4)
    broken = mlp()
    nn.init.constant_(broken.get_parameter("fc1.weight"), math.nan)
    with pytest.raises(InputError, match="NaN or infinite"):
        attractivity(broken, images, labels, lr=0.1, batch_size=4)


def test_the_table_is_the_same_again() -> None:
    options: dict[str, Any] = {"lr": 0.1, "batch_size": 4, "neurons": 1, "pairs": 1, "steps": 8}
    first, second = (attractivity(mlp(), *images_and_labels(), **options) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
