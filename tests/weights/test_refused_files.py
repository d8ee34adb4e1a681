"""What cannot be read as weights ends with one line that names the file, the reason, and what to do; nothing runs."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stochastic_collapse.errors import InputError
from stochastic_collapse.weights.files import load_file, read

from .networks import BOMBED, Bomb, network, same, trained_optimizer


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(path))
    assert ";" in message or "did you mean" in message  # what to do
    return message.removeprefix(str(path))


def test_a_missing_path_names_the_nearest_ones(tmp_path: Path) -> None:
    (tmp_path / "resnet18.pth").write_bytes(b"1")
    assert refusal(tmp_path / "resnet81.pth") == ": no such file or folder; did you mean 'resnet18.pth'?"
    assert refusal(tmp_path / "zzz").endswith("holds resnet18.pth")
    with pytest.raises(InputError, match=r"a\.pt: no such file or folder, since there is no folder .*none$"):
        read(tmp_path / "none" / "a.pt")


def test_folders_without_weights_tell_what_is_in_them(tmp_path: Path) -> None:
    assert "no weights in this folder, which holds nothing; name" in refusal(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for k in range(9):
        (tmp_path / f"log{k}.txt").touch()
    assert "which holds checkpoints/, log0.txt, log1.txt" in refusal(tmp_path)
    assert "log6.txt and 2 more; name a weights file" in refusal(tmp_path)


def test_a_folder_with_several_weights_files_asks_which(tmp_path: Path) -> None:
    for name in ("a.pt", "b.safetensors"):
        (tmp_path / name).touch()
    assert refusal(tmp_path) == ": 2 weights files in this folder, a.pt, b.safetensors; name the one to read"


def test_whole_networks_are_refused_by_their_class(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "a.pt")
    assert "a whole network was pickled, of class torch.nn.modules.container.Sequential" in refusal(tmp_path / "a.pt")
    torch.save({"epoch": 3, "model": nn.Linear(2, 3)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    message = refusal(tmp_path / "b.pt")
    assert "pickled under 'model', of class torch.nn.modules.linear.Linear" in message
    assert "save model.state_dict()" in message


class Custom:
    pass


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({}, "no tensors of a network in it; at its top level are nothing"),
        ({"epoch": 3, "arch": "mlp"}, "no tensors of a network in it; at its top level are epoch, arch"),
        ({"state": {0: torch.ones(2)}}, "no tensors of a network in it; at its top level are state"),
        (trained_optimizer(network()).state_dict(), "no tensors of a network in it; at its top level are state, param"),
        ([torch.ones(2)], "holds a list, not a state dict"),
        (torch.ones(2), "holds a Tensor, not a state dict"),
        ({"a": Custom(), "b": 3}, r"only objects of \S+\.Custom; save model.state_dict\(\)"),
    ],
)
def test_files_without_tensors_of_a_network(content: Any, what: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"a.pt: .*{what}"):
        read(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore")
def test_compiled_and_exported_programs(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    torch.jit.save(torch.jit.trace(model, torch.ones(1, 2)), tmp_path / "script.pt")
    assert "a TorchScript archive; save state_dict()" in refusal(tmp_path / "script.pt")
    torch.export.save(torch.export.export(model, (torch.ones(1, 2),)), tmp_path / "program.pt2")
    assert "a torch.export program; save state_dict()" in refusal(tmp_path / "program.pt2")


def write_lfs(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 3\n")


@pytest.mark.parametrize(
    ("name", "write", "what"),
    [
        ("a.pt", lambda path: path.touch(), "an empty file"),
        ("a.safetensors", write_lfs, "a Git LFS pointer, not the weights themselves; run `git lfs pull`"),
        ("a.bin", write_lfs, "a Git LFS pointer"),
        ("a.pt", lambda path: path.write_text("<!DOCTYPE html><html>"), "a web page"),
        ("a.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "Keras"),
        ("a.pt", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "Keras"),
        ("a.msgpack", lambda path: path.write_bytes(b"\x81\xa6params" + bytes(99)), "Flax msgpack"),
        ("a.gguf", lambda path: path.write_bytes(b"GGUF" + bytes(99)), "GGUF"),
        ("a.onnx", lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(99)), "ONNX"),
        ("a.npz", lambda path: np.savez(path, a=np.ones(2)), "NumPy"),
        ("a.npy", lambda path: np.save(path, np.ones(2)), "NumPy"),
        ("a.ckpt.index", lambda path: path.write_bytes(bytes(99)), "TensorFlow"),
        ("a.ckpt.data-00000-of-00001", lambda path: path.write_bytes(bytes(99)), "TensorFlow"),
        ("a.pt", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a plain pickle; load it where it was written"),
        ("a.pt", lambda path: path.write_text("weights"), "not a file of safetensors or torch.save, or damaged"),
        ("a.safetensors", lambda path: path.write_text("weights"), "cannot be read as safetensors"),
        ("a.safetensors", lambda path: save_file({}, path), "no tensors in it"),
        ("a.index.json", lambda path: path.write_text("{"), "cannot be read as JSON"),
        ("a.index.json", lambda path: path.write_text('{"a": 1}'), "not an index of weights"),
    ],
)
def test_other_files_are_refused_by_name(name: str, write: Callable[[Path], object], what: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: .*{what}") as caught:
        read(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_tensorflow_is_told_by_what_its_files_have_in_common_and_by_folder(tmp_path: Path) -> None:
    for ending in ("index", "data-00000-of-00001"):
        (tmp_path / f"model.ckpt.{ending}").write_bytes(bytes(9))
    assert ": a TensorFlow checkpoint" in refusal(tmp_path / "model.ckpt")
    assert "model.ckpt.data-00000-of-00001 is a TensorFlow checkpoint" in refusal(tmp_path)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_files_that_are_cut_short(kind: str, kept: float, tmp_path: Path) -> None:
    path, state = tmp_path / "a", {"weight": torch.ones(50, 50)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    message = refusal(path)
    assert "cannot be read as" in message or "cut short" in message
    assert "copy, download or save it again" in message


def test_an_index_that_lies_and_a_shard_that_is_none(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x.safetensors", "b": "x.safetensors"}}))
    with pytest.raises(InputError, match=r"x\.safetensors: no tensor 'b', which model\.safetensors\.index\.json says"):
        read(tmp_path)
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "y.bin")
    index.write_text(json.dumps({"weight_map": {"a": "y.bin"}}))
    with pytest.raises(InputError, match=r"y\.bin: not a shard: it has no tensors at its top level, but model"):
        read(index)


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{,")
    with pytest.raises(InputError, match=r"config\.json: cannot be read as JSON"):
        read(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(zipped: bool, tmp_path: Path) -> None:
    path, state = tmp_path / "a.pt", network().state_dict()
    torch.save({"model": state, "extra": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    assert same(read(path).states["model"], state)
    assert same(load_file(path)["model"], state)
    torch.save(Bomb(), path, _use_new_zipfile_serialization=zipped)
    assert "only objects of " in refusal(path)
    assert not BOMBED.exists()


def test_code_where_torch_saves_its_header_or_in_a_plain_pickle_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(1)}, path, _use_new_zipfile_serialization=False)
    header = path.read_bytes()[:15]
    for content in (pickle.dumps(Bomb()), header + pickle.dumps(Bomb()), pickle.dumps(Bomb()) + header):
        path.write_bytes(content)
        refusal(path)
        with pytest.raises(InputError, match="cannot be read as a PyTorch file"):
            load_file(path)
    assert not BOMBED.exists()


def test_a_pickle_cannot_change_what_rebuilds_tensors(tmp_path: Path) -> None:
    before = torch._utils._rebuild_tensor_v2.__defaults__
    # Opcodes by hand, for a state that is set on the function: GLOBAL, the state, BUILD, STOP.
    state = pickle.dumps((None, {"__defaults__": (1,), "mark": 2}), protocol=2)[2:-1]
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b."
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, body if name.endswith("data.pkl") else old.read(name))
    refusal(tmp_path / "b.pt")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before
    assert not hasattr(torch._utils._rebuild_tensor_v2, "mark")
