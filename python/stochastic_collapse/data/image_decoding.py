"""Image files decoded into one file of bytes, here or in worker processes that import Pillow and little else.

A worker is a program of its own (`python -m`), not a process of `multiprocessing`: that imports the user's script
again, with torch, and where it has no `if __name__ == "__main__"` runs it again, to wait for the lock that we hold. It
gets the `Form` and then chunks on stdin, a JSON line each, and answers each chunk with a line: its problems. It ends
with its stdin, so that none outlives us.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import Interrupted, StochasticCollapseError

if TYPE_CHECKING:
    from PIL import Image

# Pillow knows more, some of which run other programs; what is in a file does not follow from its suffix.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
_AHEAD = 2  # chunks that wait in each worker's stdin: it is never idle, and the pipe never full


@dataclass(frozen=True)
class Form:
    """What every image is made to be: 1 channel (grey) or 3 (red, green, blue), and its width and height."""

    channels: int
    resize: int | None
    """Side of the centre square that is scaled to; None: images stay as they are."""
    width: int
    height: int

    @property
    def image_bytes(self) -> int:
        return self.channels * self.width * self.height


class Chunk(NamedTuple):
    """Files whose pixels are to lie one after another in the file `out`, from the byte `offset` on."""

    out: str
    offset: int
    files: list[str]


Kind = Literal["corrupt", "size", "unreadable"]


class Problem(NamedTuple):
    """Why a file of a chunk is not in the output, whose bytes are zero there."""

    number: int
    """Of the file, from 0."""
    kind: Kind
    reason: str


class BadImage(Exception):
    """A file gives no image. `kind` is unreadable where the operating system is to blame, else corrupt."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def decode(file: str, channels: int, resize: int | None) -> Image.Image:
    """The image as Pillow decodes it, upright by its EXIF orientation, in mode L or RGB; of several the first.

    Alpha is dropped. With `resize` it is the largest centre square, scaled to that side (bilinear, antialiased).
    Raises `BadImage`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and transparency that is dropped
            with Image.open(file, formats=_FORMATS) as image:
                ImageOps.exif_transpose(image, in_place=True)
                picture = _eight_bits(image).convert("L" if channels == 1 else "RGB")
    except UnidentifiedImageError:
        raise BadImage("corrupt", f"no image in a format that is read ({', '.join(_FORMATS)})") from None
    except Exception as error:  # Pillow raises anything from SyntaxError to struct.error, OSError without a number too
        if isinstance(error, OSError) and error.errno is not None:
            raise BadImage("unreadable", error.strerror or type(error).__name__) from None
        raise BadImage("corrupt", (str(error).splitlines() or [type(error).__name__])[0][:200]) from None
    if resize is None:
        return picture
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)  # whole pixels: at its own size nothing is blurred
    return picture.resize((resize, resize), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits by their upper 8, where Pillow would cut off what is above 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return image.convert("I").point([level >> 8 for level in range(1 << 16)], "L")
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits; only 8 and 16 bits have a known scale")
    return image


def decode_chunk(chunk: Chunk, form: Form) -> list[Problem]:
    """Decode the files of `chunk` and write their pixels in the order channel, row, column.

    Raises `OSError` where the output cannot be written.
    """
    problems = []
    with open(chunk.out, "r+b") as out:  # noqa: PTH123  # written, not mapped: a full disk is an error then, not SIGBUS
        for number, file in enumerate(chunk.files):
            try:
                picture = decode(file, form.channels, form.resize)
            except BadImage as bad:
                problems.append(Problem(number, bad.kind, str(bad)))
                continue
            if picture.size != (form.width, form.height):
                problems.append(Problem(number, "size", "{} × {}".format(*picture.size)))
                continue
            out.seek(chunk.offset + number * form.image_bytes)
            out.write(b"".join(channel.tobytes() for channel in picture.split()))
    return problems


class Decoder:
    """Decodes chunks in `workers` processes, or in this one where that is 1. A context, at whose end they are gone."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._processes: list[subprocess.Popen[str]] = []
        self._is_stopped = False

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was not sent when it was killed
                        stream.close()

    def stop(self) -> None:
        """Have `decode` raise `Interrupted`, at once where there are workers. For a signal handler."""
        self._is_stopped = True
        self._kill()

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def decode(self, chunks: Iterable[Chunk], form: Form) -> Iterator[list[Problem]]:
        """The problems of each chunk, in the order of the chunks; of one form in all calls.

        Raises `Interrupted` after `stop`, `OSError` where the output cannot be written, and `StochasticCollapseError`
        where a worker dies.
        """
        if self._workers == 1:
            for chunk in chunks:
                self._check()
                yield decode_chunk(chunk, form)
            return
        while len(self._processes) < self._workers:
            self._start(form)
        asked: collections.deque[subprocess.Popen[str]] = collections.deque()
        for process, chunk in zip(itertools.cycle(self._processes), chunks, strict=False):
            self._send(process, chunk._asdict())
            asked.append(process)
            if len(asked) > _AHEAD * self._workers:
                yield self._answer(asked.popleft())
        while asked:
            yield self._answer(asked.popleft())

    def _check(self) -> None:
        if self._is_stopped:
            raise Interrupted("interrupted while images were decoded; the same command begins with them again")

    def _start(self, form: Form) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is for us
            encoding="ascii",
        )
        self._processes.append(process)
        self._send(process, asdict(form))

    def _send(self, process: subprocess.Popen[str], what: dict[str, object]) -> None:
        assert process.stdin is not None
        self._check()
        try:
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._raise_dead(process)

    def _answer(self, process: subprocess.Popen[str]) -> list[Problem]:
        assert process.stdout is not None
        line = process.stdout.readline()
        self._check()
        if not line.endswith("\n"):
            self._raise_dead(process)
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(*answer["error"])
        return [Problem(*problem) for problem in answer["problems"]]

    def _raise_dead(self, process: subprocess.Popen[str]) -> None:
        self._check()
        status = process.wait()
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        raise StochasticCollapseError(f"a process that decodes images ended: {how}; is memory short?")


def _serve() -> None:
    """A worker's life."""
    form = None
    for line in sys.stdin:
        if form is None:
            form = Form(**json.loads(line))
            continue
        try:
            answer: dict[str, object] = {"problems": decode_chunk(Chunk(**json.loads(line)), form)}
        except OSError as error:
            answer = {"error": [error.errno, error.strerror, error.filename]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    try:
        _serve()
    except BrokenPipeError:  # whoever asked is gone
        os._exit(1)
