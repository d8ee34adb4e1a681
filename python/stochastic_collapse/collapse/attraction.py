"""Does the theory predict that SGD is attracted to an invariant set of this network? (`attractivity`)

**Model.** SGD with learning rate η, momentum μ and batch size B is modelled, in the time η̂·steps, by the SDE
dθ = −∇L dt + √(2D) dB with D(θ) = (η̂/2B) Cov_i(∇ℓ_i(θ)), η̂ = η/(1 − μ) (paper §2). Beside an invariant set (paper
§3) let u ∈ R^d be the displacement normal to it. All normal gradients vanish at u = 0, so ∇ℓ_i ≈ H_i u, and u obeys a
linear equation with multiplicative noise: with κ = η̂/B, H̄ the mean of the H_i, δ the weight decay and ξ_i independent
white noises over the n examples

    du = −(H̄ + δ) u dt + √(κ/n) Σ_i (H_i − H̄) u dξ_i.                                                    (1)

**One direction.** Itô's formula for r = ‖u‖ at u = r s gives d log r = −α(s) dt + martingale with

    α(s) = L''(s) + D''(s)/2,   L''(s) = ⟨s, H̄ s⟩ + δ,   D''(s) = κ (2 Var_i ⟨s, H_i s⟩ − tr Cov_i(H_i s)).      (2)

In one dimension this is the paper's attractivity α = L''(0) + D''(0)/2 (paper §4, collapsing condition α > 0). In more
dimensions noise along s draws u in and noise across s drives it away; so D'' is an *effective* curvature of the
diffusion, and may be negative.

**The set.** The direction s is itself a diffusion on the sphere, driven by (1), and u → 0 if and only if the top
Lyapunov exponent is negative; by Furstenberg's and Khasminskii's formula (Khasminskii 1967; Arnold, Random Dynamical
Systems, 1998, ch. 6) the exponent is −α with α the mean of α(s) over the stationary distribution of s. In the
single-neuron model s settles at (1, 1)/√2 and −α is λ₊ of Theorem 5.1 (`theory.single_neuron_exponents`).

Two directions are reported. *leading*: the mean over the directions that (1) visits, found by simulating s (Euler–
Maruyama; without noise for a quarter of the steps, and with the second quarter left out too): the fate of a small
displacement if all other weights stood still. *present*: α(s) along the network's own displacement: the rate at which
it approaches the set now. In a network in training the two can differ in sign: the leading direction is that of the
momentary mean gradient, which changes before it is followed.

**Limits.** (1) holds where a step changes u little, and so does a time of η̂/(1 − μ), the memory of momentum: that is,
where |L''| and |D''| times η̂/(1 − μ) are small. (Single neuron, D'' = 0.16, η̂ = 0.4: α agrees with simulated SGD at μ
= 0.5, and is 3 times too large at μ = 0.9, where that product is 0.6.) Batches are drawn independently, dropout is off,
gradient clipping is left out. All noise is white, as if no other weight moved: where the rest of a network follows the
noise of the labels, as students do that can fit them, it is not (`noise_flow`). The H_i are one-sided derivatives where
the loss has a kink. The n examples stand for the distribution: few of them in many dimensions make the leading
direction look more repelling than it is, which its standard error leaves out. (In a network of 4 neurons, n = 300,
alpha ± 2 errors held the truth in 93 % of 40 trials where drift ruled, in 80 % where noise was comparable.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..neurons import NeuronLayer, neuron_vectors, trace
from ..runs import ATTRACTIVITY
from .normal import Examples, Loss, NormalGradients, NotInvariant, Place
from .similarity import normalized_distance

# A step of the direction turns it by at most about this much, by drift, and in mean square by noise.
_TURN, _SQUARE_TURN = 0.25, 0.1
_BATCHES = 5  # of visited directions, for the error of their average


def attractivity(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | Sequence[Tensor],
    *,
    lr: float,
    batch_size: int,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    loss: Loss = functional.cross_entropy,
    layers: Sequence[NeuronLayer] | None = None,
    neurons: int | Mapping[str, Sequence[int]] = 8,
    pairs: int | Mapping[str, Sequence[tuple[int, int]]] = 8,
    steps: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Predict for neurons and pairs of neurons whether SGD is attracted to their invariant sets.

    A neuron's sign set is where its incoming weights, bias and outgoing weights are zero; a pair's permutation set is
    where those of one equal those of the other. The mathematics is in this module's docstring.

    `inputs` (n, …) and `targets` (n, …), or several such tensors, are n independent draws of what one unit of a batch
    of `batch_size` is: examples, with the augmentation and label noise of training. The noise is that of their
    gradients, nothing else. Where a step of SGD takes the whole data set with fresh label noise, such a unit is a noisy
    copy of the data set, and `batch_size` is 1. `loss(output, *targets)` is called with one unit at a time, with a
    first axis of 1. `lr` and `momentum` count as the effective learning rate lr/(1 − momentum); `weight_decay` is an
    L2 penalty's.

    `layers` describes the neurons (default: those that tracing finds, see `neurons.trace`). `neurons` and `pairs` say
    how many to examine in each layer, those nearest to their sets, or name them by layer. `steps` directions are
    visited for the leading one: hundreds where noise and drift are alike, as in the toy models, 50 where drift rules,
    as in most networks; with 0 only the present one is examined. `seed` drives that simulation. `progress(done, total)`
    is called after each neuron or pair.

    The table has a row of `direction` present (none where the displacement is zero) and one of `direction` leading for
    each neuron or pair: layer, set (sign, permutation), neuron, partner (−1 in a sign set), distance (of the neuron
    ‖w_i‖/max_j ‖w_j‖, of the pair the normalized distance), drift L'', diffusion D'', alpha = drift + diffusion/2,
    standard_error, verdict. −alpha is the rate at which log distance grows, per unit of the time (effective lr)·steps.
    The verdict is attracted or repelled where alpha is more than two standard errors above or below 0, else undecided;
    or not invariant, with no numbers, for what has no invariant set (a sign set needs φ(0) = 0, and is none under layer
    normalization), which is checked numerically.
    The standard error combines that of the n examples as a sample (delta method: each one's linear influence on alpha
    at the directions visited) and that of the simulation (batch means).

    Works on the device of the model, in double precision; costs steps × n gradients for each neuron or pair. Raises
    `InputError` for values out of range, for a network that cannot be traced, for batch normalization,
    and for neurons or pairs that were named and have no invariant set.
    """
    _check(lr, batch_size, momentum, weight_decay, steps)
    examples = Examples(model, inputs, [targets] if isinstance(targets, Tensor) else targets, loss)
    if layers is None:
        layers = trace(examples.model, examples.inputs).layers
    places = list(_places(examples, layers, neurons, pairs))
    noise = lr / (1 - momentum) / batch_size
    rows: list[dict[str, Any]] = []
    for done, (place, distance) in enumerate(places, start=1):
        gradients = NormalGradients(examples, place)
        generator = torch.Generator().manual_seed(seed)
        start, is_present = _start(gradients.displacement, generator)
        neuron, partner = (*place.members, -1)[:2]
        which: dict[str, Any] = {"layer": place.layer.name, "set": "sign" if partner < 0 else "permutation"}
        which.update(neuron=neuron, partner=partner, distance=distance)
        try:
            gradients.check_invariance(start)
        except NotInvariant:
            if not isinstance(neurons if partner < 0 else pairs, int):  # asked for by name
                raise
            rows.append({**which, "direction": "present" if is_present else "leading", "verdict": "not invariant"})
        else:
            for direction, estimate in _estimates(gradients, start, noise, weight_decay, steps, generator):
                if direction == "leading" or is_present:
                    rows.append({**which, "direction": direction} | estimate)
        if progress is not None:
            progress(done, len(places))
    return pd.DataFrame(rows, columns=[column for column in ATTRACTIVITY if column != "step"])


