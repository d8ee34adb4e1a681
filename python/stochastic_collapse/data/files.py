"""Dataset files on disk: where they lie, what they must be, how to download or import them (`sc data`)."""

from __future__ import annotations

import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from rich.progress import TaskID

from ..errors import InputError, StochasticCollapseError
from ..runs import write_atomically
from ..terminal import bytes_bar

Progress = Callable[[str, int, int], None]
"""Called with what is being read, the bytes done, and the bytes in all."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """One file of records: its name, number of records, and SHA-256."""

    name: str
    records: int
    sha256: str
    is_test: bool = False


@dataclass(frozen=True)
class Archive:
    """A dataset in the official binary layout: an archive that unpacks to `folder`, which holds `files`.

    A record is `label_bytes` labels and then 3,072 pixels: red, green, blue, each 32 × 32 in row order.
    """

    name: str
    url: str
    size: int
    folder: str
    label_bytes: int
    files: tuple[DataFile, ...]

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + 3 * 32 * 32


_TORONTO = "https://www.cs.toronto.edu/~kriz"

CIFAR10 = Archive(
    name="cifar10",
    url=f"{_TORONTO}/cifar-10-binary.tar.gz",
    size=170_052_171,
    folder="cifar-10-batches-bin",
    label_bytes=1,
    files=(
        DataFile("data_batch_1.bin", 10_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        DataFile("data_batch_2.bin", 10_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        DataFile("data_batch_3.bin", 10_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        DataFile("data_batch_4.bin", 10_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        DataFile("data_batch_5.bin", 10_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        DataFile("test_batch.bin", 10_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b", True),
    ),
)
CIFAR100 = Archive(
    name="cifar100",
    url=f"{_TORONTO}/cifar-100-binary.tar.gz",
    size=168_513_733,
    folder="cifar-100-binary",
    label_bytes=2,
    files=(
        DataFile("train.bin", 50_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
        DataFile("test.bin", 10_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a", True),
    ),
)
ARCHIVES = {archive.name: archive for archive in (CIFAR10, CIFAR100)}


def data_root() -> Path:
    """Where datasets are kept: $SC_DATA, default ./data."""
    return Path(os.environ.get("SC_DATA") or "data")


FileState = Literal["ok", "missing", "damaged"]


def check(archive: Archive, root: Path | None = None) -> dict[str, FileState]:
    """State of each file of the dataset under `root`, by SHA-256."""
    folder = (root or data_root()) / archive.folder

    def state(file: DataFile) -> FileState:
        if not (folder / file.name).is_file():
            return "missing"
        digest = hashlib.sha256()
        with (folder / file.name).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return "ok" if digest.hexdigest() == file.sha256 else "damaged"

    return {file.name: state(file) for file in archive.files}


def is_complete(archive: Archive, root: Path | None = None) -> bool:
    """Whether every file is there and has its SHA-256."""
    return set(check(archive, root).values()) == {"ok"}


def listing(root: Path | None = None) -> list[dict[str, str]]:
    """Name and state of every dataset, for people: ready, or which files are missing or damaged."""
    ready = "ready: nothing to download"
    datasets = [{"name": name, "state": ready} for name in ("digits", "synthetic")]
    for archive in ARCHIVES.values():
        states = check(archive, root)
        bad = [f"{name} {state}" for name, state in states.items() if state != "ok"]
        if not bad:
            text = "ready: all files have their SHA-256"
        elif set(states.values()) == {"missing"}:
            text = f"missing: run `sc data {archive.name}` ({archive.size >> 20} MiB), or with --from PATH"
        else:
            text = f"incomplete: {', '.join(bad)}; run `sc data {archive.name}`"
        datasets.append({"name": archive.name, "state": text})
    return datasets


def provide(name: str, source: Path | None, report: Callable[[str], None]) -> Path:
    """See that the dataset called `name` is complete in `data_root()`: import it from `source`, or download it.

    Shows a progress bar on a terminal. Raises `InputError` for an unknown name and what `download` or `import_from`
    raise.
    """
    if name not in ARCHIVES:
        known = f"{', '.join(ARCHIVES)} are"
        raise InputError(f"no dataset {name!r} to fetch: {known} (digits and synthetic need no files)")
    archive = ARCHIVES[name]
    if source is None and is_complete(archive):
        report(f"{name}: already there, all files have their SHA-256")
        return data_root() / archive.folder
    with bytes_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        if source is not None:
            return import_from(archive, source, progress=progress)
        return download(archive, progress=progress)


def download(archive: Archive, root: Path | None = None, progress: Progress | None = None) -> Path:
    """Download and unpack the dataset, and return its folder; a download that broke off continues where it was.

    Raises `StochasticCollapseError` where the server cannot be reached, and `InputError` where what it sent is not the
    dataset (by SHA-256 of each file).
    """
    root = root or data_root()
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f"{PurePosixPath(archive.url).name}.part"
    try:
        _fetch(archive, partial, progress)
    except OSError as error:  # URLError, time-outs and broken connections are OSErrors
        reason = getattr(error, "reason", None) or error
        kept = f"; {partial.stat().st_size} bytes are kept and the same call continues" if partial.is_file() else ""
        raise StochasticCollapseError(
            f"{archive.url}: download failed: {reason}{kept}. Without a network, get the archive elsewhere and run "
            f"`sc data {archive.name} --from PATH`"
        ) from None
    try:
        folder = import_from(archive, partial, root, progress)
    except InputError:  # complete, but not what it should be; after anything else the next call unpacks it
        partial.unlink()
        raise
    partial.unlink()
    return folder


def _fetch(archive: Archive, partial: Path, progress: Progress | None) -> None:
    done = partial.stat().st_size if partial.is_file() else 0
    if done >= archive.size:
        return
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        if response.status != 206:  # the server sends the whole file, whatever was asked for
            done = 0
        with partial.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(archive.name, done, archive.size)
    if done < archive.size:
        raise ConnectionError(f"the connection closed after {done} of {archive.size} bytes")


def import_from(archive: Archive, source: Path, root: Path | None = None, progress: Progress | None = None) -> Path:
    """Import the dataset from an archive (.tar, .tar.gz) or a folder that the user has, and return its folder.

    Each file is taken by its name wherever it lies in `source`, checked, and only then put in place, so nothing else
    that a hostile archive may hold is ever written. Raises `InputError` where a file is missing or has another SHA-256.
    """
    folder = (root or data_root()) / archive.folder
    if source.is_dir():
        _import_files(archive, folder, _folder_members(archive, source), source, progress)
    elif source.is_file():
        try:
            with tarfile.open(source) as tar:
                _import_files(archive, folder, _tar_members(archive, tar), source, progress)
        except (tarfile.TarError, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # a full disk, say: not the archive's fault
                raise
            reason = (str(error).splitlines() or ["it is empty"])[0]
            raise InputError(f"{source}: not a complete tar archive: {reason}") from None
    else:
        raise InputError(
            f"{source}: no such file or folder; expected {PurePosixPath(archive.url).name} or its contents"
        )
    return folder


def _folder_members(archive: Archive, source: Path) -> Iterable[tuple[DataFile, IO[bytes]]]:
    for file in archive.files:
        for place in (source / file.name, source / archive.folder / file.name):
            if place.is_file():
                with place.open("rb") as stream:
                    yield file, stream
                break


def _tar_members(archive: Archive, tar: tarfile.TarFile) -> Iterable[tuple[DataFile, IO[bytes]]]:
    by_name = {file.name: file for file in archive.files}
    for member in tar:
        file = by_name.get(PurePosixPath(member.name).name)
        if file and member.isreg() and (stream := tar.extractfile(member)):
            yield file, stream


def _import_files(
    archive: Archive,
    folder: Path,
    members: Iterable[tuple[DataFile, IO[bytes]]],
    source: Path,
    progress: Progress | None,
) -> None:
    found = set()
    for file, stream in members:
        size = file.records * archive.record_bytes
        with write_atomically(folder / file.name) as temporary:
            digest, done = hashlib.sha256(), 0
            with temporary.open("wb") as out:
                while done <= size and (chunk := stream.read(_CHUNK)):  # never more than one chunk too many
                    digest.update(chunk)
                    out.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress(file.name, done, size)
            if digest.hexdigest() != file.sha256:
                found_size = f"{done} bytes" if done <= size else f"more than {size} bytes"
                raise InputError(
                    f"{source}: {file.name} is not the official one: {found_size} with SHA-256 {digest.hexdigest()}, "
                    f"expected {size} bytes with {file.sha256}"
                )
        found.add(file.name)
    missing = [file.name for file in archive.files if file.name not in found]
    if missing:
        raise InputError(
            f"{source}: {', '.join(missing)} not found in it; expected the binary version of {archive.name}, "
            f"{PurePosixPath(archive.url).name}, or a folder with its files"
        )
