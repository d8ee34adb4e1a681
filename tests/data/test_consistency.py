"""A Dataset that users' code made has to be what its task says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from stochastic_collapse.data.consistency import checked
from stochastic_collapse.data.dataset import Dataset, Split
from stochastic_collapse.errors import InputError
from stochastic_collapse.task import Input, Task

X, Y = torch.rand(6, 3, 8, 8), torch.arange(6) % 4
OTHER: Any = "other"
TOKENS = torch.arange(30).view(6, 5) % 9


def of(inputs: Any, targets: Any, task: Any) -> Dataset:
    return Dataset(Split(inputs, targets), Split(inputs, targets), task)


IMAGES = of(X, Y, Task((3, 8, 8), 4))
TEXT = of(TOKENS, TOKENS, Task((5,), 9, "next_token", vocabulary=9))
REAL = of(X, torch.rand(6, 2), Task((3, 8, 8), 2, "regression"))
NAMED = of({"a": X, "b": TOKENS}, Y, Task((3, 8, 8), 4, named={"a": Input((3, 8, 8)), "b": Input((5,), 9)}))


@pytest.mark.parametrize(
    "dataset",
    [
        IMAGES,
        TEXT,
        REAL,
        NAMED,
        of(X, Y, Task((3, 6, 6), 4)),
        of(X.bfloat16(), Y.int(), IMAGES.task),
        of(TOKENS.to(torch.uint8), TOKENS.short(), TEXT.task),
        of(torch.arange(6.0), Y, Task((), 4)),
        replace(IMAGES, mean=(0.0,) * 3, std=(1.0,) * 3),
        replace(of(torch.arange(6.0), Y, Task((), 4)), mean=(0.0,), std=(1.0,)),
    ],
)
def test_what_fits_is_left_as_it_is(dataset: Dataset) -> None:
    assert checked(dataset, "data") is dataset


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (of(X[:5], Y, IMAGES.task), "train: inputs: 5 examples and 6 targets"),
        (of(X, Y, Task((3, 9, 8), 4)), r"train: inputs: examples of shape \(3, 8, 8\), and the task says \(3, 9, 8\)"),
        (of(X, Y, Task((1, 8, 8), 4)), r"and the task says \(1, 8, 8\)"),
        (
            of(X, Y, Task((3, 8, 8), 3)),
            r"train: targets: a label of 3 in example 3 \(counted from 0\), expected 0 to 2",
        ),
        (of(X, Y.float(), IMAGES.task), "train: targets: float32, expected whole numbers"),
        (of(X, Y[:, None], IMAGES.task), r"train: targets: of shape \(6, 1\), expected \(6,\): classification"),
        (of(X / 0, Y, IMAGES.task), "train: inputs: .* NaN, infinite"),
        (of(X, torch.full((6, 2), torch.nan), REAL.task), "train: targets: 12 of 12 numbers are NaN"),
        (of(X, torch.rand(6, 3), REAL.task), r"train: targets: of shape \(6, 3\), expected \(6, 2\): regression"),
        (of(TOKENS, TOKENS, TEXT.task._replace(vocabulary=8)), "train: inputs: a token of 8 in example 1"),
        (of(TOKENS, TOKENS, TEXT.task._replace(outputs=8)), "train: targets: a token of 8 in example 1"),
        (of(TOKENS.float(), TOKENS, TEXT.task), "train: inputs: float32, expected whole numbers"),
        (of({"a": X}, Y, NAMED.task), "train: inputs a, and the task has a, b"),
        (of({"a": X}, Y, IMAGES.task), "train: inputs by name, and the task has one without"),
        (of({"a": X, "b": TOKENS[:, :4]}, Y, NAMED.task), r"train: b: examples of shape \(4,\)"),
        (replace(IMAGES, mean=(0.0,), std=(1.0,)), "mean: 1 numbers for an input of shape"),
        (replace(IMAGES, mean=(0.0,) * 3), "one of mean and std, expected both or neither"),
        (replace(IMAGES, mean=(0.0,) * 3, std=(1.0, 0.0, 1.0)), "std: 0.0, expected a number above 0"),
        (replace(IMAGES, mean=(0.0, torch.nan, 0.0), std=(1.0,) * 3), "mean: nan, expected a number"),
        (of(X.numpy(), Y, IMAGES.task), "train: inputs: a ndarray, expected a tensor"),
        (of(X, Y.tolist(), IMAGES.task), "train: targets: a list, expected a tensor"),
        (of(X, Y[0], IMAGES.task), "train: targets: one number, expected one or more for each example"),
        (of(X[:0], Y[:0], IMAGES.task), "train: targets: no example"),
        (of(X.clone().requires_grad_(), Y, IMAGES.task), "train: inputs: a tensor that is no array: .*requires grad"),
        (of(X.to_sparse(), Y, IMAGES.task), "train: inputs: a tensor that is no array: .*Sparse"),
        (of(X.to(torch.complex64), Y, IMAGES.task), "train: inputs: complex64, expected numbers"),
        (of(torch.zeros(6, 0), Y, Task((0,), 4)), "train: inputs: examples without a number"),
        (of(X, Y - 1, IMAGES.task), "train: targets: a label of -1 in example 0"),
        (of({"b": TOKENS, "a": X}, Y, NAMED.task), "train: inputs b, a, and the task has a, b"),
        (of(X, Y, NAMED.task), "train: inputs without a name, and the task has a, b"),
        (of(NAMED.train.inputs, Y, NAMED.task._replace(vocabulary=3)), "task: named: the first is .*, and the task's"),
        (of(X, Y, IMAGES.task._replace(kind=OTHER)), "task: kind: other, expected classification, regression"),
        (replace(IMAGES, task=OTHER), "task: a str, expected a Task of ours"),
        (replace(IMAGES, test=OTHER), "test: a str, expected a Split of ours"),
        (replace(IMAGES, test=Split(X, Y + 1)), "test: targets: a label of 4 in example 3"),
    ],
)
def test_what_does_not_fit_is_one_line(dataset: Dataset, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        checked(dataset, "data.name: own")
    assert str(caught.value).startswith("data.name: own: ")
    assert "\n" not in str(caught.value)
