"""Folders that torch.distributed.checkpoint wrote: of one process and of several, with and without code in them."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata

from stochastic_collapse.errors import InputError
from stochastic_collapse.weights.files import LazyState, read

from .networks import BOMBED, Bomb, network, same, trained_optimizer

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def written(content: dict[str, Any], folder: Path) -> Path:
    dcp.save(content, checkpoint_id=folder, no_dist=True)  # type: ignore[attr-defined]
    return folder


def rewrite(folder: Path, change: Callable[[Metadata], Any]) -> None:
    path = folder / ".metadata"
    path.write_bytes(pickle.dumps(change(pickle.loads(path.read_bytes()))))


def test_states_are_told_apart_and_read_when_used(tmp_path: Path) -> None:
    model = network()
    optimizer = trained_optimizer(model).state_dict()
    folder = written({"model": model.state_dict(), "optimizer": optimizer, "step": 5, "arch": "mlp"}, tmp_path / "a")
    found = read(folder)
    assert list(found.states) == ["model"]
    state = found.states["model"]
    assert isinstance(state, LazyState)
    assert same(state, model.state_dict())
    assert state.shapes() == {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert state.dtype_of("1.num_batches_tracked") == torch.int64
    assert found.about == {"step": 5, "arch": "mlp"}
    for name in (".metadata", "__0_0.distcp"):
        assert same(read(folder / name).states["model"], model.state_dict())


@pytest.mark.parametrize("known", [True, False])
def test_states_lie_as_deep_as_they_were(known: bool, tmp_path: Path) -> None:
    model = network()
    inner = {"model": model.state_dict(), "ema": model.state_dict(), "optim": trained_optimizer(model).state_dict()}
    folder = written({"app": inner}, tmp_path / "a")
    if not known:  # as of writers that keep no nesting
        rewrite(folder, lambda metadata: dataclasses.replace(metadata, planner_data=None))
    states = read(folder).states
    assert sorted(states) == ["app.ema", "app.model"]
    assert all(same(state, model.state_dict()) for state in states.values())


@pytest.mark.parametrize("known", [True, False])
def test_a_bare_state_dict_is_one_state(known: bool, tmp_path: Path) -> None:
    state = network().state_dict()
    folder = written(dict(state), tmp_path / "a")
    if not known:
        rewrite(folder, lambda metadata: dataclasses.replace(metadata, planner_data=None))
    found = read(folder).states
    assert list(found) == [""]
    assert same(found[""], state)


RANK = """
import sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh
folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}.rendezvous", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
weight = distribute_tensor(torch.arange(15.0).reshape(5, 3), mesh, [Shard(0)])
dcp.save({"model": {"fc.weight": weight, "fc.bias": torch.ones(5)}}, checkpoint_id=folder)
dist.destroy_process_group()
"""


def test_parts_that_several_processes_wrote_are_put_together(tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(folder), str(rank)]) for rank in range(2)]
    assert [rank.wait(timeout=60) for rank in ranks] == [0, 0]
    expected = {"fc.weight": torch.arange(15.0).reshape(5, 3), "fc.bias": torch.ones(5)}
    assert same(read(folder).states["model"], expected)
    missing = sorted(folder.glob("__1_*.distcp"))
    assert missing
    missing[0].unlink()
    with pytest.raises(InputError, match=r"1 of the checkpoint's 2 files missing: __1_0\.distcp; copy"):
        read(folder)


def test_code_in_the_metadata_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = written({"model": network().state_dict()}, tmp_path / "a")
    rewrite(folder, lambda metadata: dataclasses.replace(metadata, planner_data=Bomb()))
    with pytest.raises(
        InputError, match=r"\.metadata: needs pathlib\.Path\.touch, which .* was not run; if you trust it"
    ):
        read(folder)
    (folder / ".metadata").write_bytes(b"\x80\x04\x8c\x05torch\x8c\x10hub.load.__doc__\x93.")
    with pytest.raises(InputError, match=r"needs torch\.hub\.load\.__doc__"):
        read(folder)
    for name in ("os", "Enum"):  # what that module imports is not of it
        (folder / ".metadata").write_bytes(f"ctorch.distributed.checkpoint.metadata\n{name}\n.".encode())
        with pytest.raises(InputError, match=rf"needs torch\.distributed\.checkpoint\.metadata\.{name}"):
            read(folder)
    assert not BOMBED.exists()


def test_code_in_values_that_are_not_tensors_is_not_run(tmp_path: Path) -> None:
    state = network().state_dict()
    found = read(written({"model": state, "extra": Bomb(), "step": 3}, tmp_path / "a"))
    assert same(found.states["model"], state)
    assert found.about == {"step": 3}
    assert not BOMBED.exists()


def test_code_in_place_of_a_tensor_is_not_run(tmp_path: Path) -> None:
    folder = written({"model": {"weight": torch.ones(3)}, "extra": Bomb()}, tmp_path / "a")

    def swap(metadata: Metadata) -> Metadata:
        places = {index.fqn: info for index, info in metadata.storage_data.items()}
        return dataclasses.replace(
            metadata, storage_data={index: places["extra"] for index in metadata.storage_data if index.fqn != "extra"}
        )

    rewrite(folder, swap)
    shutil.copy(folder / ".metadata", tmp_path / "kept")
    with pytest.raises(InputError, match="cannot be read as a torch"):
        read(folder).states["model"]["weight"]
    assert not BOMBED.exists()


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps(3), pickle.dumps({"a": 1}), pickle.dumps(Metadata({}))])
def test_metadata_that_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(InputError, match=r"\.metadata: cannot be read as a torch\.distributed\.checkpoint: ") as caught:
        read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_metadata_that_only_look_like_some(tmp_path: Path) -> None:
    folder = written({"model": network().state_dict()}, tmp_path / "a")
    rewrite(folder, lambda metadata: dataclasses.replace(metadata, storage_data={1: 2}))
    with pytest.raises(InputError, match=r"\.metadata: cannot be read as a torch\.distributed\.checkpoint: "):
        read(folder)


def test_folders_that_are_cut_short_or_hold_no_network(tmp_path: Path) -> None:
    folder = written({"model": network().state_dict()}, tmp_path / "a")
    data = folder / "__0_0.distcp"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"__0_0\.distcp: cut short, [\d,]+ of [\d,]+ bytes; copy it again"):
        read(folder)
    folder = written({"optimizer": trained_optimizer(network()).state_dict(), "step": 3}, tmp_path / "b")
    with pytest.raises(InputError, match="no tensors of a network in this checkpoint, only optimizer"):
        read(folder)
