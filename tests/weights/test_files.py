"""Files and folders of weights as the programs that people use write them, read whole, lazily, and with nothing run."""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from stochastic_collapse.errors import InputError
from stochastic_collapse.weights.files import LazyState, load_file, read, shapes, state_of_checkpoint

from .networks import network, same, trained_optimizer

State = Mapping[str, Tensor]


def test_a_bare_state_dict_stands_at_the_top(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "weights.pth")
    found = read(tmp_path / "weights.pth")
    assert found.path == tmp_path / "weights.pth"
    assert list(found.states) == [""]
    assert same(found.states[""], state)
    assert (found.about, found.config) == ({}, None)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("wrap", "places"),
    [
        (lambda s: {"model": s, "step": 3}, ["model"]),
        (lambda s: {"state": {"model": s, "step": 3}, "rng": []}, ["state.model"]),
        (lambda s: {"state.model": s}, ["state.model"]),
        (lambda s: {"state_dict": s, "state_dict_ema": s, "epoch": 2}, ["state_dict", "state_dict_ema"]),
        (lambda s: {"a": {"b": {"c": {"d": s}}}}, ["a.b.c.d"]),
        (lambda s: {**s, "n_averaged": 5, "_metadata": {"": {"version": 1}}, "0._extra_state": {"a": 1}}, [""]),
    ],
)
def test_every_state_dict_is_found_by_its_place(
    wrap: Callable[[State], dict[str, Any]], places: list[str], zipped: bool, tmp_path: Path
) -> None:
    state = dict(network().state_dict())
    torch.save(wrap(state), tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "weights.pt").states
    assert list(found) == places
    assert all(same(found[place], state) for place in places)


def test_what_lies_five_levels_deep_is_not_searched_for(tmp_path: Path) -> None:
    torch.save({"a": {"b": {"c": {"d": {"e": network().state_dict()}}}}}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="no tensors of a network in it; at its top level are a; save"):
        read(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["optimizer", "optim_states", "Optimizers", "other"])
def test_the_state_of_an_optimizer_is_none_of_a_network(name: str, tmp_path: Path) -> None:
    model = network()
    optimizer = trained_optimizer(model).state_dict()
    by_name = {key: {"exp_avg": value} for key, value in model.state_dict().items()}  # as FSDP keys it
    content = {
        "net": model.state_dict(),
        name: {"state": by_name, "param_groups": optimizer["param_groups"]},
        "optimizers": {"first": by_name},
    }
    torch.save(content, tmp_path / "weights.pt")
    found = read(tmp_path / "weights.pt")
    assert (list(found.states), found.about) == (["net"], {})


def test_averaged_weights_are_a_state_dict_with_their_counter(tmp_path: Path) -> None:
    model = network()
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    torch.save({"ema": averaged.state_dict()}, tmp_path / "weights.pt")
    found = read(tmp_path / "weights.pt").states["ema"]
    assert found["n_averaged"].item() == 1
    assert same({key.removeprefix("module."): v for key, v in found.items() if key != "n_averaged"}, model.state_dict())


class Custom:
    pass


class Renamed(collections.OrderedDict):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_out_beside_objects_of_unknown_classes(zipped: bool, tmp_path: Path) -> None:
    state = dict(network().state_dict())
    state["0.weight"] = nn.Parameter(state["0.weight"])
    state["0.weight"].mark = Custom()  # saved as a parameter with a state of its own
    state["count"] = torch.ones(3, dtype=torch.uint16)
    content = {
        "model": state,
        "again": Renamed(state),
        "extra": Custom(),
        "args": argparse.Namespace(arch="mlp", lr=0.1),
    }
    torch.save(content, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "weights.pt")
    assert list(found.states) == ["model", "again"]
    assert all(same(held, state) for held in found.states.values())
    assert found.about == {"args": {"arch": "mlp", "lr": 0.1}}


def test_about_is_the_plain_values_at_the_top(tmp_path: Path) -> None:
    content = {
        "arch": "resnet18",
        "epoch": 7,
        "best": 0.5,
        "done": True,
        "nothing": None,
        "list": [1, 2],
        "hyper_parameters": {"lr": 0.1, "model": {"widths": [3], "act": "gelu"}, "device": torch.device("cpu")},
        "state_dict": {**network().state_dict(), "n_averaged": 5},
    }
    torch.save(content, tmp_path / "weights.pt")
    assert read(tmp_path / "weights.pt").about == {
        "arch": "resnet18",
        "epoch": 7,
        "best": 0.5,
        "done": True,
        "hyper_parameters": {"lr": 0.1, "model": {"act": "gelu"}},
    }


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_a_lightning_trainer(tmp_path: Path) -> None:
    lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self, width: int, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.network = nn.Linear(4, width)

        def training_step(self, batch: Tensor) -> Tensor:
            loss: Tensor = self.network(batch).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])

    module = Module(width=3, lr=0.01)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = lightning.Trainer(max_steps=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(8, 4), batch_size=2))  # type: ignore[arg-type]
    [checkpoint] = (tmp_path / "checkpoints").glob("*.ckpt")
    found = read(checkpoint)
    assert list(found.states) == ["state_dict"]
    assert same(found.states["state_dict"], module.state_dict())
    assert found.about["global_step"] == 2
    assert found.about["hyper_parameters"] == {"width": 3, "lr": 0.01}
    assert same(read(tmp_path / "checkpoints").states["state_dict"], module.state_dict())


