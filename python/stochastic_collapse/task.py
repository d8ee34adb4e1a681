"""What a network is to do: the inputs that it gets, and the outputs that are asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["classification", "regression", "next_token"]

FIGURES: dict[Kind, tuple[str, ...]] = {
    "classification": ("eval_accuracy",),
    "regression": ("eval_r2",),
    "next_token": ("eval_accuracy", "eval_bits_per_token"),
}


class Input(NamedTuple):
    """One input of a network."""

    shape: tuple[int, ...]
    """Of an example: (channels, height, width) of images, (columns,) of a table, (length,) of tokens."""
    vocabulary: int | None = None
    """Of tokens, which are integers, how many different ones there are; None: real numbers."""

    def example(self, n: int = 2) -> Tensor:
        """(n, *shape) zeros."""
        import torch  # takes a second, which settings do not have to wait for

        return torch.zeros(n, *self.shape, dtype=torch.float32 if self.vocabulary is None else torch.int64)


class Task(NamedTuple):
    """What data ask of a network."""

    input_shape: tuple[int, ...]
    """Of an example, of the first input where there are several."""
    outputs: int
    """Classes, real targets, or tokens to choose from."""
    kind: Kind = "classification"
    """classification: outputs (B, classes). regression: (B, targets). next_token: at each of T places those of the
    token that comes next, (B, T, tokens)."""
    vocabulary: int | None = None
    """As for an `Input`."""
    named: Mapping[str, Input] | None = None
    """Of inputs that go by name all, the first too; None: there is one, and it has no name."""

    @property
    def has_images(self) -> bool:
        """Whether the first input is an image."""
        return len(self.input_shape) == 3 and self.vocabulary is None

    @property
    def figures(self) -> tuple[str, ...]:
        """Columns of metrics.csv that say how good a network is at it, the first of them above all."""
        return FIGURES[self.kind]

    def example(self, n: int = 2) -> Tensor | dict[str, Tensor]:
        """Inputs of n examples, all zeros."""
        if self.named is not None:
            return {name: one.example(n) for name, one in self.named.items()}
        return Input(self.input_shape, self.vocabulary).example(n)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        named = None if self.named is None else {name: one._asdict() for name, one in self.named.items()}
        return {**self._asdict(), "named": named}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """What `to_json` gave; raises `KeyError`, `TypeError` or `AttributeError` for anything else."""
        named = values["named"]
        if named is not None:
            named = {name: Input(tuple(one["shape"]), one["vocabulary"]) for name, one in named.items()}
        return cls(**{**values, "input_shape": tuple(values["input_shape"]), "named": named})
