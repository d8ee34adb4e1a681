"""How datasets are published, downloaded, checked and brought to where they are read; `files` says which there are."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import tarfile
import urllib.request
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from ..errors import InputError
from ..runs import write_atomically

Progress = Callable[[str, int, int], None]
"""Called with what is being read, the bytes done, and the bytes in all."""
FileState = Literal["ok", "missing", "damaged"]
_Open = Callable[[str], IO[bytes]]

_CHUNK = 1 << 20
_LARGEST_UNPACKED = 1 << 26
"""More bytes than any of the .gz files holds."""
_LARGEST_FOLDER = 1 << 30
"""More bytes than any of the archives of images holds."""


def silent(what: str, done: int, size: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class Download:
    """A published file: its address, and its size in bytes; `prefix` tells partial files of the same name apart."""

    url: str
    size: int
    prefix: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.url).name

    def partial(self, root: Path) -> Path:
        """Where it lies until it has been checked."""
        return root / f"{self.prefix}{self.name}.part"

    def fetch(self, root: Path, progress: Progress) -> Path:
        """Download to `partial(root)`, from where an earlier call broke off, and return that, which is not checked.

        Raises `OSError` where the server cannot be reached or the connection breaks off; what has come is kept.
        """
        file = self.partial(root)
        done = file.stat().st_size if file.is_file() else 0
        if done >= self.size:
            return file
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={done}-"} if done else {})
        with urllib.request.urlopen(request, timeout=60) as response:
            if response.status != 206:  # the server sends the whole file, whatever was asked for
                done = 0
            with file.open("ab" if done else "wb") as out:
                while chunk := response.read(_CHUNK):
                    out.write(chunk)
                    done += len(chunk)
                    progress(self.name, done, self.size)
        if done < self.size:
            raise ConnectionError(f"the connection closed after {done} of {self.size} bytes")
        return file


def _copy(
    stream: IO[bytes] | gzip.GzipFile,
    size: int,
    out: IO[bytes] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[str, int]:
    """Copy a stream, but no more than a chunk beyond `size` bytes; returns their SHA-256 and number."""
    digest, done = hashlib.sha256(), 0
    while done <= size and (chunk := stream.read(_CHUNK)):
        digest.update(chunk)
        done += len(chunk)
        if out:
            out.write(chunk)
        if report:
            report(done, size)
    return digest.hexdigest(), done


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return _copy(stream, path.stat().st_size)[0]


def _sha256_unpacked(path: Path) -> str:
    """SHA-256 of what a .gz file holds, which is not read without bound."""
    try:
        with gzip.open(path) as stream:
            return _copy(stream, _LARGEST_UNPACKED)[0]
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "none, as it is no complete .gz file"


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset: its name, number of examples, and SHA-256.

    A file that is downloaded by itself has its `size` in bytes as published. A .gz file has the SHA-256 of what it
    holds as well, and either will do: packed anew it is another file with the same data.
    """

    name: str
    records: int
    sha256: str
    is_test: bool = False
    size: int = 0
    sha256_unpacked: str = ""

    @property
    def unpacked_name(self) -> str:
        return self.name.removesuffix(".gz") if self.sha256_unpacked else self.name

    def state(self, path: Path) -> FileState:
        """Whether `path` is this file, by SHA-256."""
        if not path.is_file():
            return "missing"
        is_it = self.sha256 == sha256_of(path) or self.sha256_unpacked == _sha256_unpacked(path)
        return "ok" if is_it else "damaged"

    def find(self, source: Path, folder: str) -> Path | None:
        """The file of this name, or unpacked, in `source` or in its `folder`."""
        places = (source / below / name for name in (self.name, self.unpacked_name) for below in ("", folder))
        return next((place for place in places if place.is_file()), None)

    def put(self, stream: IO[bytes], folder: Path, size: int, source: Path, progress: Progress) -> None:
        """Copy `size` bytes from `source` to their place in `folder`; raises `InputError` where it is another file."""
        with write_atomically(folder / self.name) as temporary:
            with temporary.open("wb") as out:
                digest, done = _copy(stream, size, out, partial(progress, self.name))
            if self.state(temporary) != "ok":
                found = f"{done} bytes" if done <= size else f"more than {size} bytes"
                raise InputError(
                    f"{source}: {self.name} is not the official one: {found} with SHA-256 {digest}, expected "
                    f"{self.size or size} bytes with {self.sha256}"
                )


