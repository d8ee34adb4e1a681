"""Modules that stand for PyTorch's own where these cannot express what is left of them after compression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# An operator, so that tracing meets one normalization instead of what it is computed by.
_NAME = "stochastic_collapse::weighted_norm"
torch.library.define(
    _NAME,
    "(Tensor x, Tensor? weight, Tensor? bias, Tensor counts, float? eps, int total, int axis, int groups, "
    "bool centred, bool over_places) -> Tensor",
)


@torch.library.impl(_NAME, "CompositeImplicitAutograd")
def _weighted_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    counts: Tensor,
    eps: float | None,
    total: int,
    axis: int,
    groups: int,
    centred: bool,
    over_places: bool,
) -> Tensor:
    """See `WeightedNorm`."""
    axis %= x.ndim
    ones = [1] * (x.ndim - axis - 1)
    grouped = x.unflatten(axis, (groups, -1))
    share = (counts.to(x.dtype) / total).view(groups, -1, *ones)

    def average(values: Tensor) -> Tensor:
        values = (values * share).sum(axis + 1, keepdim=True)
        places = values.flatten(axis + 1).mean(-1) if over_places else values
        return places.view(*values.shape[: axis + 1], 1, *ones) if over_places else values

    mean = average(grouped) if centred else torch.zeros_like(share[:, :1])
    missing = 1 - share.sum(1, keepdim=True)
    variance = average((grouped - mean).square()) + missing * mean.square()
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    x = ((grouped - mean) / (variance + eps).sqrt()).flatten(axis, axis + 1)
    if weight is not None:
        x = x * weight.view(-1, *ones)
    return x if bias is None else x + bias.view(-1, *ones)


class WeightedNorm(nn.Module):
    """Layer, root-mean-square or group normalization over channels of which some stand for several.

    Mean and variance are those over all the channels that there were: channel c counts `counts[c]` times, and what is
    missing to `total` in a group were zeros. With counts of 1 and none missing it is the plain normalization (Ba et al.
    2016; Zhang & Sennrich 2019; Wu & He 2018).

    `weight` and `bias` (channels,) are its scale and shift, either may be None; `axis` is that of the channels in its
    input; `total` the number of channels there were in each of `groups` groups; `eps` None: the rounding error of the
    input's type. Group normalization (`over_places`) averages over all axes behind that of the channels as well.
    """

    counts: Tensor

    def __init__(
        self,
        weight: Tensor | None,
        bias: Tensor | None,
        counts: Tensor,
        *,
        eps: float | None,
        total: int,
        axis: int = -1,
        groups: int = 1,
        centred: bool = True,
        over_places: bool = False,
    ) -> None:
        super().__init__()
        self.weight = None if weight is None else nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.register_buffer("counts", counts.detach().clone())
        self.how = {
            "eps": eps, "total": total, "axis": axis, "groups": groups, "centred": centred, "over_places": over_places
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x (…, channels, …) → the same shape."""
        operator = torch.ops.stochastic_collapse.weighted_norm
        normalized: Tensor = operator(x, self.weight, self.bias, self.counts, *self.how.values())
        return normalized

    def extra_repr(self) -> str:
        return f"{len(self.counts)} channels, " + ", ".join(f"{name}={value}" for name, value in self.how.items())


class MultiheadAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` with fewer heads or another width: heads × size need not be the width of its input.

    Made of one of those by `from_plain`; called in the same way.
    """

    head_size: int

    @classmethod
    def from_plain(cls, module: nn.MultiheadAttention) -> MultiheadAttention:
        """Turn `module` itself into one, before its parameters change."""
        head_size = module.head_dim
        module.__class__ = cls
        assert isinstance(module, cls)
        module.head_size = head_size
        module._qkv_same_embed_dim = False  # so that no transformer layer takes its fast path around `forward`
        return module

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention.forward`."""
        is_batched = query.ndim == 3
        inputs = [x if is_batched else x[None] for x in (query, key, value)]
        if is_batched and not self.batch_first:
            inputs = [x.transpose(0, 1) for x in inputs]
        q, k, v = (
            functional.linear(x, weight, bias).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for x, weight, bias in zip(inputs, self._weights(), self._biases(), strict=True)
        )
        mask = self._mask(attn_mask, key_padding_mask, q, k)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.mT / self.head_size**0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            x = functional.dropout(weights, dropout) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            x = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        x = self.out_proj(x.transpose(1, 2).flatten(2))
        if not is_batched:
            return x[0], None if weights is None else weights[0]
        return x if self.batch_first else x.transpose(0, 1), weights

    def _weights(self) -> Any:
        if self.in_proj_weight is not None:
            return self.in_proj_weight.chunk(3)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def _biases(self) -> Any:
        return (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)

    def _mask(self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        """What is added to the scores (batch, heads, queries, keys)."""
        masks = []
        if attn_mask is not None:
            mask = _additive(attn_mask, q)
            masks.append(mask.unflatten(0, (len(q), -1)) if mask.ndim == 3 else mask)
        if key_padding_mask is not None:
            masks.append(_additive(key_padding_mask, q).view(-1, 1, 1, k.shape[2]))
        return sum(masks) if masks else None  # type: ignore[return-value]


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A boolean mask, true where nothing may be seen, as numbers to add; others are such numbers already."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
    return mask.to(like.dtype)


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` in all places of `old`, trained or not as that is."""
    new.train(old.training)
    new.requires_grad_(all(parameter.requires_grad for parameter in old.parameters()))
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
