"""Data that users' own code makes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stochastic_collapse.config import PythonDataSettings
from stochastic_collapse.data.dataset import Dataset, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.sources import sources_of
from stochastic_collapse.errors import InputError
from stochastic_collapse.task import Input

_HEAD = """
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


x, y = torch.arange(24.0).view(8, 3), torch.arange(8) % 2
pairs = TensorDataset(x, y)
"""


def settings(folder: Path, body: str, **given: Any) -> PythonDataSettings:
    """Of a file whose function `data` has this body."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    (folder / "own.py").write_text(f"{_HEAD}\n\ndef data(**arguments):\n{lines}")
    reference = f"python:{folder / 'own.py'}:data"
    return PythonDataSettings.model_validate({"name": reference, "normalize": False, **given})


def loaded(folder: Path, body: str, **given: Any) -> Dataset:
    return load_dataset(settings(folder, body, **given))


PAIRS = "[(x[k], y[k]) for k in range(8)]"


@pytest.mark.parametrize(
    "body",
    [
        "return pairs, pairs",
        "return {'train': pairs, 'val': pairs}",
        f"return Items({PAIRS}), Items({PAIRS})",
        f"return {PAIRS}, Stream({PAIRS})",
        "return [Items([(x[k].tolist(), int(y[k])) for k in range(8)])] * 2",
        "return [Items([(x[k].numpy(), np.int64(y[k])) for k in range(8)])] * 2",
        "return [Items([{'inputs': x[k], 'label': y[k]} for k in range(8)])] * 2",
        "from types import SimpleNamespace as N\nreturn [Items([N(inputs=x[k], target=y[k]) for k in range(8)])] * 2",
        "from collections import namedtuple\nE = namedtuple('E', 'label, image')\n"
        "return [Items([E(y[k], x[k]) for k in range(8)])] * 2",
        "from collections import namedtuple\nE = namedtuple('E', 'a, b')\n"
        "return [Items([E(x[k], y[k]) for k in range(8)])] * 2",
    ],
)
def test_examples_in_any_form(body: str, tmp_path: Path) -> None:
    dataset = loaded(tmp_path, body)
    for part in (dataset.train, dataset.test):
        assert isinstance(part.inputs, Tensor)
        assert part.inputs.tolist() == [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(8)]
        assert part.targets.tolist() == [0, 1] * 4
    assert (dataset.task.kind, dataset.task.outputs, dataset.task.named) == ("classification", 2, None)


def test_arguments_are_handed_over(tmp_path: Path) -> None:
    body = "return [TensorDataset(x[:arguments['n']], y[:arguments['n']])] * 2"
    assert len(loaded(tmp_path, body, arguments={"n": 4}).train) == 4


def test_images_of_pil_are_channels_first(tmp_path: Path) -> None:
    body = """
from PIL import Image
image = Image.fromarray(np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3))
return [Items([(image, 0), (image, 1), (image, 1)])] * 2
"""
    dataset = loaded(tmp_path, body)
    expected = np.arange(60, dtype=np.uint8).reshape(4, 5, 3).transpose(2, 0, 1)
    np.testing.assert_array_equal(first(dataset.train.inputs)[0].numpy(), expected)
    assert dataset.task.has_images


def test_a_dataset_of_ours_is_taken_as_it_is(tmp_path: Path) -> None:
    body = """
from stochastic_collapse.data.dataset import Dataset, Split
from stochastic_collapse.task import Task
split = Split(x, y)
return Dataset(split, split, Task((3,), 5), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
"""
    dataset = loaded(tmp_path, body)
    assert (dataset.task.outputs, dataset.std) == (5, (2.0, 2.0, 2.0))


# --- tokens and several inputs ---


def test_targets_of_the_same_shape_are_the_next_tokens(tmp_path: Path) -> None:
    body = "t = torch.arange(40).view(4, 10) % 7\nreturn [TensorDataset(t[:, :-1], t[:, 1:])] * 2"
    dataset = loaded(tmp_path, body)
    assert dataset.task.kind == "next_token"
    assert (dataset.task.vocabulary, dataset.task.outputs, dataset.task.input_shape) == (7, 7, (9,))
    assert torch.equal(first(dataset.train.inputs)[:, 1:], dataset.train.targets[:, :-1])


def test_targets_that_are_the_tokens_themselves_are_moved_by_one(tmp_path: Path) -> None:
    """As transformers wants them."""
    body = """
t = torch.arange(40).view(4, 10) % 7
m = torch.ones(4, 10, dtype=torch.int64)
return [Items([{'input_ids': t[k], 'attention_mask': m[k], 'labels': t[k]} for k in range(4)])] * 2
"""
    dataset = loaded(tmp_path, body)
    inputs = dataset.train.inputs
    assert isinstance(inputs, Mapping)
    tokens = torch.arange(40).view(4, 10) % 7
    assert torch.equal(inputs["input_ids"], tokens[:, :-1])
    assert torch.equal(dataset.train.targets, tokens[:, 1:])
    assert inputs["attention_mask"].shape == (4, 9)
    assert dataset.task.named == {"input_ids": Input((9,), 7), "attention_mask": Input((9,), 2)}
    assert (dataset.task.kind, dataset.task.vocabulary) == ("next_token", 7)


