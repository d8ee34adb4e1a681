"""Downloading and importing datasets: resumption, checks, and archives that mean harm. No network: a local server."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from stochastic_collapse.data import files
from stochastic_collapse.data.downloads import Archive, DataFile, FileSet, Published
from stochastic_collapse.data.files import CIFAR10, SVHN, TINY_IMAGENET, check, download, import_from
from stochastic_collapse.errors import InputError, StochasticCollapseError


@pytest.fixture
def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {name: rng.bytes(3 * CIFAR10.record_bytes) for name in ("data_batch_1.bin", "test_batch.bin")}


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def small(contents: dict[str, bytes], tmp_path: Path) -> Archive:
    """CIFAR-10 with two files of three records, packed in tmp_path/server."""
    (tmp_path / "server").mkdir()
    path = pack(
        tmp_path / "server" / "cifar-10-binary.tar.gz",
        {f"cifar-10-batches-bin/{name}": content for name, content in contents.items()},
    )
    described = tuple(
        DataFile(name, 3, hashlib.sha256(content).hexdigest(), name.startswith("test"))
        for name, content in contents.items()
    )
    return dataclasses.replace(CIFAR10, files=described, size=path.stat().st_size)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files with or without ranges, and can hang up early."""

    contents: dict[str, bytes] = {}  # noqa: RUF012
    ranges = True
    cut_after: int | None = None
    requests: list[str | None] = []  # noqa: RUF012
    names: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        name = self.path.rpartition("/")[2]
        content = self.contents[name]
        type(self).requests.append(wanted)
        type(self).names.append(name)
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(match[1]) if match and self.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = self.cut_after if self.cut_after is not None else len(content)
        self.wfile.write(content[start:stop])

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(contents: dict[str, bytes]) -> Iterator[tuple[str, type[Handler]]]:
    """Yield the address below which a server has the files, and its handler."""
    handler = type("H", (Handler,), {"contents": contents, "requests": [], "names": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def served(small: Archive, tmp_path: Path) -> Iterator[tuple[Archive, type[Handler]]]:
    name = "cifar-10-binary.tar.gz"
    with serving({name: (tmp_path / "server" / name).read_bytes()}) as (url, handler):
        yield dataclasses.replace(small, url=url + name), handler


def test_download(served: tuple[Archive, type[Handler]], contents: dict[str, bytes], tmp_path: Path) -> None:
    archive, _ = served
    seen: list[tuple[str, int, int]] = []
    folder = download(archive, tmp_path / "data", lambda *news: seen.append(news))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == contents
    assert [p.name for p in (tmp_path / "data").iterdir()] == [archive.folder]
    assert ("cifar-10-binary.tar.gz", archive.size, archive.size) in seen


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_continues(
    served: tuple[Archive, type[Handler]], contents: dict[str, bytes], tmp_path: Path, ranges: bool
) -> None:
    archive, handler = served
    handler.ranges, handler.cut_after = ranges, 4000
    with pytest.raises(StochasticCollapseError, match=r"4000 bytes are kept and the same call continues"):
        download(archive, tmp_path / "data")
    handler.cut_after = None
    folder = download(archive, tmp_path / "data")
    assert handler.requests == [None, "bytes=4000-"]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == contents


def test_no_server_says_how_else(small: Archive, tmp_path: Path) -> None:
    archive = dataclasses.replace(small, url="http://127.0.0.1:9/cifar-10-binary.tar.gz")
    with pytest.raises(StochasticCollapseError, match=r"download failed: .*--from PATH") as caught:
        download(archive, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_download_that_could_not_be_unpacked_is_kept(
    served: tuple[Archive, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, handler = served

    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "take", full_disk)
        with pytest.raises(OSError, match="No space left"):
            download(archive, tmp_path / "data")
    download(archive, tmp_path / "data")
    assert handler.requests == [None]


def test_a_download_of_something_else_is_refused_and_not_kept(
    served: tuple[Archive, type[Handler]], tmp_path: Path
) -> None:
    archive, handler = served
    handler.contents["cifar-10-binary.tar.gz"] = b"<html>moved</html>".ljust(archive.size)
    with pytest.raises(InputError, match="not a complete tar archive"):
        download(archive, tmp_path / "data")
    assert list((tmp_path / "data").rglob("*")) == []


@pytest.mark.parametrize("kind", ["archive", "folder", "parent"])
def test_import(small: Archive, contents: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    source = tmp_path / "server" / "cifar-10-binary.tar.gz"
    if kind != "archive":
        source = tmp_path / "mine"
        place = source if kind == "folder" else source / small.folder
        place.mkdir(parents=True)
        for name, content in contents.items():
            (place / name).write_bytes(content)
    folder = import_from(small, source, tmp_path / "data")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == contents
    assert set(check(small, tmp_path / "data").values()) == {"ok"}


def test_a_hostile_archive_writes_nothing_outside(small: Archive, contents: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "hostile.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {
            "../../escaped.bin": b"x",
            "/tmp/escaped_stochastic_collapse.bin": b"x",
            "../test_batch.bin": contents["test_batch.bin"],
            "a/../../data_batch_1.bin": contents["data_batch_1.bin"],
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("cifar-10-batches-bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        device = tarfile.TarInfo("x/data_batch_1.bin")
        device.type = tarfile.FIFOTYPE
        tar.addfile(device)
    before = set(tmp_path.rglob("*"))
    folder = import_from(small, path, tmp_path / "data")
    new = set(tmp_path.rglob("*")) - before
    assert new == {tmp_path / "data", folder, folder / "test_batch.bin", folder / "data_batch_1.bin"}
    assert not Path("/tmp/escaped_stochastic_collapse.bin").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c: {**c, "test_batch.bin": c["test_batch.bin"][:-1] + b"?"}, "test_batch.bin is not the official one"),
        (lambda c: {**c, "test_batch.bin": c["test_batch.bin"] * 2}, "not the official one: "),
        (lambda c: {"data_batch_1.bin": c["data_batch_1.bin"]}, "test_batch.bin not found in it"),
        (lambda c: {}, "data_batch_1.bin, test_batch.bin not found in it"),
    ],
)
def test_wrong_contents_are_refused(
    small: Archive,
    contents: dict[str, bytes],
    tmp_path: Path,
    spoil: Callable[[dict[str, bytes]], dict[str, bytes]],
    says: str,
) -> None:
    path = pack(tmp_path / "wrong.tar.gz", spoil(contents))
    with pytest.raises(InputError, match=re.escape(says)):
        import_from(small, path, tmp_path / "data")
    assert check(small, tmp_path / "data")["test_batch.bin"] == "missing"
    assert not list(tmp_path.rglob(".*tmp"))


def test_a_truncated_archive_is_refused(small: Archive, tmp_path: Path) -> None:
    path = tmp_path / "server" / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="not a complete tar archive"):
        import_from(small, path, tmp_path / "data")


def test_listing_tells_states_apart(
    small: Archive, contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ARCHIVES", {"cifar10": small})

    def state() -> str:
        return files.listing()[-1]["state"]

    assert state().startswith("missing: run `sc data cifar10`")
    folder = import_from(small, tmp_path / "server" / "cifar-10-binary.tar.gz")
    assert state() == "ready: all files have their SHA-256"
    (folder / "test_batch.bin").write_bytes(b"damaged")
    assert state() == "incomplete: test_batch.bin damaged; run `sc data cifar10`"


def test_the_official_checksums_are_sha256() -> None:
    examples = {"cifar10": 60_000, "cifar100": 60_000, "mnist": 140_000, "fashion-mnist": 140_000, "svhn": 99_289}
    for archive in files.ARCHIVES.values():
        if isinstance(archive, Archive | FileSet):
            assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in archive.files)
            assert all(re.fullmatch("([0-9a-f]{64})?", file.sha256_unpacked) for file in archive.files)
            assert sum(file.records for file in archive.files) == examples.pop(archive.name)  # MNIST: and labels
        assert all(part.size > 0 and re.match("https?://", part.url) for part in archive.downloads)
    assert examples == {}
    assert re.fullmatch("[0-9a-f]{64}", TINY_IMAGENET.sha256)


def test_partial_downloads_do_not_meet(tmp_path: Path) -> None:
    """MNIST and Fashion-MNIST have files of the same names."""
    places = [part.partial(tmp_path) for archive in files.ARCHIVES.values() for part in archive.downloads]
    assert len(set(places)) == len(places) == 13


@pytest.fixture
def two() -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    return {"train_32x32.mat": rng.bytes(7000), "test_32x32.mat": rng.bytes(5000)}


def file_set(contents: dict[str, bytes], url: str) -> FileSet:
    described = [DataFile(n, 1, hashlib.sha256(c).hexdigest(), size=len(c)) for n, c in contents.items()]
    return dataclasses.replace(SVHN, url=url, files=tuple(described))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_set_of_files_is_downloaded_one_by_one(two: dict[str, bytes], tmp_path: Path, ranges: bool) -> None:
    with serving(two) as (url, handler):
        archive = file_set(two, url)
        handler.ranges, handler.cut_after = ranges, 6000  # the second is shorter than that
        with pytest.raises(StochasticCollapseError, match=r"train_32x32\.mat: .* 6000 bytes are kept"):
            download(archive, tmp_path)
        handler.cut_after = None
        folder = download(archive, tmp_path)
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == two
        assert [p.name for p in tmp_path.iterdir()] == ["svhn"]
        assert handler.requests == [None, "bytes=6000-", None]
        (folder / "test_32x32.mat").write_bytes(b"damaged")
        handler.names.clear()
        download(archive, tmp_path)
        assert handler.names == ["test_32x32.mat"]
        assert set(check(archive, tmp_path).values()) == {"ok"}


def test_a_file_that_is_another_is_refused_and_not_kept(two: dict[str, bytes], tmp_path: Path) -> None:
    with serving(two | {"test_32x32.mat": b"x" * 5000}) as (url, _):
        archive = file_set(two, url)
        found, expected = hashlib.sha256(b"x" * 5000).hexdigest(), archive.files[1].sha256
        with pytest.raises(InputError, match=f"not the official one: .*{found}, expected 5000 bytes with {expected}"):
            download(archive, tmp_path)
    assert check(archive, tmp_path) == {"train_32x32.mat": "ok", "test_32x32.mat": "missing"}
    assert [p.name for p in tmp_path.rglob("*")] == ["svhn", "train_32x32.mat"]


def test_an_archive_of_images_is_downloaded(tmp_path: Path) -> None:
    members = {f"train/n0/images/n0_{i}.JPEG": bytes(10) for i in range(2)}
    members |= {"val/images/val_0.JPEG": bytes(9), "val/val_annotations.txt": b"val_0.JPEG\tn0\t0\t0\n"}
    with zipfile.ZipFile(tmp_path / "made", "w") as zipped:
        for name, content in members.items():
            zipped.writestr(f"tiny-imagenet-200/{name}", content)
    content = (tmp_path / "made").read_bytes()
    with serving({"t.zip": content}) as (url, handler):
        archive: Published = dataclasses.replace(
            TINY_IMAGENET,
            url=f"{url}t.zip",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            classes=1,
            images_per_class=2,
            validation_images=1,
        )
        handler.cut_after = 100
        with pytest.raises(StochasticCollapseError, match="100 bytes are kept"):
            download(archive, tmp_path / "data")
        handler.cut_after = None
        folder = download(archive, tmp_path / "data")
    assert handler.requests == [None, "bytes=100-"]
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()} == members
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["tiny-imagenet-200"]
