"""A small network for each kind of layer that tracing knows, with the layers to be found, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class Found(NamedTuple):
    """What is expected of one layer."""

    name: str
    neurons: int
    incoming: str
    """Names of the parameters, separated by blanks, in the order of first use."""
    outgoing: str
    blocks: int = 1


@dataclass(frozen=True)
class Kind:
    """A network, the shape of its input, and the layers that it has."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layers: tuple[Found, ...]
    draw: Callable[..., Tensor] = torch.randn
    coverage: float = 1.0
    """Fraction of the weights that are in a neuron."""


class Apply(nn.Module):
    """A function of named modules and parameters and of the input."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.function = function

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        return self.function(self, *inputs, **named)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def chain(*modules: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*modules)


def tokens(*shape: int) -> Tensor:
    return torch.randint(0, 9, shape)


# --- functions of networks that are no chain ------------------------------------------------------------------------


def _residual(m: Any, x: Tensor) -> Tensor:
    x = m.stem(x)
    for block in (m.first, m.second):
        x = x + block(x)
    return m.head(x)


def _unet(m: Any, x: Tensor) -> Tensor:
    high = functional.relu(m.down(x))
    low = functional.relu(m.bottom(functional.max_pool2d(high, 2)))
    return m.head(functional.relu(m.up(torch.cat([functional.interpolate(low, scale_factor=2), high], 1))))


def _squeeze(m: Any, x: Tensor) -> Tensor:
    x = m.conv(x)
    gate = torch.sigmoid(m.expand(functional.relu(m.reduce(x.mean((2, 3), keepdim=True)))))
    return m.head((x * gate).flatten(1))


def _shuffle(m: Any, x: Tensor) -> Tensor:
    x = m.first(x)
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
    return m.head(functional.relu(m.second(x)).mean((2, 3)))


def _heads(m: Any, x: Tensor, name: str, heads: int) -> Tensor:
    return getattr(m, name)(x).unflatten(-1, (heads, -1)).transpose(1, 2)


def _grouped_queries(m: Any, x: Tensor) -> Tensor:
    q, k, v = (_heads(m, x, name, n) for name, n in (("q", 6), ("k", 2), ("v", 2)))
    mixed = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    return m.out(mixed.transpose(1, 2).flatten(2))


def _einsum_attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = (torch.einsum("btc,chd->bthd", x, w) for w in (m.q, m.k, m.v))
    scores = torch.einsum("bthd,bshd->bhts", q, k).softmax(-1)
    return torch.einsum("bhts,bshd,hdc->btc", scores, v, m.out)


def _own_attention(m: Any, x: Tensor) -> Tensor:
    return m.head(m.attention(x, x, x, need_weights=False)[0])


def _experts(m: Any, x: Tensor) -> Tensor:
    hidden = functional.gelu(torch.einsum("bi,eih->beh", x, m.up))
    return torch.einsum("be,beh,eho->bo", m.router(x).softmax(-1), hidden, m.down)


def _tied(m: Any, x: Tensor) -> Tensor:
    x = m.embed(x)
    x = x + m.mlp(x)
    return functional.linear(x, m.embed.weight)


def _twice(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.tanh(m.shared(torch.tanh(m.shared(torch.tanh(m.stem(x)))))))


def _rms(m: Any, x: Tensor) -> Tensor:
    x = m.first(x)
    x = m.scale * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    return m.second(m.norm(x))


def _written_in_pieces(m: Any, x: Tensor) -> Tensor:
    together = torch.zeros(len(x), 7)
    together[:, :3] = m.left(x)
    together[:, 3:] = m.right(x)
    return m.head(together)


def _places_in_turn(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.cumsum(m.stem(x).view(-1, 4, 3), 1).flatten(1))


def _tokens_compared(m: Any, x: Tensor) -> Tensor:
    x = m.stem(x).view(-1, 4, 3)
    return m.head(((x @ x.mT).softmax(-1) @ x).flatten(1))


def _normed_over_channels(m: Any, x: Tensor) -> Tensor:
    return m.head(functional.group_norm(m.stem(x).view(-1, 3, 4), 3).flatten(1))


_ATTENTION = "q.weight q.bias k.weight k.bias v.weight v.bias"
_ENCODER_STREAM = (
    "0.weight 0.bias 1.self_attn.out_proj.weight 1.self_attn.out_proj.bias 1.norm1.weight 1.norm1.bias "
    "1.linear2.weight 1.linear2.bias 1.norm2.weight 1.norm2.bias"
)

KINDS: dict[str, Kind] = {
    "linear": Kind(
        chain(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 2)),
        (2, 3),
        (Found("0", 5, "0.weight 0.bias", "2.weight"), Found("2", 4, "2.weight 2.bias", "4.weight")),
    ),
    "linear over tokens": Kind(
        chain(nn.Linear(3, 5, bias=False), nn.GELU(), nn.Linear(5, 2)),
        (2, 7, 3),
        (Found("0", 5, "0.weight", "2.weight"),),
    ),
    "conv1d": Kind(
        chain(nn.Conv1d(3, 5, 3), nn.GELU(), nn.Conv1d(5, 2, 3, stride=2, padding=1)),
        (2, 3, 9),
        (Found("0", 5, "0.weight 0.bias", "2.weight"),),
    ),
    "conv2d, pooling and flatten": Kind(
        chain(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(45, 2)),
        (2, 3, 6, 6),
        (Found("0", 5, "0.weight 0.bias", "4.weight"),),
    ),
    "conv transpose": Kind(
        chain(nn.ConvTranspose2d(3, 5, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(5, 2, 3)),
        (2, 3, 4, 4),
        (Found("0", 5, "0.weight 0.bias", "2.weight"),),
    ),
    "conv transpose, grouped": Kind(
        chain(nn.Conv1d(3, 6, 1), nn.ReLU(), nn.ConvTranspose1d(6, 4, 2, groups=2), nn.ReLU(), nn.Conv1d(4, 2, 1)),
        (2, 3, 4),
        (Found("0", 6, "0.weight 0.bias", "2.weight", 2), Found("2", 4, "2.weight 2.bias", "4.weight", 2)),
    ),
    "grouped convolution": Kind(
        chain(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 6, "0.weight 0.bias", "2.weight", 2), Found("2", 8, "2.weight 2.bias", "4.weight", 2)),
    ),
    "grouped convolution and flatten": Kind(
        chain(nn.Conv1d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)),
        (2, 4, 5),
        (Found("0", 6, "0.weight 0.bias", "3.weight", 2),),
    ),
    "grouped convolution beside a residual stream": Kind(
        lambda: Apply(
            lambda m, x: m.head((x := m.stem(x)) + m.grouped(x)),
            stem=nn.Conv1d(3, 6, 1), grouped=nn.Conv1d(6, 6, 1, groups=2), head=nn.Conv1d(6, 2, 1),
        ),
        (2, 3, 5),
        # its weight has the channels in a group along both axes, and the groups once
        (Found("stream", 6, "stem.weight stem.bias grouped.weight grouped.bias", "grouped.weight head.weight", 2),),
    ),
    "grouped convolution within a residual stream": Kind(
        lambda: Apply(
            lambda m, x: m.head((x := m.stem(x)) + m.back(torch.tanh(m.grouped(x)))),
            stem=nn.Conv1d(3, 6, 1), grouped=nn.Conv1d(6, 4, 1, groups=2), back=nn.Conv1d(4, 6, 1),
            head=nn.Conv1d(6, 2, 1),
        ),
        (2, 3, 5),
        # the weight of the way back has groups along both axes
        (
            Found("grouped", 4, "grouped.weight grouped.bias", "back.weight", 2),
            Found("stream", 6, "stem.weight stem.bias back.weight back.bias", "grouped.weight head.weight", 2),
        ),
    ),
    "depthwise convolution": Kind(
        chain(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 5, 3, groups=5), nn.ReLU(), nn.Conv2d(5, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 5, "0.weight 0.bias 2.weight 2.bias", "4.weight"),),
    ),
    "depthwise convolution with a multiplier": Kind(
        chain(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 12, 3, groups=4), nn.ReLU(), nn.Conv2d(12, 2, 1)),
        (2, 3, 5, 5),
        (
            Found("0", 4, "0.weight 0.bias 2.weight 2.bias", "4.weight"),
            Found("2", 12, "2.weight 2.bias", "4.weight", 4),
        ),
    ),
    "batch norm": Kind(
        chain(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 5, "0.weight 1.weight 1.bias", "3.weight"),),
    ),
    "layer norm": Kind(
        chain(nn.Linear(3, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2)),
        (2, 3),
        (Found("0", 5, "0.weight 0.bias 1.weight 1.bias", "3.weight"),),
    ),
    "group norm": Kind(
        chain(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 6, "0.weight 0.bias 1.weight 1.bias", "3.weight", 2),),
    ),
    "group norm of one group": Kind(
        chain(nn.Conv2d(3, 6, 3), nn.GroupNorm(1, 6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 6, "0.weight 0.bias 1.weight 1.bias", "3.weight"),),
    ),
    "group norm of single channels": Kind(
        chain(nn.Conv2d(3, 6, 3), nn.GroupNorm(6, 6), nn.ReLU(), nn.Conv2d(6, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 6, "0.weight 0.bias 1.weight 1.bias", "3.weight"),),
    ),
    "instance norm": Kind(
        chain(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.ReLU(), nn.Conv2d(6, 2, 1)),
        (2, 3, 5, 5),
        (Found("0", 6, "0.weight 0.bias 1.weight 1.bias", "3.weight"),),
    ),
    "root mean square norm, by hand and PyTorch's": Kind(
        lambda: Apply(_rms, first=nn.Linear(3, 5), scale=parameter(5), norm=nn.RMSNorm(5), second=nn.Linear(5, 2)),
        (2, 3),
        (Found("first", 5, "first.weight first.bias scale norm.weight", "second.weight"),),
    ),
    "prelu": Kind(
        chain(nn.Conv1d(3, 5, 1), nn.PReLU(5), nn.Conv1d(5, 4, 1), nn.PReLU(), nn.Conv1d(4, 2, 1)),
        (2, 3, 4),
        (Found("0", 5, "0.weight 0.bias 1.weight", "2.weight"), Found("2", 4, "2.weight 2.bias", "4.weight")),
    ),
    "gated linear unit": Kind(
        chain(nn.Linear(3, 10), nn.GLU(), nn.Linear(5, 2)),
        (2, 3),
        (Found("0", 5, "0.weight 0.weight 0.bias 0.bias", "2.weight"),),
    ),
    "gated by another layer": Kind(
        lambda: Apply(
            lambda m, x: m.down(functional.silu(m.gate(x)) * m.up(x)),
            gate=nn.Linear(3, 5, bias=False), up=nn.Linear(3, 5, bias=False), down=nn.Linear(5, 2),
        ),
        (2, 3),
        (Found("gate", 5, "gate.weight up.weight", "down.weight"),),
    ),
    "squeeze and excitation": Kind(
        lambda: Apply(
            _squeeze, conv=nn.Conv2d(3, 5, 3), reduce=nn.Conv2d(5, 3, 1), expand=nn.Conv2d(3, 5, 1),
            head=nn.Linear(45, 2),
        ),
        (2, 3, 5, 5),
        (
            Found("reduce", 3, "reduce.weight reduce.bias", "expand.weight"),
            Found("conv", 5, "conv.weight conv.bias expand.weight expand.bias", "reduce.weight head.weight"),
        ),
    ),
    "channel shuffle": Kind(
        lambda: Apply(_shuffle, first=nn.Conv2d(3, 12, 1, bias=False), second=nn.Conv2d(12, 6, 1, groups=3, bias=False),
                      head=nn.Linear(6, 2, bias=False)),
        (2, 3, 4, 4),
        # channel 6 a + 2 c + d of the first is channel 2 (2 c + d) + a, 4 in each of 3 groups, of the second
        (
            Found("first", 12, "first.weight", "second.weight", 3),
            Found("second", 6, "second.weight", "head.weight", 3),
        ),
    ),
    "pixel shuffle": Kind(
        chain(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(3, 2, 1)),
        (2, 3, 4, 4),
        (Found("0", 3, "0.weight 0.bias", "3.weight"),),
    ),
    "residual stream": Kind(
        lambda: Apply(
            _residual,
            stem=nn.Linear(3, 6),
            first=nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6)),
            second=nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 6, bias=False)),
            head=nn.Linear(6, 2),
        ),
        (2, 3),
        (
            Found("first.0", 4, "first.0.weight first.0.bias", "first.2.weight"),
            Found("second.1", 5, "second.1.weight second.1.bias", "second.3.weight"),
            Found(
                "stream", 6,
                "stem.weight stem.bias first.2.weight first.2.bias second.0.weight second.0.bias second.3.weight",
                "first.0.weight second.1.weight head.weight",
            ),
        ),
    ),
    "concatenation": Kind(
        lambda: Apply(
            lambda m, x: m.head(torch.cat([m.left(x), m.right(x), x], 1)),
            left=nn.Linear(3, 4), right=nn.Linear(3, 5), head=nn.Linear(12, 2),
        ),
        (2, 3),
        (Found("left", 4, "left.weight left.bias", "head.weight"),
         Found("right", 5, "right.weight right.bias", "head.weight")),
        coverage=45 / 51,  # but not what reads the input
    ),
    "concatenation by writing in place": Kind(
        lambda: Apply(_written_in_pieces, left=nn.Linear(2, 3), right=nn.Linear(2, 4), head=nn.Linear(7, 2)),
        (5, 2),
        (Found("left", 3, "left.weight left.bias", "head.weight"),
         Found("right", 4, "right.weight right.bias", "head.weight")),
    ),
    "skip connection with concatenation": Kind(
        lambda: Apply(_unet, down=nn.Conv2d(3, 4, 3, padding=1), bottom=nn.Conv2d(4, 5, 3, padding=1),
                      up=nn.Conv2d(9, 6, 3, padding=1), head=nn.Conv2d(6, 2, 1)),
        (2, 3, 6, 6),
        (
            Found("down", 4, "down.weight down.bias", "bottom.weight up.weight"),
            Found("bottom", 5, "bottom.weight bottom.bias", "up.weight"),
            Found("up", 6, "up.weight up.bias", "head.weight"),
        ),
    ),
    "multi-head attention": Kind(
        lambda: nn.Sequential(
            nn.Linear(3, 12),
            Apply(_own_attention, attention=nn.MultiheadAttention(12, 3, batch_first=True), head=nn.Linear(12, 2)),
        ),
        (2, 5, 3),
        (
            Found("0", 12, "0.weight 0.bias", "1.attention.in_proj_weight"),
            Found("1.attention.heads", 3, "1.attention.in_proj_weight 1.attention.in_proj_bias",
                  "1.attention.out_proj.weight"),
            Found("1.attention.out_proj", 12, "1.attention.out_proj.weight 1.attention.out_proj.bias", "1.head.weight"),
        ),
    ),
    "transformer encoder layer": Kind(
        lambda: nn.Sequential(
            nn.Linear(3, 8), nn.TransformerEncoderLayer(8, 2, 10, batch_first=True), nn.Linear(8, 2)
        ),
        (2, 5, 3),
        (
            Found("1.self_attn.heads", 2, "1.self_attn.in_proj_weight 1.self_attn.in_proj_bias",
                  "1.self_attn.out_proj.weight"),
            Found("1.linear1", 10, "1.linear1.weight 1.linear1.bias", "1.linear2.weight"),
            Found("1.stream", 8, _ENCODER_STREAM, "1.self_attn.in_proj_weight 1.linear1.weight 2.weight"),
        ),
    ),
    "grouped queries": Kind(
        lambda: Apply(_grouped_queries, q=nn.Linear(3, 24), k=nn.Linear(3, 8), v=nn.Linear(3, 8), out=nn.Linear(24, 2)),
        (2, 5, 3),
        (Found("heads", 2, _ATTENTION, "out.weight"),),
    ),
    "attention by einsum": Kind(
        lambda: Apply(_einsum_attention, q=parameter(3, 2, 4), k=parameter(3, 2, 4), v=parameter(3, 2, 4),
                      out=parameter(2, 4, 5)),
        (2, 5, 3),
        (Found("heads", 2, "q k v", "out"),),
    ),
    "experts": Kind(
        lambda: Apply(_experts, up=parameter(3, 4, 6), down=parameter(3, 6, 2), router=nn.Linear(4, 3)),
        (5, 4),
        (
            Found("up", 18, "up", "down", 3),
            Found("up-2", 3, "up router.weight router.bias", "down"),
        ),
    ),
    "embedding": Kind(
        chain(nn.Embedding(9, 5), nn.Flatten(), nn.Linear(20, 2)),
        (3, 4),
        (Found("0", 5, "0.weight", "2.weight"),),
        tokens,
    ),
    "tied embedding": Kind(
        lambda: Apply(_tied, embed=nn.Embedding(9, 5), mlp=nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 5))),
        (3, 4),
        (
            Found("mlp.0", 4, "mlp.0.weight mlp.0.bias", "mlp.2.weight"),
            Found("mlp.stream", 5, "embed.weight mlp.2.weight mlp.2.bias", "mlp.0.weight"),
        ),
        tokens,
    ),
    "weight norm": Kind(
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 5)), nn.ReLU(), nn.Linear(5, 2)),
        (2, 3),
        (Found("0.parametrizations.weight", 5,
               "0.parametrizations.weight.original1 0.parametrizations.weight.original0 0.bias", "2.weight"),),
    ),
    "a module used twice": Kind(
        lambda: Apply(_twice, stem=nn.Linear(3, 5), shared=nn.Linear(5, 5), head=nn.Linear(5, 2)),
        (2, 3),
        (Found("stem", 5, "stem.weight stem.bias shared.weight shared.bias", "shared.weight head.weight"),),
    ),
    "a running sum over places": Kind(
        lambda: Apply(_places_in_turn, stem=nn.Linear(2, 12), head=nn.Linear(12, 2)),
        (5, 2),
        (Found("stem", 3, "stem.weight stem.bias", "head.weight"),),
    ),
    "tokens that are compared": Kind(
        lambda: Apply(_tokens_compared, stem=nn.Linear(2, 12), head=nn.Linear(12, 2)),
        (5, 2),
        (
            Found("stem", 4, "stem.weight stem.bias", "head.weight"),
            Found("stem-2", 3, "stem.weight stem.bias", "head.weight"),
        ),
    ),
    "normalization over what a layer has inside": Kind(
        lambda: Apply(_normed_over_channels, stem=nn.Linear(2, 12), head=nn.Linear(12, 2)),
        (5, 2),
        (Found("stem", 3, "stem.weight stem.bias", "head.weight"),),
    ),
}  # fmt: skip