def test_safetensors_are_read_when_used(tmp_path: Path) -> None:
    state = {**network().state_dict(), "half": torch.ones(2, 3, dtype=torch.bfloat16), "scalar": torch.tensor(2)}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt", "arch": "mlp"})
    found = read(tmp_path / "model.safetensors")
    lazy = found.states[""]
    assert isinstance(lazy, LazyState)
    assert same(lazy, state)
    assert shapes(lazy) == shapes(state) == {name: tuple(value.shape) for name, value in state.items()}
    assert lazy.shape_of("half") == (2, 3)
    assert lazy.dtype_of("half") == torch.bfloat16
    assert found.about == {"arch": "mlp"}
    assert "none" not in lazy
    with pytest.raises(KeyError, match="none"):
        lazy["none"]


MEASURE = """
import resource, sys, torch, safetensors.torch
from pathlib import Path
from stochastic_collapse.weights.files import read, shapes
torch.load(sys.argv[2]), safetensors.torch.load_file(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read(Path(sys.argv[1]))
assert [tuple(shape) for state in found.states.values() for shape in shapes(state).values()] == [(5000, 2500)] * 4
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize("name", ["large.safetensors", "large.pt"])
def test_shapes_of_200_megabytes_cost_next_to_no_memory(name: str, tmp_path: Path) -> None:
    state = {f"{k}.weight": torch.full((5000, 2500), float(k)) for k in range(4)}
    small = {"a": torch.ones(1)}
    save_file(small, tmp_path / "small.safetensors")
    torch.save(small, tmp_path / "small.pt")
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save({"model": state}, path)
    files = [path, tmp_path / "small.pt", tmp_path / "small.safetensors"]
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, files)], check=True, capture_output=True, text=True)
    assert path.stat().st_size > 200e6
    assert int(done.stdout) < 20 * 1024
    assert float(read(path).states.popitem()[1]["3.weight"].mean()) == 3


def test_a_zip_archive_that_was_compressed_again_is_read_right(tmp_path: Path) -> None:
    state = {"weight": torch.zeros(200, 200)}
    torch.save(state, tmp_path / "first.pt")
    with zipfile.ZipFile(tmp_path / "first.pt") as old, zipfile.ZipFile(tmp_path / "again.pt", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert same(read(tmp_path / "again.pt").states[""], state)


@pytest.fixture(scope="module")
def transformer() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    return transformers.GPT2Model(config)


@pytest.mark.parametrize("size", ["10KB", "1GB"])
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_hugging_face_in_one_file_or_shards(transformer: Any, size: str, tmp_path: Path) -> None:
    transformer.save_pretrained(tmp_path, max_shard_size=size)
    shards = list(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1 if size == "10KB" else len(shards) == 1
    found = read(tmp_path)
    assert same(found.states[""], transformer.state_dict())
    assert isinstance(found.states[""], LazyState)
    assert found.config is not None
    assert (found.config["model_type"], found.config["n_layer"]) == ("gpt2", 2)
    if size == "10KB":
        index = read(tmp_path / "model.safetensors.index.json")
        assert same(index.states[""], transformer.state_dict())
        assert index.config == found.config
        shards[0].unlink()
        with pytest.raises(InputError, match=rf"1 of its {len(shards)} files missing in .*: {shards[0].name}; copy or"):
            read(tmp_path)


def test_a_hugging_face_folder_of_pickles_in_one_file_or_shards(tmp_path: Path) -> None:
    state = dict(network().state_dict())
    for k, name in enumerate(state):
        torch.save({name: state[name]}, tmp_path / f"pytorch_model-{k}.bin")
    places = {name: f"pytorch_model-{k}.bin" for k, name in enumerate(state)}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"model_type": "own"}')
    torch.save({}, tmp_path / "training_args.bin")
    assert same(read(tmp_path).states[""], state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = read(tmp_path)
    assert same(found.states[""], state)
    assert found.config == {"model_type": "own"}


def test_a_folder_with_one_weights_file_is_that_file(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({"model": state}, tmp_path / "step_3.pt")
    torch.save(trained_optimizer(network()).state_dict(), tmp_path / "optimizer.pt")
    (tmp_path / "notes.txt").write_text("of a run")
    assert same(read(tmp_path).states["model"], state)


def test_a_run_reads_its_checkpoints(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({"format": 1, "step": 3, "model": state}, tmp_path / "step_3.pt")
    assert load_file(tmp_path / "step_3.pt")["step"] == 3
    assert same(state_of_checkpoint(tmp_path / "step_3.pt"), state)
    torch.save(state, tmp_path / "bare.pt")
    with pytest.raises(InputError, match=r"bare\.pt: not a checkpoint of a run"):
        state_of_checkpoint(tmp_path / "bare.pt")
    with pytest.raises(InputError, match=r"none\.pt: no such file$"):
        load_file(tmp_path / "none.pt")
