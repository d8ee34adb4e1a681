"""Which of several state dicts is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stochastic_collapse.errors import InputError
from stochastic_collapse.weights import choose, read


def state(value: float = 0.0, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}fc.weight": torch.full((2, 2), value), f"{prefix}fc.bias": torch.zeros(2)}


def chosen(content: Any, tmp_path: Path, named: str | None = None) -> tuple[str, float]:
    torch.save(content, tmp_path / "file.pt")
    place, found = choose(read(tmp_path / "file.pt"), named)
    return place, float(next(tensor for name, tensor in found.items() if name.endswith("weight"))[0, 0])


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (state(1), ""),
        ({"model": state(1), "model_ema": state(2)}, "model"),
        ({"state_dict": state(1), "state_dict_ema": state(2)}, "state_dict"),
        ({"ema": state(2), "net": state(1)}, "net"),
        ({"params_ema": state(2), "params": state(1)}, "params"),
        ({"state": {"model": state(1)}, "ema": {"model": state(2)}}, "state.model"),
        ({"mine": state(1)}, "mine"),
        # Lightning's WeightAveraging keeps the average where the weights usually are.
        ({"state_dict": state(2), "current_model_state": state(1)}, "current_model_state"),
    ],
)
def test_the_weights_that_are_trained_come_first(content: Any, place: str, tmp_path: Path) -> None:
    assert chosen(content, tmp_path) == (place, 1)


def test_an_average_is_taken_where_there_is_nothing_else(tmp_path: Path) -> None:
    assert chosen({"ema": state(2)}, tmp_path) == ("ema", 2)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"model": state(1), "model_ema": state(2)}, "model_ema"),
        ({"state_dict": state(1), "averaged": state(2)}, "averaged"),
        ({"state_dict": state(2), "current_model_state": state(1)}, "state_dict"),
        ({**state(1, "model."), **state(2, "ema_model.")}, "ema_model."),
    ],
)
def test_an_average_goes_by_its_name_or_by_ema(content: Any, place: str, tmp_path: Path) -> None:
    assert chosen(content, tmp_path, "ema") == (place, 2)
    assert chosen(content, tmp_path, place.rstrip(".")) == (place, 2)


def test_a_part_of_a_flat_state_dict_lacks_its_name(tmp_path: Path) -> None:
    torch.save({**state(1, "student."), **state(2, "teacher.")}, tmp_path / "file.pt")
    _, found = choose(read(tmp_path / "file.pt"), "teacher")
    assert set(found) == {"fc.weight", "fc.bias"}
    assert len(found) == 2
    assert found["fc.weight"][0, 0] == 2


def test_several_of_equal_standing_are_asked_for_by_name(tmp_path: Path) -> None:
    content = {"generator": state(1), "discriminator": state(2)}
    with pytest.raises(InputError, match="2 state dicts in it; choose one of generator, discriminator by state"):
        chosen(content, tmp_path)
    assert chosen(content, tmp_path, "discriminator") == ("discriminator", 2)


def test_a_name_that_is_not_there_tells_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no 'ema' in .*; there are 'model'$"):
        chosen({"model": state(1)}, tmp_path, "ema")
    with pytest.raises(InputError, match=r"no 'ema' in .*; there are the file itself$"):
        chosen(state(1), tmp_path, "ema")


def test_what_programs_keep_beside_the_weights_is_none(tmp_path: Path) -> None:
    content = {"network_state": state(1), "generators": {"cpu": torch.zeros(3)}, "rng": {"x": torch.zeros(2)}}
    assert chosen(content, tmp_path) == ("network_state", 1)
