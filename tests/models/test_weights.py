"""Reading weights from files of every origin, without ever running what is in them."""

from __future__ import annotations

import datetime
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stochastic_collapse.config import VGG16Settings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.models.weights import load_weights


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return dict(build_model(VGG16Settings(name="vgg16", width=0.05), (3, 32, 32), 10).state_dict())


def saved(content: Any, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"model": w, "step": 3},
        lambda w: {"state": {"model": {f"module.{k}": v for k, v in w.items()}}},
        lambda w: {"state.model": {f"module.{k}": v for k, v in w.items()}},
        lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}},
        # What else MosaicML Composer writes beside the weights: generators as NumPy arrays, times.
        lambda w: {
            "state": {"model": {f"module.{k}": v for k, v in w.items()}, "timestamp": datetime.timedelta(seconds=1)},
            "rng": [{"numpy": np.random.default_rng(0).bit_generator.state, "array": np.arange(3)}],
        },
    ],
)
def test_wrappings(weights: dict[str, torch.Tensor], tmp_path: Path, wrap: Any) -> None:
    found = load_weights(saved(wrap(weights), tmp_path), "vgg16")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_the_published_batch_normalized_vgg16_has_our_names(tmp_path: Path) -> None:
    ours = build_model(VGG16Settings(name="vgg16", width=0.05, batch_norm=True), (3, 32, 32), 10).state_dict()
    heads = {"fc14": "fc.0", "fc15": "fc1.0", "fc16": "fc2.0"}

    def published(name: str) -> str:
        module, _, kind = name.rpartition(".")
        if module in heads:
            return f"module.{heads[module]}.{kind}"
        part, number = (0, module[4:]) if module.startswith("conv") else (1, module[2:])
        return f"module.layer{number}.{part}.{kind}"

    path = saved({"state": {"model": {published(k): v for k, v in ours.items()}}}, tmp_path)
    assert load_weights(path, "vgg16").keys() == ours.keys()


BOMBED = Path(tempfile.gettempdir()) / f"stochastic_collapse_ran_code_{os.getpid()}"


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (BOMBED,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(weights: dict[str, torch.Tensor], tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": weights, "extra": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    assert load_weights(path, "vgg16").keys() == weights.keys()
    assert not BOMBED.exists()


def test_code_in_a_plain_pickle_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError):
        load_weights(path, "vgg16")
    assert not BOMBED.exists()


@pytest.mark.parametrize("content", [3, [1], {"model": 3}, {}, {"a": "b"}])
def test_files_without_weights_are_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no state dict in it"):
        load_weights(saved(content, tmp_path), "mlp")


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"a": 1}), b"PK\x03\x04 half a zip"])
def test_files_that_are_not_pytorchs_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pt: (cannot be read as a PyTorch file|no state dict)") as caught:
        load_weights(path, "mlp")
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path / "none.pt", "mlp")
