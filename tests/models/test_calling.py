"""How networks are called, and what is taken of what they return."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse.errors import InputError
from stochastic_collapse.models.calling import call, labels_argument, own_loss, predictions

A, B = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]])
LOGITS, LOSS = torch.arange(6.0).reshape(2, 3), torch.tensor(0.5)


class Named(nn.Module):
    def forward(self, first: Tensor, second: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        return first if second is None else first - 10 * second


class OfMapping(nn.Module):
    def forward(self, batch: Mapping[str, Tensor], scale: float = 1.0) -> Tensor:
        return scale * (batch["first"] - 10 * batch["second"])


class AnyNames(nn.Module):
    def forward(self, **batch: Tensor) -> Tensor:
        return batch["first"] - 10 * batch["second"]


class OfMappingAndOthers(nn.Module):
    def forward(self, batch: Mapping[str, Tensor], **others: Any) -> Tensor:
        return batch["first"] - 10 * batch["second"]


class WithTargets(nn.Module):
    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        return x


@dataclasses.dataclass
class Output:
    logits: Any = None
    loss: Any = None
    hidden_states: Any = None


class Pretraining(NamedTuple):
    prediction_logits: Tensor


# --- the call -------------------------------------------------------------------------------------------------------


def test_a_tensor_is_the_first_argument() -> None:
    assert torch.equal(call(Named(), A), A)
    assert torch.equal(call(Named(), A, second=B), A - 10 * B)


@pytest.mark.parametrize("kind", [Named, OfMapping, AnyNames, OfMappingAndOthers])
def test_inputs_by_name_arrive_at_networks_that_take_the_names_or_their_mapping(kind: type[nn.Module]) -> None:
    # The order is not that of forward's parameters.
    assert torch.equal(call(kind(), {"second": B, "first": A}), A - 10 * B)


def test_what_is_extra_goes_by_keyword_beside_either() -> None:
    assert torch.equal(call(OfMapping(), {"first": A, "second": B}, scale=2.0), 2 * (A - 10 * B))
    assert torch.equal(call(Named(), {"first": A}, second=B), A - 10 * B)


def test_inputs_of_which_forward_takes_some_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"forward takes first, second, labels, and the data give first, third: third"):
        call(Named(), {"first": A, "third": B})


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, functools.partial(torch.compile, backend="eager")], ids=["data parallel", "compiled"]
)
def test_a_wrapped_network_is_called_as_the_one_inside(wrap: Any) -> None:
    assert torch.equal(call(wrap(Named()), {"second": B, "first": A}), A - 10 * B)
    assert labels_argument(wrap(Named())) == "labels"


def test_a_forward_that_was_replaced_on_the_object_counts() -> None:
    model = Named()
    model.forward = lambda left, right: left - 10 * right  # type: ignore
    assert torch.equal(call(model, {"right": B, "left": A}), A - 10 * B)
    assert labels_argument(model) is None
    assert labels_argument(Named()) == "labels"


# --- what comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        Output(LOGITS, LOSS),
        types.SimpleNamespace(logits=LOGITS),
        {"loss": LOSS, "logits": LOGITS},
        Pretraining(LOGITS),
        (LOGITS, None),
        (LOGITS, LOSS),
        (LOSS, LOGITS),
        [None, LOGITS, torch.ones(9)],
    ],
)
def test_predictions_are_found(output: Any) -> None:
    assert predictions(output) is LOGITS


@pytest.mark.parametrize(
    ("output", "described"),
    [
        (None, "returns None"),
        (3, "returns int"),
        ({"features": LOGITS}, "returns dict with features"),
        ({}, "returns dict with nothing in it"),
        ((LOSS, None), r"returns tuple of a tensor of shape \(\), None"),
        (Output((LOGITS,)), "returns Output with logits, loss, hidden_states"),
    ],
)
def test_what_has_no_predictions_is_described(output: Any, described: str) -> None:
    with pytest.raises(InputError, match=rf"^the network {described}, expected a tensor, .* with logits$"):
        predictions(output)


@pytest.mark.parametrize(
    "output", [LOSS, Output(LOGITS, LOSS), {"loss": LOSS}, (LOGITS, LOSS), [LOSS, LOGITS], (None, LOSS)]
)
def test_the_networks_own_loss_is_found(output: Any) -> None:
    assert own_loss(output) is LOSS


@pytest.mark.parametrize("output", [None, Output(LOGITS), {"logits": LOGITS}, (LOGITS, None), ()])
def test_a_missing_loss_is_refused(output: Any) -> None:
    with pytest.raises(InputError, match="expected its loss: a scalar"):
        own_loss(output)


@pytest.mark.parametrize("output", [LOGITS, Output(loss=LOGITS), {"loss": LOGITS}])
def test_a_loss_for_each_example_is_refused(output: Any) -> None:
    with pytest.raises(InputError, match=r"own loss is of shape \(2, 3\), expected a scalar"):
        own_loss(output)


def test_targets_go_by_the_name_that_forward_has_for_them() -> None:
    assert labels_argument(Named()) == "labels"
    assert labels_argument(WithTargets()) == "targets"
    assert labels_argument(OfMapping()) is None
    assert labels_argument(AnyNames()) is None  # which would take it, and need not know what it is
    assert labels_argument(nn.Linear(2, 2)) is None