@dataclass(frozen=True)
class Published(ABC):
    """A dataset as others publish it, which `sc data NAME` brings to `folder` under `data_root()`."""

    name: str
    folder: str
    url: str
    importable: str
    """What `take` takes, for people."""

    @property
    @abstractmethod
    def downloads(self) -> tuple[Download, ...]:
        """All that is downloaded."""

    @property
    def evidence(self) -> str:
        """What `check` has found where everything is ok, for people."""
        return "all files have their SHA-256"

    @abstractmethod
    def check(self, folder: Path) -> dict[str, FileState]:
        """State of each file, or of each group of files, in `folder`."""

    @abstractmethod
    def take(self, source: Path, folder: Path, progress: Progress) -> None:
        """Check the file or folder `source` and bring what it holds to `folder`; raises `InputError`."""

    def needed(self, folder: Path) -> Iterator[Download]:
        """What has to be downloaded to complete `folder`."""
        yield from self.downloads

    def install(self, download: Download, file: Path, folder: Path, progress: Progress) -> None:
        """Check what was downloaded as `file` and bring it to `folder`; raises `InputError`."""
        self.take(file, folder, progress)


@dataclass(frozen=True)
class _CheckedFiles(Published):
    files: tuple[DataFile, ...]

    def check(self, folder: Path) -> dict[str, FileState]:
        return {file.name: file.state(folder / file.name) for file in self.files}

    def _refuse_missing(self, found: Collection[DataFile], source: Path) -> None:
        if missing := [file.name for file in self.files if file not in found]:
            raise InputError(f"{source}: {', '.join(missing)} not found in it; expected {self.importable}")


@dataclass(frozen=True)
class Archive(_CheckedFiles):
    """A dataset in CIFAR's binary layout: a .tar.gz archive in which `files` lie.

    A record is `label_bytes` labels and then 3,072 pixels: red, green, blue, each 32 × 32 in row order.
    """

    size: int
    label_bytes: int

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + 3 * 32 * 32

    @property
    def downloads(self) -> tuple[Download, ...]:
        return (Download(self.url, self.size),)

    def take(self, source: Path, folder: Path, progress: Progress) -> None:
        """Each file is taken by its name wherever it lies in `source`, so nothing else is ever written."""
        found = []
        try:
            for file, stream in self._in_folder(source) if source.is_dir() else self._in_tar(source):
                file.put(stream, folder, file.records * self.record_bytes, source, progress)
                found.append(file)
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # a full disk, say: not the archive's fault
                raise
            reason = (str(error).splitlines() or ["it is empty"])[0]
            raise InputError(f"{source}: not a complete tar archive: {reason}") from None
        self._refuse_missing(found, source)

    def _in_folder(self, source: Path) -> Iterator[tuple[DataFile, IO[bytes]]]:
        for file in self.files:
            if place := file.find(source, self.folder):
                with place.open("rb") as stream:
                    yield file, stream

    def _in_tar(self, source: Path) -> Iterator[tuple[DataFile, IO[bytes]]]:
        by_name = {file.name: file for file in self.files}
        with tarfile.open(source) as tar:
            for member in tar:
                file = by_name.get(PurePosixPath(member.name).name)
                if file and member.isreg() and (stream := tar.extractfile(member)):
                    yield file, stream


@dataclass(frozen=True)
class FileSet(_CheckedFiles):
    """A dataset of `files` that are downloaded each by itself, from below `url`, and kept as they are published."""

    @property
    def downloads(self) -> tuple[Download, ...]:
        # MNIST and Fashion-MNIST have files of the same names.
        return tuple(Download(self.url + f.name, f.size, f"{self.name}-") for f in self.files)

    def take(self, source: Path, folder: Path, progress: Progress) -> None:
        """All files are found before the first is copied."""
        if not source.is_dir():
            raise InputError(f"{source}: not a folder; expected {self.importable}")
        found = {file: place for file in self.files if (place := file.find(source, self.folder))}
        self._refuse_missing(found, source)
        for file, place in found.items():
            self._put(file, place, folder, progress)

    def needed(self, folder: Path) -> Iterator[Download]:
        for file, download in zip(self.files, self.downloads, strict=True):
            if file.state(folder / file.name) != "ok":
                yield download

    def install(self, download: Download, file: Path, folder: Path, progress: Progress) -> None:
        self._put(self.files[self.downloads.index(download)], file, folder, progress)

    def _put(self, file: DataFile, place: Path, folder: Path, progress: Progress) -> None:
        if place.name != file.unpacked_name or file.unpacked_name == file.name:
            with place.open("rb") as stream:
                file.put(stream, folder, place.stat().st_size, place, progress)
            return
        if (digest := sha256_of(place)) != file.sha256_unpacked:
            raise InputError(
                f"{place}: not the official one: {place.stat().st_size} bytes with SHA-256 {digest}, expected "
                f"{file.sha256_unpacked}"
            )
        packed = gzip.compress(place.read_bytes(), 6, mtime=0)
        file.put(io.BytesIO(packed), folder, len(packed), place, progress)