def test_several_inputs_by_name(tmp_path: Path) -> None:
    body = """
return [Items([({'image': x[k].view(3, 1, 1), 'word': k % 5, 'score': float(k)}, y[k]) for k in range(8)])] * 2
"""
    dataset = loaded(tmp_path, body, normalize=True)
    assert dataset.task.named == {"image": Input((3, 1, 1)), "word": Input((), 5), "score": Input(())}
    inputs = dataset.train.inputs
    assert isinstance(inputs, Mapping)
    assert inputs["word"].dtype == torch.int64
    assert inputs["score"].tolist() == list(range(8))  # the first alone is normalized
    np.testing.assert_allclose(np.array(dataset.mean), np.arange(24).reshape(8, 3).mean(0), rtol=1e-6)


def test_tokens_with_classes(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, "return [TensorDataset(torch.arange(24).view(8, 3), y)] * 2")
    assert (dataset.task.kind, dataset.task.vocabulary, dataset.task.outputs) == ("classification", 24, 2)
    assert first(dataset.train.inputs).dtype == torch.int64


# --- what is random, and what it was made by ---


def test_random_numbers_are_fixed_and_generators_stay_as_they_are(tmp_path: Path) -> None:
    body = """
import random
g = [(torch.randn(3) + random.random() + float(np.random.rand()), k % 2) for k in range(6)]
return Items(g), Items(g)
"""
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    dataset, again = loaded(tmp_path, body), loaded(tmp_path, body)
    assert torch.equal(first(dataset.train.inputs), first(again.train.inputs))
    assert random.getstate() == states[0]
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_changed_code_has_another_digest_and_is_what_runs(tmp_path: Path) -> None:
    one = settings(tmp_path, "return pairs, pairs")
    before = sources_of(one)
    assert list(before) == ["data.name"]
    assert load_dataset(one).task.outputs == 2
    settings(tmp_path, "return [TensorDataset(x, torch.arange(8) % 4)] * 2")
    assert sources_of(one) != before
    assert load_dataset(one).task.outputs == 4


# --- mistakes ---


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return pairs", "returned one TensorDataset; expected two torch Datasets"),
        ("return pairs, pairs, pairs", "returned 3 values; expected two"),
        ("return {'train': pairs}", "returned a mapping with train; expected two"),
        ("return DataLoader(pairs), pairs", "train: a DataLoader, expected the Dataset inside"),
        ("return pairs, x", "test: a Tensor, expected a torch Dataset"),
        ("return pairs, 3", "test: a int, expected a torch Dataset"),
        ("return Items([]), pairs", "train: no example"),
        ("return Items([(x[0], 0, 1)]), pairs", r"train: example 0: a tuple of 3, expected \(input, target\)"),
        ("return Items([{'a': 1}]), pairs", "train: example 0: a dict with a, expected"),
        ("return Items([{'label': 1}]), pairs", "train: example 0: a target, and no input"),
        ("return Items([(x[0], 0), (x[0, :2], 1)]), pairs", r"example 1: input: of shape \(2,\), and those before it"),
        ("return Items([(x[0], 0), ({'a': x[0]}, 1)]), pairs", "example 1: inputs a, and those before it have "),
        ("return Items([('text', 0)]), pairs", "train: example 0: input: text, expected numbers"),
        ("return Items([([[1], [1, 2]], 0)]), pairs", "example 0: input: a list that is no array"),
        ("return Items([(x / 0, 0)] * 4), pairs", "train: inputs: .* are NaN, infinite"),
        ("return TensorDataset(x, y - 1), pairs", "train: targets: a label of -1, expected classes"),
        ("return pairs, TensorDataset(x[:, :2], y)", r"test: inputs: examples of shape \(2,\), and those to train"),
        ("t = torch.arange(20).view(4, 5) - 3\nreturn [TensorDataset(t, t)] * 2", "a token of -3 in example 0"),
        ("raise KeyError('lost')", r"own.py:\d+: KeyError: 'lost'"),
        ("return Items(None), pairs", r"train: .*own.py:\d+: TypeError"),
        ("class Bad(Items):\n    def __getitem__(self, k):\n        return 1 // (k - 2), 0\nreturn Bad([0] * 5), pairs",
         r"train: example 2: .*own.py:\d+: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        loaded(tmp_path, body)
    assert str(caught.value).startswith(f"data.name: python:{tmp_path / 'own.py'}:data: ")
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_told_with_the_nearest_names(tmp_path: Path) -> None:
    given = settings(tmp_path, "return pairs, pairs")
    with pytest.raises(InputError, match=r"no 'dta' in .*own\.py; the nearest names there are data"):
        load_dataset(given.model_copy(update={"name": given.name.replace(":data", ":dta")}))
    with pytest.raises(InputError, match=r"no file .*owm\.py; the nearest names there are own\.py"):
        load_dataset(given.model_copy(update={"name": given.name.replace("own.py", "owm.py")}))
