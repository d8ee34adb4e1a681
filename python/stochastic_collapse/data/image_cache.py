"""Writing the cache of a folder of images: one process at a time, of bounded memory, and complete or not believed."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from ..errors import InputError, Interrupted
from ..runs import remove_left_overs, write_atomically
from ..terminal import work_bar
from .image_decoding import BadImage, Chunk, Decoder, Form, Kind, Problem, decode

if TYPE_CHECKING:
    from .image_folder import File, Listing

_CHUNK_FILES, _CHUNK_BYTES = 64, 1 << 24  # of a chunk at most, whichever is less


@contextlib.contextmanager
def locked(place: Path, stopped: Callable[[], bool], report: Callable[[str], None]) -> Iterator[None]:
    """Hold the cache's folder `place` for this process, after whoever holds it; `Interrupted` once `stopped`."""
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / ".lock")
    for attempt in itertools.count():
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            if attempt == 0:
                report(f"{place}: another process decodes these images; waiting for it")
            if stopped():
                raise Interrupted(f"{place}: interrupted while another process decodes these images") from None
    try:
        yield
    finally:
        lock.release()


def build(
    place: Path,
    key: str,
    listing: Listing,
    decoder: Decoder,
    resize: int | None,
    channels: int,
    skip_corrupt: bool,
) -> None:
    """Decode the images of `listing` into the folder `place`, whose lock the caller holds.

    What others left there half-written is removed. Raises `InputError` for images that cannot be read or have several
    sizes, and what `Decoder.decode` does.
    """
    (place / "index.json").unlink(missing_ok=True)
    remove_left_overs(place)
    form, first = _form_and_first(listing, resize, channels, skip_corrupt)
    skipped: list[str] = []
    with contextlib.ExitStack() as until_all_is_written, work_bar() as bar:
        task = bar.add_task(listing.folder.name, total=len(listing.train) + len(listing.test), report="")

        def new_file(name: str) -> Path:
            return until_all_is_written.enter_context(write_atomically(place / name))

        for split, files in (("train", listing.train), ("test", listing.test)):
            with new_file(f"{split}.npy").open("r+b") as out:
                offset = _write_header(out, len(files), form)
                out.truncate(offset + len(files) * form.image_bytes)
                out.flush()
                kept = np.ones(len(files), dtype=bool)
                for done, problems in _decoded(listing, files, out.name, offset, decoder, form):
                    for number, kind, reason in problems:
                        _refuse(listing.path(files[number]), kind, reason, form, first, skip_corrupt)
                        kept[number] = False
                    bar.update(task, advance=done)
                if not kept.all():
                    _close_gaps(out, kept, offset, form)
            skipped += [files[k].name for k in np.flatnonzero(~kept)]
            labels = np.fromiter((file.label for file in files), np.int64, len(files))[kept]
            _check_classes(listing, split, labels)
            with new_file(f"labels-{split}.npy").open("wb") as file:
                np.save(file, labels)
    index = {
        "folder": str(listing.folder.resolve()),
        "resize": resize,
        "channels": channels,
        "skip_corrupt": skip_corrupt,
        "classes": listing.classes,
        "skipped": skipped,
        "key": key,
    }
    with write_atomically(place / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _decoded(
    listing: Listing, files: Sequence[File], out: str, offset: int, decoder: Decoder, form: Form
) -> Iterator[tuple[int, list[Problem]]]:
    """Decode a split chunk by chunk; yields the number of images of each, and problems by their number in `files`."""
    step = max(1, min(_CHUNK_FILES, _CHUNK_BYTES // form.image_bytes))
    starts = range(0, len(files), step)
    chunks = (
        Chunk(out, offset + k * form.image_bytes, [listing.path(file) for file in files[k : k + step]]) for k in starts
    )
    for start, problems in zip(starts, decoder.decode(chunks, form), strict=True):
        yield min(step, len(files) - start), [p._replace(number=start + p.number) for p in problems]


def _form_and_first(listing: Listing, resize: int | None, channels: int, skip_corrupt: bool) -> tuple[Form, str]:
    """What images become, and the file which says so where they are not resized."""
    if resize is not None:
        return Form(channels, resize, resize, resize), ""
    for file in listing.train:
        path = listing.path(file)
        try:
            return Form(channels, None, *decode(path, channels, None).size), path
        except BadImage as bad:
            _refuse(path, bad.kind, str(bad), None, "", skip_corrupt)
    raise InputError(f"{listing.folder / 'train'}: all of its {len(listing.train)} images are corrupt")


def _refuse(path: str, kind: Kind, reason: str, form: Form | None, first: str, skip_corrupt: bool) -> None:
    """Raise unless the file is to be left out; one that the system does not let us read never is."""
    if kind == "unreadable":
        raise InputError(f"{path}: cannot be read: {reason}")
    if kind == "size" and form is not None:
        raise InputError(
            f"{path}: {reason} pixels (width × height), but {first} has {form.width} × {form.height}; "
            "set data.resize, to bring all to one size"
        )
    if not skip_corrupt:
        raise InputError(
            f"{path}: corrupt image: {reason}; data.skip_corrupt: true leaves such images out and counts them"
        )


def _check_classes(listing: Listing, split: str, labels: npt.NDArray[np.int64]) -> None:
    counts = np.bincount(labels, minlength=len(listing.classes))
    if split == "train" and not counts.all():
        raise InputError(
            f"{listing.folder / 'train' / listing.classes[counts.argmin()]}: all of its images are corrupt"
        )
    if not len(labels):
        raise InputError(f"{listing.folder}: all images of its test split are corrupt")


def _write_header(file: BinaryIO, count: int, form: Form) -> int:
    """Begin an .npy file of `count` images; returns its length, which does not depend on `count`."""
    shape = (count, form.channels, form.height, form.width)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.tell()


def _close_gaps(file: BinaryIO, kept: npt.NDArray[np.bool_], offset: int, form: Form) -> None:
    """Leave only the images that are `kept`, in place: the set may be larger than the memory, or half the disk."""
    for slot, old in enumerate(np.flatnonzero(kept)):
        file.seek(offset + int(old) * form.image_bytes)
        pixels = file.read(form.image_bytes)
        file.seek(offset + slot * form.image_bytes)
        file.write(pixels)
    file.truncate(offset + int(kept.sum()) * form.image_bytes)
    file.seek(0)
    _write_header(file, int(kept.sum()), form)
