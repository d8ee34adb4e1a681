"""Digests of what settings name: of the content, whatever its place and time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from stochastic_collapse.config import DataSettings
from stochastic_collapse.data.sources import digest_of_path, sources_of
from stochastic_collapse.errors import InputError


def written(folder: Path) -> Path:
    """A file of each kind."""
    folder.mkdir()
    np.savez(folder / "set.npz", x=np.arange(3), y=np.arange(3))
    for name in ("x.npy", "y.npy"):
        np.save(folder / name, np.arange(3))
    (folder / "t.csv").write_text("a,y\n1,2\n")
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("one")
    (folder / "texts" / "b.txt").write_text("two")
    (folder / "own.py").write_text("def data(): ...\n")
    for part in ("train", "val"):
        path = folder / "images" / part / "cat" / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (4, 4)).save(path)
    return folder


KINDS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "arrays", "path": "set.npz"}, "data.path", "set.npz"),
    ({"name": "arrays", "path": "x.npy", "targets": "y.npy"}, "data.targets", "y.npy"),
    ({"name": "tabular", "path": "t.csv", "target": "y"}, "data.path", "t.csv"),
    ({"name": "text", "path": "texts/a.txt"}, "data.path", "texts/a.txt"),
    ({"name": "text", "path": "texts"}, "data.path", "texts/b.txt"),
    ({"name": "images", "path": "images"}, "data.path", "images/val/cat/1.png"),
    ({"name": "python:own.py:data"}, "data.name", "own.py"),
]


def digests(folder: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(folder)
    settings: Any = TypeAdapter(DataSettings).validate_python(given)
    return sources_of(settings)


@pytest.mark.parametrize(("given", "setting", "file"), KINDS)
def test_content_counts_and_neither_place_nor_time(
    given: dict[str, Any], setting: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "one")
    found = digests(folder, given, monkeypatch)
    assert found[setting].startswith("sha256:")
    shutil.copytree(folder, tmp_path / "two")
    os.utime(tmp_path / "two" / file, (1, 1))
    assert digests(tmp_path / "two", given, monkeypatch) == found
    with (folder / file).open("ab") as stream:
        stream.write(b"#")
    changed = digests(folder, given, monkeypatch)
    assert changed[setting] != found[setting]
    assert {k: v for k, v in changed.items() if k != setting} == {k: v for k, v in found.items() if k != setting}


@pytest.mark.parametrize(("given", "setting", "file"), KINDS)
def test_what_is_not_there_is_named_with_its_setting(
    given: dict[str, Any], setting: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"^data\.") as caught:
        digests(tmp_path / "none", given, monkeypatch)
    assert "\n" not in str(caught.value)


def test_a_set_with_a_name_of_its_own_has_no_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digests(tmp_path, {"name": "digits"}, monkeypatch) == {}


def test_a_folder_counts_by_names_and_contents_of_what_is_not_hidden(tmp_path: Path) -> None:
    folder = written(tmp_path / "one") / "texts"
    found = digest_of_path(folder, "model.name")
    (folder / ".cache").write_text("x")
    assert digest_of_path(folder, "model.name") == found
    (folder / "b.txt").rename(folder / "c.txt")
    assert digest_of_path(folder, "model.name") != found


def test_a_module_has_the_digest_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "one")
    found = digests(folder, {"name": "python:own:data"}, monkeypatch)
    assert found == digests(folder, {"name": "python:own.py:data"}, monkeypatch)
    assert found == {"data.name": digest_of_path(folder / "own.py", "data.name")}


@pytest.mark.parametrize(
    "given",
    [
        {"name": "text", "path": "~nobody-of-this-name/x"},
        {"name": "images", "path": "~nobody-of-this-name/x"},
        {"name": "arrays", "path": "~nobody-of-this-name/x.npz"},
        {"name": "python:~nobody-of-this-name/x.py:data"},
        {"name": "arrays", "path": f"{'x' * 300}.npz"},
        {"name": "text", "path": "x" * 300},
        {"name": f"python:{'x' * 300}.py:data"},
        {"name": "python:texts/a.txt:data"},
        {"name": "arrays", "path": "texts"},
        {"name": "text", "path": "texts", "pattern": "*.md"},
    ],
)
def test_paths_that_cannot_be(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "one")
    with pytest.raises(InputError, match=r"^data\.(path|pattern|name): ") as caught:
        digests(folder, given, monkeypatch)
    assert "\n" not in str(caught.value)


def test_a_pattern_counts_the_files_that_it_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "one")
    given = {"name": "text", "path": "texts", "pattern": "a*"}
    found = digests(folder, given, monkeypatch)
    (folder / "texts" / "b.txt").write_text("other")
    assert digests(folder, given, monkeypatch) == found
    (folder / "texts" / "a.txt").write_text("other")
    assert digests(folder, given, monkeypatch) != found