@dataclass(frozen=True)
class ImageArchive(Published):
    """A dataset in Tiny-ImageNet's layout: a .zip archive of images, labelled by their folders and by a table.

    What is unpacked are train/CLASS/images/*.JPEG, as many for each class, val/images/*.JPEG, and the tables, of which
    val/val_annotations.txt has a line for each of the latter: its name, a tab, its class, and more. The test images
    have no labels and are left out.
    """

    size: int
    sha256: str
    classes: int
    images_per_class: int
    validation_images: int

    _LAYOUT = re.compile(r"train/\w+/images/\w+\.JPEG|val/images/\w+\.JPEG|val/val_annotations\.txt|(wnids|words)\.txt")

    @property
    def downloads(self) -> tuple[Download, ...]:
        return (Download(self.url, self.size),)

    @property
    def evidence(self) -> str:
        return f"{self._training_images} training and {self.validation_images} validation images"

    @property
    def _training_images(self) -> int:
        return self.classes * self.images_per_class

    def check(self, folder: Path) -> dict[str, FileState]:
        classes, training, validation = self._count(folder)
        is_right = classes == self.classes and training == self._training_images
        return {
            "train": "ok" if is_right else "damaged" if training else "missing",
            "val": "ok" if validation == self.validation_images else "damaged" if validation else "missing",
        }

    def _count(self, folder: Path) -> tuple[int, int, int]:
        """Classes that have all their images, training images, and validation images with one of the classes."""
        sizes = {each.name: sum(1 for _ in each.glob("images/*.JPEG")) for each in folder.glob("train/*")}
        table = folder / "val" / "val_annotations.txt"
        lines = table.read_text(errors="replace").splitlines() if table.is_file() else []
        labelled = {name for name, label, *_ in (f"{line}\t".split("\t") for line in lines) if label in sizes}
        labelled &= {path.name for path in folder.glob("val/images/*.JPEG")}
        return list(sizes.values()).count(self.images_per_class), sum(sizes.values()), len(labelled)

    def take(self, source: Path, folder: Path, progress: Progress) -> None:
        """Nothing outside the layout is written, and `folder` is replaced when everything is there."""
        if source.is_dir():
            inner = source / self.folder if (source / self.folder).is_dir() else source
            self._refuse_incomplete(inner, source)
            if inner.resolve() != folder.resolve():
                sizes = {p.relative_to(inner).as_posix(): p.stat().st_size for p in inner.rglob("*") if p.is_file()}
                self._write(sizes, lambda name: (inner / name).open("rb"), source, folder, progress)
            return
        if (digest := sha256_of(source)) != self.sha256:
            raise InputError(
                f"{source}: {PurePosixPath(self.url).name} is not the official one: {source.stat().st_size} bytes with "
                f"SHA-256 {digest}, expected {self.size} bytes with {self.sha256}"
            )
        try:
            with zipfile.ZipFile(source) as archive:
                inside, infos = f"{self.folder}/", archive.infolist()
                sizes = {i.filename.removeprefix(inside): i.file_size for i in infos if i.filename.startswith(inside)}
                self._write(sizes, lambda name: archive.open(inside + name), source, folder, progress)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError where it is encrypted
            raise InputError(f"{source}: not a complete zip archive: {error}") from None

    def _write(self, sizes: dict[str, int], opened: _Open, source: Path, folder: Path, progress: Progress) -> None:
        """Write those of the files that are of the layout; none gives more bytes than its size."""
        sizes = {name: size for name, size in sizes.items() if self._LAYOUT.fullmatch(name)}
        done, total = 0, sum(sizes.values())
        if total > _LARGEST_FOLDER:
            raise InputError(f"{source}: it unpacks to {total} bytes, {self.name} to no more than {_LARGEST_FOLDER}")
        with _replacing(folder) as temporary:
            for name, size in sizes.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                with opened(name) as stream, (temporary / name).open("wb") as out:
                    shutil.copyfileobj(stream, out)
                done += size
                progress(self.folder, done, total)
            self._refuse_incomplete(temporary, source)

    def _refuse_incomplete(self, folder: Path, source: Path) -> None:
        classes, training, validation = found = self._count(folder)
        if found != (self.classes, self._training_images, self.validation_images):
            raise InputError(
                f"{source}: {classes} classes of {self.images_per_class} images, {training} training and {validation} "
                f"labelled validation images; expected {self.classes} classes, {self.evidence}: {self.importable}"
            )


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, which on success takes its place."""
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # from a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
