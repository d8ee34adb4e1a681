"""The modules that stand for PyTorch's own, beside these and beside brute force."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse.models.replacements import MultiheadAttention, WeightedNorm


def weighted(norm: Any, counts: Tensor, total: int, **options: Any) -> WeightedNorm:
    return WeightedNorm(norm.weight, getattr(norm, "bias", None), counts, eps=norm.eps, total=total, **options)


def randomized(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    return module.double()


CASES: list[tuple[nn.Module, dict[str, Any], tuple[int, ...]]] = [
    (nn.LayerNorm(6), {}, (4, 6)),
    (nn.LayerNorm(6), {}, (2, 5, 6)),
    (nn.RMSNorm(6, eps=1e-6), {"centred": False}, (2, 5, 6)),
    (nn.GroupNorm(2, 6), {"axis": 1, "groups": 2, "over_places": True}, (3, 6, 2, 5)),
    (nn.GroupNorm(1, 6), {"axis": 1, "over_places": True}, (3, 6, 4)),
    (nn.GroupNorm(3, 6), {"axis": 1, "groups": 3, "over_places": True}, (3, 6)),
]


@pytest.mark.parametrize(("norm", "options", "shape"), CASES)
def test_with_counts_of_1_it_is_the_plain_normalization(
    norm: nn.Module, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    norm, x = randomized(norm), 2 + torch.randn(shape).double()
    mine = weighted(norm, torch.ones(6), 6 // options.get("groups", 1), **options)
    torch.testing.assert_close(mine(x), norm(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("norm", "options", "shape"), CASES)
def test_counts_stand_for_copies_and_what_is_missing_for_zeros(
    norm: nn.Module, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Each group of the plain one has channels (a, a, a, b, 0) beside a and b with counts 3 and 1."""
    torch.manual_seed(0)
    groups, axis = options.get("groups", 1), options.get("axis", -1)
    if options.get("over_places"):
        plain: nn.Module = nn.GroupNorm(groups, 5 * groups)
    else:
        plain = type(norm)(5, eps=norm.eps)
    plain = randomized(plain)
    small_shape = [*shape]
    small_shape[axis] = 2 * groups
    small = torch.randn(small_shape).double()
    pick = torch.tensor([[5 * g, 5 * g, 5 * g, 5 * g + 1, 5 * g + 2] for g in range(groups)]).flatten()
    of_small = torch.tensor([[2 * g] * 3 + [2 * g + 1] * 2 for g in range(groups)]).flatten()
    large = small.index_select(axis % small.ndim, of_small)
    zeros = [1] * large.ndim
    zeros[axis] = -1
    large = large * torch.tensor([1.0, 1, 1, 1, 0] * groups).view(zeros)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(parameter[pick])
    chosen = torch.tensor([[5 * g, 5 * g + 3] for g in range(groups)]).flatten()
    counts = torch.tensor([3.0, 1.0] * groups)
    mine = WeightedNorm(
        plain.weight[chosen],  # type: ignore[index]
        plain.bias[chosen] if getattr(plain, "bias", None) is not None else None,  # type: ignore[index]
        counts,
        eps=plain.eps,  # type: ignore[arg-type]
        total=5,
        **options,
    )
    expected = plain(large).index_select(axis % small.ndim, chosen)
    torch.testing.assert_close(mine(small), expected, rtol=1e-10, atol=1e-10)


MASKS: list[dict[str, Any]] = [
    {},
    {"need_weights": False},
    {"average_attn_weights": False},
    {"attn_mask": torch.ones(5, 5).triu(1).bool()},
    {"attn_mask": torch.ones(5, 5).triu(1).bool(), "need_weights": False},
    {"attn_mask": torch.linspace(-1, 1, 3 * 4 * 25).view(12, 5, 5).double()},
    {"key_padding_mask": torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool()},
    {
        "key_padding_mask": torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool(),
        "attn_mask": torch.ones(5, 5).triu(1).bool(),
        "need_weights": False,
    },
]


@pytest.mark.parametrize("options", MASKS)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 7, "vdim": 9}, {"bias": False}])
def test_attention_is_that_of_pytorch(options: dict[str, Any], batch_first: bool, widths: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = randomized(nn.MultiheadAttention(8, 4, batch_first=batch_first, **widths))
    sizes = (8, widths.get("kdim", 8), widths.get("vdim", 8))
    inputs = [torch.randn(3, 5, size).double() for size in sizes]
    if not batch_first:
        inputs = [x.transpose(0, 1) for x in inputs]
    expected, weights = module(*inputs, **options)
    assert isinstance(module, nn.MultiheadAttention)
    found, found_weights = MultiheadAttention.from_plain(module)(*inputs, **options)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    if options.get("need_weights", True):
        torch.testing.assert_close(found_weights, weights, rtol=1e-10, atol=1e-10)
    else:
        assert found_weights is None


def test_attention_takes_one_example_without_a_batch() -> None:
    torch.manual_seed(0)
    module = randomized(nn.MultiheadAttention(8, 4))
    x = torch.randn(5, 8).double()
    expected, weights = module(x, x, x)
    assert isinstance(module, nn.MultiheadAttention)
    found, found_weights = MultiheadAttention.from_plain(module)(x, x, x)
    torch.testing.assert_close((found, found_weights), (expected, weights), rtol=1e-10, atol=1e-10)
