"""MNIST's, SVHN's and Tiny-ImageNet's files, small and made by hand: imported, read, damaged, and meant to harm."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from stochastic_collapse.data import downloads, files, published
from stochastic_collapse.data.downloads import DataFile, FileSet, ImageArchive
from stochastic_collapse.data.files import check, import_from
from stochastic_collapse.errors import InputError

SIZES = {"train": 5, "t10k": 3}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}i", 2048 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


# ---------------------------------------------------------------------------------------------------------------- MNIST


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for name, size in SIZES.items():
        made[f"{name}-images-idx3-ubyte"] = rng.integers(0, 256, (size, 28, 28))
        made[f"{name}-labels-idx1-ubyte"] = rng.integers(0, 10, size)
    return made


@pytest.fixture
def small(arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileSet:
    """MNIST with a few images, whose published files lie in tmp_path/published and unpacked in tmp_path/unpacked."""
    described = []
    (tmp_path / "published").mkdir()
    (tmp_path / "unpacked").mkdir()
    for name, array in arrays.items():
        content = idx(array)
        packed = gzip.compress(content, 9, mtime=1)
        (tmp_path / "published" / f"{name}.gz").write_bytes(packed)
        (tmp_path / "unpacked" / name).write_bytes(content)
        described.append(
            DataFile(f"{name}.gz", len(array), sha256(packed), size=len(packed), sha256_unpacked=sha256(content))
        )
    archive = dataclasses.replace(files.MNIST, files=tuple(described))
    monkeypatch.setattr(published, "MNIST", archive)
    monkeypatch.setattr(published, "FASHION_MNIST", dataclasses.replace(archive, name="fashion-mnist"))
    return archive


@pytest.mark.parametrize("form", ["published", "unpacked", "packed anew", "parent"])
def test_mnist_is_imported_and_read(small: FileSet, arrays: dict[str, np.ndarray], tmp_path: Path, form: str) -> None:
    source = tmp_path / ("unpacked" if form == "unpacked" else "published")
    if form == "packed anew":
        for path in source.iterdir():
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    if form == "parent":
        source.rename(tmp_path / "mnist")
        source = tmp_path
    folder = import_from(small, source, tmp_path / "data")
    assert sorted(p.name for p in folder.iterdir()) == sorted(file.name for file in small.files)
    assert set(check(small, tmp_path / "data").values()) == {"ok"}
    if form in ("published", "parent"):
        assert all(sha256((folder / file.name).read_bytes()) == file.sha256 for file in small.files)
    for read in (published.mnist, published.fashion_mnist):
        for (images, labels), name in zip(read(folder), SIZES, strict=True):
            np.testing.assert_array_equal(images[:, 0], arrays[f"{name}-images-idx3-ubyte"])
            np.testing.assert_array_equal(labels, arrays[f"{name}-labels-idx1-ubyte"])
            assert images.shape == (SIZES[name], 1, 28, 28)
            assert (images.dtype.name, labels.dtype.name) == ("uint8", "int64")
            assert images.flags.writeable  # for torch.from_numpy


@pytest.mark.parametrize("form", ["published", "unpacked"])
def test_another_file_is_refused_by_both_checksums(small: FileSet, tmp_path: Path, form: str) -> None:
    name = "t10k-images-idx3-ubyte" + (".gz" if form == "published" else "")
    path = tmp_path / form / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    file = small.files[2]
    expected = file.sha256 if form == "published" else file.sha256_unpacked
    with pytest.raises(
        InputError, match=rf"{name}: .*not the official one: .*{sha256(path.read_bytes())}, .*{expected}"
    ):
        import_from(small, tmp_path / form, tmp_path / "data")
    assert check(small, tmp_path / "data")[file.name] == "missing"


def test_a_missing_file_and_a_file_for_a_folder_are_refused(small: FileSet, tmp_path: Path) -> None:
    (tmp_path / "published" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz not found in it; expected a folder with"):
        import_from(small, tmp_path / "published", tmp_path / "data")
    with pytest.raises(InputError, match="not a folder; expected a folder with its four"):
        import_from(small, tmp_path / "published" / "train-images-idx3-ubyte.gz", tmp_path / "data")
    with pytest.raises(InputError, match="nowhere: no such file or folder; expected a folder with"):
        import_from(small, tmp_path / "nowhere", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_file_that_unpacks_without_end_is_not_read_to_it(
    small: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_LARGEST_UNPACKED", 1 << 21)
    content = bytes(1 << 24)
    bomb = dataclasses.replace(small.files[0], sha256_unpacked=sha256(content))
    path = tmp_path / bomb.name
    path.write_bytes(gzip.compress(content))
    assert bomb.state(path) == "damaged"
    monkeypatch.setattr(downloads, "_LARGEST_UNPACKED", 1 << 24)
    assert bomb.state(path) == "ok"


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("train-images-idx3-ubyte", lambda c: None, "missing"),
        ("train-images-idx3-ubyte", lambda c: c, "damaged: Not a gzipped file"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c)[:-9], "damaged: Compressed file ended before"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c)[:-8] + bytes(8), "damaged: CRC check failed"),
        (
            "train-images-idx3-ubyte",
            lambda c: gzip.compress(b""),
            r"an idx header of \[\], expected \[2051, 5, 28, 28\]",
        ),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c[:7]), r"an idx header of \[2051\], expected"),
        (
            "train-images-idx3-ubyte",
            lambda c: gzip.compress(b"\0\0\x0d" + c[3:]),
            r"an idx header of \[3331, 5, 28, 28\]",
        ),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c[:-1]), "3919 bytes after its header, expected 3920"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c + b"x"), "more than 3920 bytes after its header"),
        (
            "t10k-images-idx3-ubyte",
            lambda c: gzip.compress(idx(np.zeros((4, 28, 28)))),
            r"an idx header of \[2051, 4, 28, 28\]",
        ),
        (
            "t10k-labels-idx1-ubyte",
            lambda c: gzip.compress(idx(np.zeros(4))),
            r"an idx header of \[2049, 4\], expected \[2049, 3\]",
        ),
        ("t10k-labels-idx1-ubyte", lambda c: gzip.compress(c[:-1] + b"\x0a"), "a label of 10 among 10 classes"),
    ],
)
def test_damaged_idx_files_are_one_line(
    small: FileSet, tmp_path: Path, name: str, spoil: Callable[[bytes], bytes | None], says: str
) -> None:
    folder = import_from(small, tmp_path / "published", tmp_path)
    path = folder / f"{name}.gz"
    content = spoil((tmp_path / "unpacked" / name).read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}\.gz: {says}.*; run `sc data mnist` to download it") as caught:
        published.mnist(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert check(small, tmp_path)[path.name] == ("missing" if content is None else "damaged")


# ----------------------------------------------------------------------------------------------------------------- SVHN


def write_svhn(
    folder: Path, monkeypatch: pytest.MonkeyPatch, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> None:
    """SVHN with 4 and 2 images, with the checksums of what is written."""
    folder.mkdir()
    described = []
    for file, contents, records in zip(files.SVHN.files, (train, test), (4, 2), strict=True):
        savemat(folder / file.name, contents)
        described.append(dataclasses.replace(file, records=records, sha256=sha256((folder / file.name).read_bytes())))
    monkeypatch.setattr(published, "SVHN", dataclasses.replace(files.SVHN, files=tuple(described)))


def digits(size: int, labels: list[int]) -> dict[str, np.ndarray]:
    images = np.random.default_rng(size).integers(0, 256, (32, 32, 3, size)).astype(np.uint8)
    return {"X": images, "y": np.array(labels, np.uint8)[:, None]}


def test_svhn_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = digits(4, [1, 10, 9, 5]), digits(2, [10, 2])
    write_svhn(tmp_path / "svhn", monkeypatch, train, test)
    (images, labels), (test_images, test_labels) = published.svhn(tmp_path / "svhn")
    assert images.shape == (4, 3, 32, 32)
    assert test_images.shape == (2, 3, 32, 32)
    assert images[3, 2, 5, 7] == train["X"][5, 7, 2, 3]  # image, channel, row, column
    assert (labels.tolist(), test_labels.tolist()) == ([1, 0, 9, 5], [0, 2])
    assert (images.dtype.name, labels.dtype.name) == ("uint8", "int64")
    assert images.flags.c_contiguous


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c: None, "missing"),
        (lambda c: b"", f"damaged, or another file: SHA-256 {sha256(b'')}, expected [0-9a-f]{{64}}"),
        (lambda c: c[:-100], "damaged, or another file: SHA-256 .*"),
        (lambda c: c[:145] + b"\xff" + c[146:], "damaged, or another file: SHA-256 .*"),  # on which loadmat crashes
    ],
)
def test_damaged_mat_files_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[bytes], bytes | None], says: str
) -> None:
    write_svhn(tmp_path / "svhn", monkeypatch, digits(4, [1, 2, 3, 4]), digits(2, [1, 2]))
    path = tmp_path / "svhn" / "test_32x32.mat"
    content = spoil(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"test_32x32\.mat: {says}; run `sc data svhn` to download it") as caught:
        published.svhn(tmp_path / "svhn")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (digits(3, [1, 2, 3]), r"uint8 X \(32, 32, 3, 3\) and y \(3, 1\), expected 2 images"),
        (digits(2, [1, 2, 3]), r"and y \(3, 1\), expected 2 images"),
        (digits(2, [1, 11]), "labels from 1 to 11, expected 1 to 10"),
        (digits(2, [0, 1]), "labels from 0 to 1, expected 1 to 10"),
    ],
)
def test_wrong_counts_and_labels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: dict[str, np.ndarray], says: str
) -> None:
    write_svhn(tmp_path / "svhn", monkeypatch, digits(4, [1, 2, 3, 4]), test)
    with pytest.raises(InputError, match=rf"test_32x32\.mat: .*{says}"):
        published.svhn(tmp_path / "svhn")


# -------------------------------------------------------------------------------------------------------- Tiny-ImageNet

LAYOUT = {
    **{f"train/{name}/images/{name}_{i}.JPEG": f"{name} {i}".encode() for name in ("n01", "n02") for i in range(3)},
    **{f"val/images/val_{i}.JPEG": f"val {i}".encode() for i in range(4)},
    "val/val_annotations.txt": b"".join(b"val_%d.JPEG\tn0%d\t0\t0\t9\t9\n" % (i, 1 + i % 2) for i in range(4)),
    "wnids.txt": b"n01\nn02\n",
}


def tiny(path: Path, members: dict[str, bytes], folder: str = "tiny-imagenet-200/") -> ImageArchive:
    """Tiny-ImageNet with 2 classes of 3 images, and of the members in the .zip archive that is written to `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(folder + name, content)
    return described(path)


def described(path: Path) -> ImageArchive:
    content = path.read_bytes()
    small = dataclasses.replace(files.TINY_IMAGENET, classes=2, images_per_class=3, validation_images=4)
    return dataclasses.replace(small, size=len(content), sha256=sha256(content))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", ["zip", "folder", "parent"])
def test_tiny_imagenet_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    others = {"test/images/test_0.JPEG": b"no label", "train/n01/n01_boxes.txt": b"boxes"}
    archive = tiny(tmp_path / "t.zip", LAYOUT | others)
    with zipfile.ZipFile(tmp_path / "t.zip") as zipped:
        zipped.extractall(tmp_path / "mine")
    source = {"zip": "t.zip", "folder": "mine/tiny-imagenet-200", "parent": "mine"}[form]
    monkeypatch.setenv("SC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(files, "ARCHIVES", {archive.name: archive})
    assert files.listing()[-1]["state"].startswith("missing: run `sc data tiny-imagenet` (")
    said: list[str] = []
    folder = files.provide("tiny-imagenet", tmp_path / source, said.append)
    assert contents(folder) == LAYOUT
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["tiny-imagenet-200"]
    assert files.listing()[-1]["state"] == "ready: 6 training and 4 validation images"
    assert files.provide("tiny-imagenet", None, said.append) == folder
    assert said == ["tiny-imagenet: already there, 6 training and 4 validation images"]
    import_from(archive, folder)  # from where it is: it is only counted
    assert contents(folder) == LAYOUT
    (folder / "train" / "n01" / "images" / "n01_0.JPEG").unlink()
    assert files.listing()[-1]["state"] == "incomplete: train damaged; run `sc data tiny-imagenet`"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train/n02/images/n02_1.JPEG": None}, "1 classes of 3 images, 5 training and 4 labelled validation"),
        ({"train/n03/images/n03_0.JPEG": b"x"}, "2 classes of 3 images, 7 training"),
        ({"val/images/val_3.JPEG": None}, "6 training and 3 labelled validation"),
        (
            {"val/val_annotations.txt": b"val_0.JPEG\tn01\nval_1.JPEG\tn09\nval_2.JPEG\n\n\xff"},
            "and 1 labelled validation",
        ),
        ({"val/val_annotations.txt": None}, "and 0 labelled validation"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "folder"])
def test_other_numbers_of_images_are_refused(
    tmp_path: Path, change: dict[str, bytes | None], says: str, form: str
) -> None:
    archive = tiny(tmp_path / "t.zip", {n: c for n, c in (LAYOUT | change).items() if c is not None})
    with zipfile.ZipFile(tmp_path / "t.zip") as zipped:
        zipped.extractall(tmp_path / "mine")
    before = tmp_path / "data" / archive.folder / "before"
    before.parent.mkdir(parents=True)
    before.touch()
    with pytest.raises(InputError, match=rf"{says}.*; expected 2 classes, 6 training and 4 validation images: tiny"):
        import_from(archive, tmp_path / ("t.zip" if form == "zip" else "mine"), tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").rglob("*")] == [archive.folder, "before"]


def test_a_hostile_zip_writes_nothing_outside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "hostile.zip"
    path.parent.mkdir()
    escapes = (
        "../../escaped",
        "train/../../../escaped",
        "train/n01/images/../../../../../x.JPEG",
        "val/images/a/b.JPEG",
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in LAYOUT.items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)
        for name in ("/tmp/escaped_stochastic_collapse", "../escaped", *(f"tiny-imagenet-200/{e}" for e in escapes)):
            archive.writestr(name, b"x")
        link = zipfile.ZipInfo("tiny-imagenet-200/val/images")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(tmp_path))
    before = set(tmp_path.rglob("*"))
    folder = import_from(described(path), path, tmp_path / "data")
    assert contents(folder) == LAYOUT
    new = set(tmp_path.rglob("*")) - before - set(folder.rglob("*"))
    assert new == {tmp_path / "data", folder}
    assert not Path("/tmp/escaped_stochastic_collapse").exists()


def in_directory(path: Path, size: int) -> None:
    """Let the archive's directory state another size of its last member, unpacked."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, size)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (0xFFFF_FFF0, r"it unpacks to 4294967\d+ bytes, tiny-imagenet to no more than 1073741824"),
        (3, "not a complete zip archive: Bad CRC-32"),  # it holds more
    ],
)
def test_absurd_sizes_are_refused(tmp_path: Path, size: int, says: str) -> None:
    tiny(tmp_path / "t.zip", LAYOUT)
    in_directory(tmp_path / "t.zip", size)
    with pytest.raises(InputError, match=says):
        import_from(described(tmp_path / "t.zip"), tmp_path / "t.zip", tmp_path / "data")
    assert not list(tmp_path.glob("data/*"))


@pytest.mark.parametrize("spoil", [lambda c: c[:-40], lambda c: c[:200] + b"?" + c[201:], lambda c: b""])
def test_another_zip_is_refused_by_both_checksums(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "t.zip"
    archive = tiny(path, LAYOUT)
    content = spoil(path.read_bytes())
    path.write_bytes(content)
    both = f"{len(content)} bytes with SHA-256 {sha256(content)}, expected {archive.size} bytes with {archive.sha256}"
    with pytest.raises(InputError, match=re.escape(both)):
        import_from(archive, path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    with pytest.raises(InputError, match=r"t\.zip: ") as caught:  # and where the checksum is the one expected
        import_from(described(path), path, tmp_path / "data")
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    archive = tiny(tmp_path / "t.zip", LAYOUT)

    def interrupt(what: str, done: int, size: int) -> None:
        if done > size / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_from(archive, tmp_path / "t.zip", tmp_path / "data", interrupt)
    assert list((tmp_path / "data").iterdir()) == []
