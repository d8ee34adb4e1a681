"""What has no neurons that could be exchanged is not claimed: it is skipped, with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from stochastic_collapse.neurons import neuron_vectors, operators, trace

from .kinds import Apply
from .test_trace import network


def between(function: Callable[[Tensor], Tensor], read: int = 6) -> Callable[[], nn.Module]:
    """A layer of 6 neurons, `function` of its activations (batch, 6), and a layer that reads `read` numbers."""
    return lambda: Apply(lambda m, x: m.head(function(m.stem(x))), stem=nn.Linear(3, 6), head=nn.Linear(read, 2))


def _lstm(m: Any, x: Tensor) -> Tensor:
    return m.head(m.lstm(m.stem(x)[None])[0][0])


def _positions(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.relu(m.stem(x) + m.table))


def _by_number(m: Any, x: Tensor) -> Tensor:
    return m.head(m.stem(x)[:, m.order])


# Networks whose layer "stem" looks like any other, and what is said of it.
ORDERED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "every other": (between(lambda x: x[:, ::2], 3), "whose order matters"),
    "running sum": (between(lambda x: x.cumsum(1)), "cumsum goes along it"),
    "roll": (between(lambda x: x + x.roll(1, 1)), "roll goes along it"),
    "flip": (between(lambda x: x + x.flip(1)), "flip goes along it"),
    "sort": (between(lambda x: x.sort(1).values), "sort goes along it"),
    "largest ones": (between(lambda x: x.topk(4, 1).values, 4), "topk goes along it"),
    "place of the largest": (between(lambda x: x.argmax(1, keepdim=True) * x), "argmax, of which nothing is known"),
    "difference of neighbours": (between(lambda x: x[:, 1:] - x[:, :-1], 5), "treated in its own way"),
    "outer product": (between(lambda x: (x[:, :, None] * x[:, None]).triu().flatten(1), 36), "triu goes along it"),
    "convolution over channels": (
        lambda: Apply(lambda m, x: m.head(m.over(m.stem(x)[:, None])[:, 0]), stem=nn.Linear(3, 6),
                      over=nn.Conv1d(1, 1, 3, padding=1), head=nn.Linear(6, 2)),
        "places, whose order matters",
    ),
    "pooling over channels": (between(lambda x: nn.functional.avg_pool1d(x[:, None], 2)[:, 0], 3), "order matters"),
    "fixed scales": (
        lambda: Apply(lambda m, x: m.head(m.stem(x) * m.scale), stem=nn.Linear(3, 6), head=nn.Linear(6, 2),
                      scale=torch.arange(6.0)),
        "a buffer goes with it",
    ),
    "fixed positions": (
        lambda: Apply(_positions, stem=nn.Linear(3, 6), head=nn.Linear(6, 2), table=torch.arange(6.0)[None]),
        "a buffer goes with it",
    ),
    "constants": (between(lambda x: x * torch.arange(6.0)), "nothing is known|a constant goes with it"),
    "by number": (
        lambda: Apply(_by_number, stem=nn.Linear(3, 6), head=nn.Linear(6, 2), order=torch.tensor([3, 1, 2, 0, 5, 4])),
        "looked up in by number",
    ),
    "reshaped across": (between(lambda x: x.view(-1, 4).softmax(1).view(-1, 6)), "across its boundaries"),
    "lstm": (
        lambda: Apply(_lstm, stem=nn.Linear(3, 6), lstm=nn.LSTM(6, 4), head=nn.Linear(4, 2)),
        "of which nothing is known",
    ),
    "fourier transform": (between(lambda x: torch.fft.rfft(x).abs(), 4), "of which nothing is known"),
    "matrix of fixed numbers": (between(lambda x: x @ torch.ones(6, 6).triu()), "order|constant|nothing is known|triu"),
    "the output itself": (lambda: nn.Sequential(nn.Linear(3, 6)), "axis of the network's output"),
    "read by nothing": (
        lambda: Apply(lambda m, x: m.stem(x).sum(1), stem=nn.Linear(3, 6)), "nothing that reads what it writes",
    ),
    "not used": (
        lambda: Apply(lambda m, x: x.sum(1), stem=nn.Linear(3, 6)), "output does not depend on it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERED)
def test_neurons_in_an_order_are_skipped_with_the_reason(name: str) -> None:
    build, reason = ORDERED[name]
    torch.manual_seed(0)
    neurons = trace(build(), torch.randn(4, 3))
    assert neurons.layers == ()
    said = {one.what: one.reason for one in neurons.skipped}
    which = "0.weight" if name == "the output itself" else "stem.weight"
    assert not [what for what in said if what.startswith("layer ")]  # it was clear without trying
    assert re.search(reason, said[which]), said[which]


def test_every_parameter_is_in_a_layer_or_skipped() -> None:
    for build, _ in ORDERED.values():
        model = build()
        neurons = trace(model, torch.randn(4, 3))
        found = {part.parameter for layer in neurons.layers for part in layer.parts}
        skipped = [one.what for one in neurons.skipped]
        assert len(skipped) == len(set(skipped))
        assert found | set(skipped) == {name for name, _ in model.named_parameters()}
        assert not found & set(skipped)


def test_the_neuron_that_is_treated_apart_is_left_out() -> None:
    """The first of 6 gates the others, which are interchangeable."""
    torch.manual_seed(0)
    model = between(lambda x: x[:, :1].sigmoid() * x[:, 1:], 5)()
    (layer,) = trace(model, torch.randn(4, 3)).layers
    assert layer.neurons == 5
    assert torch.equal(
        neuron_vectors(dict(model.named_parameters()), layer)[:, :3], model.get_parameter("stem.weight")[1:]
    )


def test_what_is_left_of_a_parameter_is_told() -> None:
    """The columns of a matrix that read the input."""
    neurons = trace(*network("concatenation"))
    assert {one.what: one.reason for one in neurons.skipped} == {
        "head.weight": "25% of it: it is an axis of the network's output; it is an axis of the network's input",
        "head.bias": "it is an axis of the network's output",
    }


def test_spectral_norm_is_skipped_and_the_layers_around_it_are_found() -> None:
    model = nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), parametrizations.spectral_norm(nn.Linear(5, 6)),
        nn.ReLU(), nn.Linear(6, 2),
    )  # fmt: skip
    neurons = trace(model.eval(), torch.ones(2, 3))
    assert [layer.name for layer in neurons.layers] == ["0"]
    assert {"4.parametrizations.weight.original", "6.weight"} <= {one.what for one in neurons.skipped}


# --- checked, not assumed -------------------------------------------------------------------------------------------

WRONG = {
    "running sum": ("cumsum", lambda call: call.args[0].extents),
    "roll": ("roll", lambda call: call.args[0].extents),
    "flip": ("flip", lambda call: call.args[0].extents),
    "sort": ("sort", lambda call: [call.args[0].extents] * 2),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_layer_found_by_a_wrong_rule_fails_the_check(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, rule = WRONG[name]
    monkeypatch.setitem(operators.RULES, operator, rule)
    torch.manual_seed(0)
    model = ORDERED[name][0]()
    neurons = trace(model, torch.randn(4, 3))
    assert neurons.layers == ()
    assert neurons.coverage(model) == 0
    layer, *parameters = neurons.skipped
    assert layer.what == "layer stem"
    assert layer.reason.startswith("permuting its neurons changes the network's output by ")
    assert {one.what for one in parameters} == {"stem.weight", "stem.bias", "head.weight", "head.bias"}
    assert {one.reason for one in parameters[:3]} == {"its layer stem failed the check"}


def test_only_the_layer_that_a_wrong_rule_found_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(call: operators.Call) -> operators.Result:
        """Of the scales of a batch norm nothing is said."""
        return list(call.args[0].extents)

    monkeypatch.setitem(operators.RULES, "batch_norm", wrong)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 6, 1), nn.ReLU(),
        nn.Conv2d(6, 2, 1),
    )  # fmt: skip
    neurons = trace(model, torch.randn(2, 3, 4, 4))
    assert [layer.name for layer in neurons.layers] == ["0", "5"]
    assert neurons.skipped[0].what == "layer 2"


def test_an_unknown_operator_stops_the_claim_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(operators.RULES, "layer_norm")
    neurons = trace(*network("transformer encoder layer"))
    assert [layer.name for layer in neurons.layers] == ["1.self_attn.heads", "1.linear1"]
    assert {one.reason for one in neurons.skipped if one.what.startswith("1.norm")} == {
        "it goes through layer_norm, of which nothing is known here"
    }
