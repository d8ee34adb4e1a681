"""Text as a data set, byte by byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stochastic_collapse.config import TextSettings
from stochastic_collapse.data.dataset import Dataset, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.text import files_of
from stochastic_collapse.errors import InputError


def load(path: Path, **given: Any) -> Dataset:
    return load_dataset(TextSettings.model_validate({"name": "text", "path": str(path), "context": 4, **given}))


def text_of(dataset: Dataset) -> bytes:
    return bytes(first(dataset.train.inputs).flatten().tolist())


def test_an_example_is_followed_by_its_targets(tmp_path: Path) -> None:
    text = bytes(range(100, 200))
    (tmp_path / "t").write_bytes(text)
    dataset = load(tmp_path / "t", test_share=0.2)
    for part, of_part in ((dataset.train, text[:80]), (dataset.test, text[80:])):
        inputs, n = first(part.inputs), (len(of_part) - 1) // 4
        assert inputs.dtype == part.targets.dtype == torch.uint8
        assert inputs.tolist() == [list(of_part[4 * k : 4 * k + 4]) for k in range(n)]
        assert part.targets.tolist() == [list(of_part[4 * k + 1 : 4 * k + 5]) for k in range(n)]
    assert (dataset.task.kind, dataset.task.outputs, dataset.task.vocabulary) == ("next_token", 256, 256)
    assert dataset.task.input_shape == (4,)
    inputs = first(dataset.train.inputs)
    assert inputs.untyped_storage().data_ptr() == dataset.train.targets.untyped_storage().data_ptr()  # no copy


def test_files_of_a_folder_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, text in (
        ("b.txt", "bbbb"),
        ("a/z.txt", "aaaa"),
        ("c.md", "cccc"),
        (".git/x.txt", "xxxx"),
        (".y.txt", "yyyy"),
    ):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(4 * text)
    assert text_of(load(tmp_path / "folder", test_share=0.4)).startswith(b"a" * 16 + b"b" * 8)
    assert text_of(load(tmp_path / "folder", pattern="*.md", test_share=0.4)) == b"c" * 8
    assert text_of(load(tmp_path / "folder", pattern=".git/*", test_share=0.4)) == b"x" * 8


def test_the_first_examples_are_kept(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(bytes(range(100)))
    assert first(load(tmp_path / "t", train_size=2).train.inputs).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("tt", {}, "data.path: .*tt: no such file; the nearest names are t"),
        ("t", {"context": 99}, "data.path: .* 90 of its 100 bytes are to train with .*, expected 100 or more"),
        ("t", {"test_share": 0.01}, "1 of its 100 bytes are to test with"),
        ("folder", {"pattern": "*.py"}, r"data.pattern: \*.py: no file in .* matches it"),
        ("folder", {"pattern": "/x"}, "data.pattern: /x: .*expected one such as"),
        ("folder", {"pattern": ""}, "data.pattern: : .*expected one such as"),
        ("hidden", {}, r"data.pattern: \*\*/\*: no file in .* matches it"),
        ("hidden", {"pattern": ".*"}, "data.path: .* of its 1 bytes are to train with"),
        ("t", {"target_noise": 0.1}, "data.target_noise: is added to one-hot or real targets, and these are tokens"),
        ("t", {"train_size": 23}, "data.train_size: 23 is more than the 22 training examples"),
    ],
)
def test_what_is_wrong_is_one_line(path: str, given: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(bytes(100))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_bytes(bytes(100))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".a").write_bytes(bytes(1))
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / path, **given)
    assert "\n" not in str(caught.value)


def test_names_are_sorted_as_they_are_written_relative_to_the_folder(tmp_path: Path) -> None:
    names = ["a.txt", "Z.txt", "a/b.txt", "a/B.txt", "a.b.txt", "ä.txt"]
    for name in names:
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(files_of(TextSettings(name="text", path=str(tmp_path)))) == sorted(names)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "y" * 300])
def test_paths_that_cannot_be(path: str) -> None:
    with pytest.raises(InputError, match=r"^data\.path: .*(no such home directory|File name too long)$"):
        load(Path(path))