# --- which neurons and pairs ----------------------------------------------------------------------------------------


def _places(
    examples: Examples,
    layers: Sequence[NeuronLayer],
    neurons: int | Mapping[str, Sequence[int]],
    pairs: int | Mapping[str, Sequence[tuple[int, int]]],
) -> Iterator[tuple[Place, float]]:
    """The places to examine, each with its distance from its invariant set."""
    names = [layer.name for layer in layers]
    for chosen in (neurons, pairs):
        unknown = [] if isinstance(chosen, int) else [name for name in chosen if name not in names]
        if unknown:
            raise InputError(f"no layer {unknown[0]!r}; the layers are {', '.join(names)}")
        if isinstance(chosen, int) and chosen < 0:
            raise InputError(f"expected a number of neurons or pairs of 0 or more, found {chosen}")
    for layer in layers:
        w = neuron_vectors(examples.parameters, layer)
        pair_distance = normalized_distance(w)
        norms = w.norm(dim=1)
        norms = norms / norms.max().clamp(min=torch.finfo(norms.dtype).tiny)
        if isinstance(neurons, int):
            singles = norms.argsort(stable=True)[:neurons].tolist()
        else:
            singles = list(neurons.get(layer.name, ()))
        if isinstance(pairs, int):
            i, j = torch.triu_indices(len(w), len(w), offset=1, device=w.device)
            nearest = pair_distance[i, j].argsort(stable=True)[:pairs]
            couples = list(zip(i[nearest].tolist(), j[nearest].tolist(), strict=True))
        else:
            couples = [(i, j) for i, j in pairs.get(layer.name, ())]
        for k in singles:
            place = Place(layer, (k,))
            _check_members(place, len(w))
            yield place, float(norms[k])
        for i, j in couples:
            place = Place(layer, (i, j))
            _check_members(place, len(w))
            yield place, float(pair_distance[i, j])


