"""Decoder-only transformer for sequences of tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .vit import HEADS, Block, depth_and_size, small_normal


class GPT(nn.Module):
    """Transformer that predicts each next token, in the form of GPT-2 (Radford et al. 2019).

    (batch, T) tokens, integers from 0 to vocabulary − 1, T at most `context` → (batch, T, vocabulary) logits, of which
    those at t depend on the tokens up to t. Token and learned position embeddings of `dim` channels; `depth` blocks of
    `heads` heads and `hidden` neurons (4·dim if None). `dropout` is the probability in the embeddings and in what each
    part of a block adds. `tied`: the token embeddings are the head's weights as well, and there is no head of its own.

    Raises `InputError` where `heads` does not divide `dim`, and, when called, for more tokens than `context`.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        dim: int = 128,
        depth: int = 4,
        heads: int = HEADS,
        hidden: int | None = None,
        dropout: float = 0.0,
        act: str = "gelu",
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, dim)
        self.position_embedding = nn.Parameter(torch.empty(context, dim))
        self.dropout = nn.Dropout(dropout)
        blocks = (Block(dim, heads, hidden or 4 * dim, dropout, act, causal=True) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(dim)
        self.head = None if tied else nn.Linear(dim, vocabulary, bias=False)
        small_normal(self, into_stream=(2 * depth) ** -0.5)  # what all blocks add is not larger where there are more

    def forward(self, tokens: Tensor) -> Tensor:
        length, context = tokens.shape[1], len(self.position_embedding)
        if length > context:
            raise InputError(f"tokens: expected at most {context} in a sequence, found {length}")
        x = self.token_embedding(tokens) + self.position_embedding[:length]
        x = self.norm(self.blocks(self.dropout(x)))
        return functional.linear(x, (self.head or self.token_embedding).weight)


def like(
    weights: Mapping[str, Tensor], heads: int | None = None, head_size: int | None = None
) -> tuple[GPT, tuple[int]]:
    """A network of as many blocks as `weights` have, tied if they have no head, and the shape (T,) of the longest
    sequence that it takes. For the size of a head see `vit.depth_and_size`.

    Raises `KeyError` where a layer is missing.
    """
    vocabulary, context = len(weights["token_embedding.weight"]), len(weights["position_embedding"])
    depth, size = depth_and_size(weights, heads, head_size)
    network = GPT(vocabulary, context, size, depth, heads=1, hidden=1, tied="head.weight" not in weights)
    return network, (context,)
