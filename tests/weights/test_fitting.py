"""State dicts of people's programs put into the network that they are of."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse.errors import InputError
from stochastic_collapse.weights import fit, names_of

from .networks import network, same

State = dict[str, Tensor]


def other() -> nn.Sequential:
    """The same network with other weights."""
    model = network()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.rand_like(tensor.float()).mul(9).to(tensor.dtype))
    return model


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = network()


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state, "file"),
        (prefixed("module."), "file, module. removed from names"),
        (prefixed("module.module."), "file, module. removed from names"),
        (prefixed("_orig_mod."), "file, _orig_mod. removed from names"),
        (prefixed("module._orig_mod."), "file, module. removed from names, _orig_mod. removed from names"),
        (prefixed("_orig_mod.module."), "file, module. removed from names, _orig_mod. removed from names"),
        (prefixed("_fsdp_wrapped_module."), "file, _fsdp_wrapped_module. removed from names"),
        (prefixed("model."), "file, prefix model. removed"),
        (prefixed("net.backbone."), "file, prefix net.backbone. removed"),
        (prefixed("model._orig_mod."), "file, _orig_mod. removed from names, prefix model. removed"),
        (
            lambda state: {**prefixed("model.")(state), "criterion.weight": torch.ones(3), "n": torch.ones(1)},
            "file, prefix model. removed, 2 names outside model. left out",
        ),
        (
            lambda state: {name: t for name, t in state.items() if "running" not in name},
            "file, 2 buffers not in the file",
        ),
        (
            lambda state: {**state, "0.num_batches_tracked": torch.tensor(3)},
            "file, 1 buffer of the file left out",
        ),
        (lambda state: {name: t.double() for name, t in state.items()}, "file, float64 converted to float32"),
    ],
)  # fmt: skip
def test_names_are_brought_to_those_of_the_network(change: Callable[[State], State], said: str) -> None:
    source, target = other().state_dict(), network()
    kept = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    given = change(source)
    found = fit(target, given, "file")
    if "int64 converted" in found or "float64 converted" in said:  # the counter of batches too
        assert said.partition(", ")[2] in found
    else:
        assert found == said
    left = {name for name in source if "buffers not in the file" in said and "running" in name}
    assert same(target.state_dict(), {name: kept[name] if name in left else t for name, t in source.items()})


def test_a_prefix_is_added_where_the_network_is_wrapped() -> None:
    source, target = other().state_dict(), Wrapped()
    assert fit(target, source, "file") == "file, prefix model. added"
    assert same(target.model.state_dict(), source)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


@pytest.mark.parametrize("left_out", ["embedding.weight", "head.weight"])
def test_tied_weights_may_be_in_the_file_once(left_out: str) -> None:
    source, target = Tied(), Tied()
    state = {name: tensor for name, tensor in source.state_dict().items() if name != left_out}
    fit(target, state, "file")
    assert torch.equal(target.embedding.weight, source.embedding.weight)
    assert target.head.weight is target.embedding.weight


def test_half_precision_becomes_that_of_the_network() -> None:
    source = {name: t.half() if t.is_floating_point() else t for name, t in other().state_dict().items()}
    target = network()
    assert fit(target, source, "file") == "file, float16 converted to float32"
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target.state_dict()["0.weight"], source["0.weight"].float())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda s: {**{n: t for n, t in s.items() if n != "2.weight"}, "3.weight": s["2.weight"]},
            "it has 3.weight (3, 6), which the network lacks; the network has 2.weight (3, 6), which it lacks",
        ),
        (
            lambda s: {n: t for n, t in s.items() if n != "0.bias"},
            "the network has 0.bias (6,), which it lacks",
        ),
        (lambda s: {**s, "4.weight": torch.ones(2)}, "it has 4.weight (2,), which the network lacks"),
        (
            lambda s: {**s, "2.weight": torch.ones(7, 6), "2.bias": torch.ones(7)},
            "2.weight is (7, 6) there, expected (3, 6), 2.bias is (7,) there, expected (3,): the file has 7 outputs, "
            "the network 3",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_changes(change: Callable[[State], State], expected: str) -> None:
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(InputError) as caught:
        fit(target, change(dict(other().state_dict())), "file")
    assert str(caught.value) == f"file does not fit the network: {expected}"
    assert same(target.state_dict(), before)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("2.weight", torch.full((3, 6), float("nan")), "2.weight has numbers that are not finite"),
        ("2.weight", torch.ones(3, 6, dtype=torch.int8), "quantized or no weights"),
        ("2.SCB", torch.ones(3), "quantized weights"),
        ("2.weight", torch.ones(3, 6, device="meta"), "2.weight is on the device meta, without numbers"),
        ("2.weight", torch.ones(3, 6).to_sparse(), "2.weight is of layout torch.sparse_coo"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(name: str, value: Tensor, expected: str) -> None:
    target = network()
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    with pytest.raises(InputError, match=re.escape(expected)):
        fit(target, {**other().state_dict(), name: value}, "file")
    assert same(target.state_dict(), before)


def test_names_without_wrappers_and_shared_first_parts() -> None:
    shape = (2,)
    assert names_of({"module.model.fc1.weight": shape, "module.model.fc2.weight": shape}) == {
        "fc1.weight": shape,
        "fc2.weight": shape,
    }
    assert set(names_of({"fc.weight": shape, "fc.bias": shape})) == {"fc.weight", "fc.bias"}