def _check_members(place: Place, neurons: int) -> None:
    if not all(0 <= k < neurons for k in place.members) or len(set(place.members)) < len(place.members):
        raise InputError(f"{place}: expected different neurons between 0 and {neurons - 1}")


# --- the estimate ---------------------------------------------------------------------------------------------------


def _start(displacement: Tensor, generator: torch.Generator) -> tuple[Tensor, bool]:
    """The unit vector along `displacement` and True; where that is zero a random one and False."""
    is_present = bool(displacement.norm() > 0)
    if not is_present:
        displacement = torch.randn(len(displacement), generator=generator, dtype=torch.float64).to(displacement.device)
    return displacement / displacement.norm(), is_present


def _estimates(
    gradients: NormalGradients,
    s: Tensor,
    noise: float,
    weight_decay: float,
    steps: int,
    generator: torch.Generator,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The estimates in the present direction `s`, and in the leading one if `steps` > 0; `noise` is κ of (1)."""
    visited = []
    largest_drift = 0.0
    for step in range(max(1, steps)):
        g = gradients.along(s)
        mean = g.mean(dim=0)
        deviation = g - mean
        visited.append(_terms(g, deviation, s, noise))
        if step == 0:
            yield "present", _estimate(visited, weight_decay)
        scatter = noise * float(deviation.square().sum()) / len(g)
        largest_drift = max(largest_drift, float(mean.norm()))
        if max(scatter, largest_drift) == 0:  # no gradient at all: every direction is like this one
            break
        time = 1 / max(largest_drift / _TURN, scatter / _SQUARE_TURN)
        s = s - time * mean
        if step >= steps // 4:  # without noise it is near the leading direction soon, from any start
            draws = torch.randn(len(g), generator=generator, dtype=torch.float64).to(g.device)
            s = s + math.sqrt(time * noise / len(g)) * (draws @ deviation)
        s = s / s.norm()
    if steps:
        yield "leading", _estimate(visited[len(visited) // 2 :], weight_decay)


def _terms(g: Tensor, deviation: Tensor, s: Tensor, noise: float) -> Tensor:
    """(2, n) terms of the examples whose means are L'' (less weight decay) and D'' of (2) in direction `s`."""
    return torch.stack([g @ s, noise * (2 * (deviation @ s).square() - deviation.square().sum(dim=1))])


def _estimate(visited: Sequence[Tensor], weight_decay: float) -> dict[str, Any]:
    """Averages over the visited directions and the examples."""
    terms = torch.stack(list(visited))  # (directions, 2, n)
    drift, diffusion = terms.mean(dim=(0, 2)).tolist()
    drift += weight_decay
    alpha = drift + diffusion / 2
    # The examples' terms are their linear influences on alpha: centring the gradients adds none to first order.
    influence = (terms[:, 0] + terms[:, 1] / 2).mean(dim=0)
    variance = float(influence.var()) / len(influence)
    batches = (terms[:, 0] + terms[:, 1] / 2).mean(dim=1).tensor_split(min(_BATCHES, len(terms)))
    if len(batches) > 1:
        variance += float(torch.stack([batch.mean() for batch in batches]).var()) / len(batches)
    error = math.sqrt(variance)
    if not math.isfinite(alpha + error):
        raise InputError("the gradients of this network on these examples are not finite")
    verdict = "attracted" if alpha > 2 * error else "repelled" if alpha < -2 * error else "undecided"
    return {"drift": drift, "diffusion": diffusion, "alpha": alpha, "standard_error": error, "verdict": verdict}


def _check(lr: float, batch_size: int, momentum: float, weight_decay: float, steps: int) -> None:
    for name, value, fits, expected in (
        ("lr", lr, 0 < lr < math.inf, "a number above 0"),
        ("batch_size", batch_size, batch_size >= 1, "1 or more"),
        ("momentum", momentum, 0 <= momentum < 1, "a number from 0 to below 1"),
        ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or more"),
        ("steps", steps, steps >= 0, "0 or more"),
    ):
        if not fits:
            raise InputError(f"{name}: expected {expected}, found {value}")
