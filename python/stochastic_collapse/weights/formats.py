"""What kind of file a path is, told by its first bytes, and what to do where it is none that holds our weights."""

from __future__ import annotations

import difflib
import zipfile
from pathlib import Path
from typing import Literal

from ..errors import InputError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
"""Of weights files in a folder. A file that is named itself may have any suffix."""

_KINDS = "a file of safetensors or torch.save"
_LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # torch.save's before it wrote zip archives
_KERAS = "a Keras file (HDF5); load it in Keras and save its arrays with safetensors.numpy.save_file"
_TENSORFLOW = "a TensorFlow checkpoint; load it in TensorFlow and save its arrays with safetensors.numpy.save_file"
_NUMPY = "a NumPy file; save its arrays with safetensors.numpy.save_file"
_GGUF = "a GGUF file of llama.cpp; take the PyTorch or safetensors weights that it was converted from"
_ONNX = "an ONNX graph; take the PyTorch or safetensors weights that it was exported from"
_MSGPACK = "a Flax msgpack file; load it in Flax and save its arrays with safetensors.flax.save_file"
_BY_MAGIC = {
    b"\x89HDF\r\n\x1a\n": _KERAS,
    b"GGUF": _GGUF,
    b"\x93NUMPY": _NUMPY,
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves; run `git lfs pull` where it was cloned",
    b"\x1f\x8b": "a gzip archive; unpack it and name the weights file in it",
    b"<": "a web page or XML, not weights; the download went wrong: download the file itself",
}
_BY_SUFFIX = {
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".gguf": _GGUF,
    ".onnx": _ONNX,
    ".msgpack": _MSGPACK,
    ".npz": _NUMPY,
    ".npy": _NUMPY,
    ".index": _TENSORFLOW,
    ".meta": _TENSORFLOW,
    ".pb": _TENSORFLOW,
}
_BY_MEMBER = {  # of a zip archive, the last part of a name in it
    "constants.pkl": "a TorchScript archive; save state_dict() of the network it was made of, or of torch.jit.load(…)",
    "archive_format": "a torch.export program; save state_dict() of the network it was exported from",
    "serialized_exported_program.json": "a torch.export program; save state_dict() of the network it was exported from",
    "model.weights.h5": _KERAS,
}


def kind_of(path: Path) -> Literal["safetensors", "zip", "legacy"]:
    """How the weights in a file are written: safetensors, or torch.save's zip archive or older format.

    Raises `InputError`, which tells the format and what to do, for any other file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not size:
        raise InputError(f"{path}: an empty file; copy, download or save it again")
    for magic, what in _BY_MAGIC.items():
        if head.startswith(magic):
            raise InputError(f"{path}: {what}")
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "zip"
    if _LEGACY_MAGIC in head[:32]:
        return "legacy"
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    if other := _other_format(path):
        raise InputError(f"{path}: {other}")
    if head[257:262] == b"ustar":
        raise InputError(f"{path}: a tar archive; unpack it and name the weights file in it")
    if head.startswith(b"\x80"):
        raise InputError(f"{path}: a plain pickle; load it where it was written, and torch.save its tensors")
    raise InputError(f"{path}: not {_KINDS}, or damaged; copy, download or save it again")


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        raise InputError(f"{path}: a PyTorch file that is cut short; copy, download or save it again") from None
    for member, what in _BY_MEMBER.items():
        if member in members:
            raise InputError(f"{path}: {what}")
    if "data.pkl" not in members:
        arrays = bool(members) and all(member.endswith(".npy") for member in members)
        what = _NUMPY if arrays else "a zip archive that torch.save did not write; unpack it and name the file in it"
        raise InputError(f"{path}: {what}")


def is_uncompressed(path: Path) -> bool:
    """Whether all in a zip archive is stored as it is, so that tensors can be mapped to memory."""
    with zipfile.ZipFile(path) as archive:
        return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def _other_format(path: Path) -> str | None:
    return _TENSORFLOW if path.suffix.startswith(".data-") else _BY_SUFFIX.get(path.suffix)


def refuse_missing(path: Path) -> InputError:
    """For a path at which there is nothing, with the nearest names beside it."""
    if path.with_name(f"{path.name}.index").is_file():  # TensorFlow's are named by what their files have in common
        return InputError(f"{path}: {_TENSORFLOW}")
    if not path.parent.is_dir():
        return InputError(f"{path}: no such file or folder, since there is no folder {path.parent}")
    names = sorted(entry.name for entry in path.parent.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    if near:
        return InputError(f"{path}: no such file or folder; did you mean {' or '.join(map(repr, near))}?")
    return InputError(f"{path}: no such file or folder; {path.parent} holds {listed(names)}")


def refuse_folder(folder: Path) -> InputError:
    """For a folder without weights that can be read, with what is in it."""
    entries = sorted(folder.iterdir())
    for entry in entries:
        if what := _other_format(entry):
            return InputError(f"{folder}: no weights of PyTorch in this folder; {entry.name} is {what}")
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    return InputError(
        f"{folder}: no weights in this folder, which holds {listed(names)}; name a weights file, "
        f"which ends with {', '.join(SUFFIXES)}, or the folder that has one"
    )


def listed(names: list[str], most: int = 8) -> str:
    """Names for a message, cut short if they are many."""
    if not names:
        return "nothing"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
