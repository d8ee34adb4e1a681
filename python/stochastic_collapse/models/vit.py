"""Vision transformer, and the blocks that it and `gpt` are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .initialization import activation

HEADS = 4
STD = 0.02


class Attention(nn.Module):
    """Of each head softmax(q kᵀ / √size) v (Vaswani et al. 2017), which `out` mixes; of no later token if `causal`.

    (batch, tokens, dim) → the same shape. Raises `InputError` where `heads` does not divide `dim`.
    """

    def __init__(self, dim: int, heads: int, causal: bool) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"heads: expected a divisor of dim = {dim}, found {heads}")
        self.size = dim // heads  # and not how many there are, so that weights of fewer heads fit as well
        self.causal = causal
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.size)).transpose(1, 2)  # (batch, heads, tokens, size)
            for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """(…, dim) → `hidden` neurons → (…, dim)."""

    def __init__(self, dim: int, hidden: int, act: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = activation(act)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """x + attention(norm1(x)), and to that its mlp(norm2(…)): (batch, tokens, dim) → the same shape.

    `dropout` is the probability in what each of both adds. Raises `InputError` where `heads` does not divide `dim`.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, dropout: float = 0.0, act: str = "gelu", causal: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, causal)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, hidden, act)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        out: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return out


def small_normal(model: nn.Module, into_stream: float = 1.0) -> None:
    """Weights and embeddings from N(0, 0.02²), biases zero; `into_stream` multiplies the weights by which blocks write
    into the residual stream."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1:  # scales of normalization stay 1
            writes = name.endswith(("attention.out.weight", "mlp.fc2.weight"))
            nn.init.trunc_normal_(parameter, std=STD * (into_stream if writes else 1.0))


class ViT(nn.Module):
    """Vision transformer that normalizes before each part of a block (Dosovitskiy et al. 2021).

    (batch, channels, height, width) images of `image_shape` (channels, height, width) → (batch, num_classes) logits.
    Each square of `patch` × `patch` pixels is a token of `dim` channels, in front of them is the class token, positions
    are learned; `depth` blocks of `heads` heads and `hidden` neurons (4·dim if None); the head reads the class token.
    `dropout` is the probability in the embeddings and in what each part of a block adds.

    Raises `InputError` where `patch` does not divide height and width, or `heads` does not divide `dim`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        patch: int = 4,
        dim: int = 128,
        depth: int = 6,
        heads: int = HEADS,
        hidden: int | None = None,
        dropout: float = 0.0,
        act: str = "gelu",
    ) -> None:
        super().__init__()
        channels, height, wide = image_shape
        if height % patch or wide % patch:
            raise InputError(f"patch: expected a divisor of the images' {height} × {wide} pixels, found {patch}")
        self.patch_embedding = nn.Conv2d(channels, dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.position_embedding = nn.Parameter(torch.empty(1, 1 + (height // patch) * (wide // patch), dim))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(dim, heads, hidden or 4 * dim, dropout, act) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        small_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), dim=1) + self.position_embedding
        x = self.blocks(self.dropout(x))
        out: Tensor = self.head(self.norm(x[:, 0]))
        return out


def depth_and_size(weights: Mapping[str, Tensor], heads: int | None, head_size: int | None) -> tuple[int, int]:
    """How many blocks `weights` have, and `head_size`, or what it is where the first block has `heads`.

    Weights do not tell where a head ends. Raises `KeyError` where there is no block, and `InputError` where `heads`
    divides not all of them.
    """
    rows = [len(weights["blocks.0.attention.q.weight"])]
    while (name := f"blocks.{len(rows)}.attention.q.weight") in weights:
        rows.append(len(weights[name]))
    if head_size is not None:
        return len(rows), head_size
    if not heads or rows[0] % heads or any(one % (rows[0] // heads) for one in rows):
        raise InputError(f"heads: expected a divisor of {rows[0]}, found {heads}")
    return len(rows), rows[0] // heads


def like(
    weights: Mapping[str, Tensor], heads: int | None = None, head_size: int | None = None
) -> tuple[ViT, tuple[int, int, int]]:
    """A network of as many blocks as `weights` have, and the shape of an image that it takes.

    The image is square, or as nearly so as the number of patches allows; for the size of a head see `depth_and_size`.

    Raises `KeyError` where a layer is missing.
    """
    _, channels, patch, _ = weights["patch_embedding.weight"].shape
    classes, patches = weights["head.weight"].shape[0], weights["position_embedding"].shape[1] - 1
    rows = max(rows for rows in range(1, math.isqrt(patches) + 1) if patches % rows == 0)
    shape = (channels, rows * patch, patches // rows * patch)
    depth, size = depth_and_size(weights, heads, head_size)
    return ViT(shape, classes, patch, dim=size, depth=depth, heads=1, hidden=1), shape
