"""Random small architectures, put together of all kinds of modules: everything is found, and passes the check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from stochastic_collapse.neurons import trace

Draw = Any


class Residual(nn.Module):
    def __init__(self, block: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.block, self.shortcut = block, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class Branches(nn.Module):
    """Side by side, concatenated along the channels."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Excitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, 3, 1), nn.Conv2d(3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.expand(functional.relu(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()


class ChannelsLast(nn.Module):
    """A module for channels along the last axis, where they are the second."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class Attention(nn.Module):
    """Over places, the channels in heads; queries, keys and values from one layer or from three."""

    def __init__(self, channels: int, heads: int, size: int, together: bool) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        width = heads * size
        self.inputs = nn.ModuleList(
            [nn.Linear(channels, 3 * width)] if together else [nn.Linear(channels, width) for _ in range(3)]
        )
        self.out = nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).mT
        rows = torch.cat([layer(tokens) for layer in self.inputs], -1).unflatten(-1, (3, self.heads, self.size))
        q, k, v = rows.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(mixed).mT.unflatten(2, x.shape[2:])


CHANNELS = [4, 6, 8]


def activation(draw: Draw) -> nn.Module:
    return draw(st.sampled_from([nn.GELU(), nn.Tanh(), nn.SiLU(), nn.Softplus(), nn.Identity()]))


def normalization(draw: Draw, channels: int) -> nn.Module:
    return draw(
        st.sampled_from(
            [
                nn.BatchNorm2d(channels),
                nn.GroupNorm(2, channels),
                nn.GroupNorm(1, channels),
                nn.InstanceNorm2d(channels, affine=True),
                ChannelsLast(nn.LayerNorm(channels)),
                ChannelsLast(nn.RMSNorm(channels)),
                nn.PReLU(channels),
            ]
        )
    )


def convolution(draw: Draw, channels: int, out: int) -> nn.Module:
    kernel = draw(st.sampled_from([1, 3]))
    kind = draw(st.sampled_from(["plain", "grouped", "depthwise", "separable", "transposed"]))
    given: dict[str, Any] = {"padding": kernel // 2, "bias": draw(st.booleans())}
    if kind == "plain":
        return nn.Conv2d(channels, out, kernel, **given)
    if kind == "grouped":
        return nn.Conv2d(channels, out, kernel, groups=2, **given)
    if kind == "depthwise":
        multiplier = draw(st.sampled_from([1, 2]))
        return nn.Sequential(
            nn.Conv2d(channels, channels * multiplier, kernel, groups=channels, **given),
            nn.Conv2d(channels * multiplier, out, 1),
        )
    if kind == "separable":
        return nn.Sequential(nn.Conv2d(channels, out, 1), nn.Conv2d(out, out, kernel, groups=out, **given))
    return nn.ConvTranspose2d(channels, out, kernel, groups=draw(st.sampled_from([1, 2])), **given)


def block(draw: Draw, channels: int, depth: int) -> tuple[nn.Module, int]:
    """A module for images of so many channels, and how many it returns. Its places stay."""
    kinds = ["convolution", "normalized", "excitation", "shuffle", "gated"]
    kind = draw(
        st.sampled_from([*kinds, "chain", "residual", "projected", "branches", "attention"] if depth else kinds)
    )
    out = draw(st.sampled_from(CHANNELS))
    match kind:
        case "convolution":
            return nn.Sequential(convolution(draw, channels, out), activation(draw)), out
        case "normalized":
            return nn.Sequential(convolution(draw, channels, out), normalization(draw, out), activation(draw)), out
        case "excitation":
            return Excitation(channels), channels
        case "shuffle":
            return Shuffle(2), channels
        case "gated":
            return nn.Sequential(nn.Conv2d(channels, 2 * out, 1), nn.GLU(1)), out
        case "chain":
            first, between = block(draw, channels, depth - 1)
            second, out = block(draw, between, depth - 1)
            return nn.Sequential(first, second), out
        case "residual":
            inner, between = block(draw, channels, depth - 1)
            back = nn.Conv2d(between, channels, 1)
            return Residual(nn.Sequential(inner, activation(draw), back), nn.Identity()), channels
        case "projected":
            inner, between = block(draw, channels, depth - 1)
            return Residual(inner, convolution(draw, channels, between)), between
        case "branches":
            pairs = [block(draw, channels, depth - 1) for _ in range(2)]
            return Branches([module for module, _ in pairs]), sum(n for _, n in pairs)
        case _:
            heads, size = draw(st.sampled_from([2, 3])), draw(st.sampled_from([2, 4]))
            return Residual(Attention(channels, heads, size, draw(st.booleans())), nn.Identity()), channels


def network(draw: Draw) -> nn.Module:
    channels = draw(st.sampled_from(CHANNELS))
    modules: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
    for _ in range(draw(st.integers(1, 3))):
        module, channels = block(draw, channels, 2)
        modules.append(module)
    modules.append(draw(st.sampled_from([nn.Identity(), nn.MaxPool2d(2), nn.AvgPool2d(2)])))
    places = 4 if isinstance(modules[-1], nn.Identity) else 2
    if draw(st.booleans()):
        return nn.Sequential(*modules, nn.Flatten(), nn.Linear(channels * places**2, 2))
    return nn.Sequential(
        *modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5), nn.GELU(), nn.Linear(5, 2)
    )


# Said where channels are divided into groups that do not respect how they were put together or shuffled before.
CROSSING = ("divided in two ways that do not fit together", "reshaped across its boundaries", "a part of an axis")
EXAMPLES = 60


def test_everything_is_found_and_passes_the_check() -> None:
    complete = []

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, phases=[Phase.generate]
    )  # shrinking takes minutes
    @given(st.data())
    def check(data: st.DataObject) -> None:
        torch.manual_seed(0)
        model = network(data.draw)
        neurons = trace(model, torch.randn(2, 3, 4, 4))
        assert [one for one in neurons.skipped if one.what.startswith("layer ")] == []
        *skipped, last = neurons.skipped
        assert last.what == [name for name, _ in model.named_parameters()][-1]  # the output's bias
        assert all(any(reason in one.reason for reason in CROSSING) for one in skipped)
        complete.append(not skipped)
        assert skipped or neurons.coverage(model) == 1

    check()
    assert len(complete) == EXAMPLES
    assert sum(complete) > 0.8 * EXAMPLES
