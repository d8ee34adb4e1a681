"""The files of a training, and their steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from stochastic_collapse.errors import InputError
from stochastic_collapse.weights import expand, steps_of


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["ckpt_200.safetensors", "ckpt_1000.safetensors"], [200, 1000]),
        (["ckpt_1000.pt", "ckpt_200.pt"], [200, 1000]),
        (["resnet18-epoch=1-step=390.ckpt", "resnet18-epoch=2-step=780.ckpt"], [390, 780]),
        (["resnet18-epoch=1.ckpt", "resnet18-epoch=02.ckpt"], [1, 2]),
        (["vit_16_a_10.pt", "vit_16_a_30.pt"], [10, 30]),
        (["step_5.pt"], [5]),
        (["resnet50.pt"], [0]),
        (["model-00001-of-00002.safetensors"], [0]),
    ],
)
def test_steps_from_names(names: list[str], steps: list[int]) -> None:
    found = steps_of(paths(*names))
    assert [step for step, _ in found] == steps
    assert {path for _, path in found} == set(paths(*names))


def test_steps_as_given_go_with_the_files_in_their_order() -> None:
    assert steps_of(paths("b.pt", "a.pt"), [2, 1]) == [(1, Path("a.pt")), (2, Path("b.pt"))]


@pytest.mark.parametrize(
    ("names", "steps", "expected"),
    [
        (["a.pt", "b.pt"], None, "do not tell the steps"),
        (["a_1_2.pt", "a_2_3.pt"], None, "do not tell the steps"),
        (["x/step_1.pt", "y/step_1.pt"], None, "do not tell the steps"),
        (["a.pt", "b.pt"], [1], "--steps: 1 steps for 2 files"),
        (["a.pt", "b.pt"], [3, 3], "both of step 3"),
        ([], None, "no file of weights"),
    ],
)
def test_names_that_do_not_tell(names: list[str], steps: list[int] | None, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        steps_of(paths(*names), steps)


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_folder_stands_for_the_files_of_a_training(tmp_path: Path) -> None:
    folder = touched(tmp_path / "a", "ckpt_1.safetensors", "ckpt_2.safetensors", "notes.txt")
    assert [path.name for path in expand([folder])] == ["ckpt_1.safetensors", "ckpt_2.safetensors"]


def test_a_folder_of_hugging_faces_trainer_stands_for_its_checkpoints(tmp_path: Path) -> None:
    folder = touched(tmp_path, "checkpoint-10/model.safetensors", "checkpoint-5/model.safetensors", "model.safetensors")
    assert [step for step, _ in steps_of(expand([folder]))] == [5, 10]


@pytest.mark.parametrize(
    "names",
    [
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        [".metadata", "__0_0.distcp", "__1_0.distcp"],
        ["model.safetensors", "config.json"],
    ],
)
def test_a_folder_of_one_network_stays_one(names: list[str], tmp_path: Path) -> None:
    assert expand([touched(tmp_path, *names)]) == [tmp_path]
