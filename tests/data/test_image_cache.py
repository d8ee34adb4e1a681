"""Caches of image folders: the same from any number of workers, found again, and never half of one believed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from stochastic_collapse.data import image_cache, image_decoding, image_folder
from stochastic_collapse.data.image_decoding import Chunk, Decoder, Form
from stochastic_collapse.data.image_folder import (
    ImageFolder,
    load_image_folder,
)
from stochastic_collapse.errors import Interrupted, StochasticCollapseError

from .image_sets import COMPLETE, Load, files_of, random_images, save, spoil_three, two_classes


def test_the_number_of_workers_changes_nothing(folder: Path, tmp_path: Path) -> None:
    two_classes(folder, per_class=150)
    spoil_three(folder)
    found = [
        load_image_folder(
            folder, tmp_path / f"cache{workers}", resize=3, channels=3, skip_corrupt=True, workers=workers
        )
        for workers in (1, 2, 3)
    ]
    for other in found[1:]:
        assert other.skipped == found[0].skipped
        for split in ("train", "test"):
            for a, b in zip(getattr(found[0], split), getattr(other, split), strict=True):
                np.testing.assert_array_equal(a, b)
    contents = [
        {p.name: p.read_bytes() for p in (tmp_path / f"cache{w}").glob("*/*.*") if p.name != ".lock"} for w in (1, 2, 3)
    ]
    assert set(contents[0]) == COMPLETE
    assert contents[0] == contents[1] == contents[2]


def test_what_is_cached_is_not_decoded_again(folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = two_classes(folder)
    load()
    decoding = Mock(wraps=image_decoding.decode_chunk)
    monkeypatch.setattr(image_decoding, "decode_chunk", decoding)
    np.testing.assert_array_equal(load().train[0][:, 0], pixels[0].reshape(6, 5, 4))
    decoding.assert_not_called()
    load(channels=3)
    assert sum(len(call.args[0].files) for call in decoding.call_args_list) == 12
    other = random_images(6, 5, 4)[5]
    save(folder / "train" / "cat" / "0.png", other)
    np.testing.assert_array_equal(load().train[0][0, 0], other)
    assert sum(len(call.args[0].files) for call in decoding.call_args_list) == 24


@pytest.mark.parametrize("lost", sorted(COMPLETE))
@pytest.mark.parametrize("how", ["missing", "empty", "short"])
def test_a_damaged_cache_is_made_again(folder: Path, load: Load, tmp_path: Path, lost: str, how: str) -> None:
    pixels = two_classes(folder)
    load()
    (path,) = (tmp_path / "cache").glob(f"*/{lost}")
    content = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(b"" if how == "empty" else content[: len(content) // 2 + 40])
    np.testing.assert_array_equal(load().train[0][:, 0], pixels[0].reshape(6, 5, 4))


def test_a_build_that_breaks_off_leaves_nothing(
    folder: Path, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_classes(folder, per_class=40)

    def fail(chunk: Chunk, form: Form) -> list[image_decoding.Problem]:
        raise OSError(errno.ENOSPC, "No space left on device", chunk.out)

    with monkeypatch.context() as patched:
        patched.setattr(image_decoding, "decode_chunk", fail)
        with pytest.raises(OSError, match="No space"):
            load()
    assert not files_of(tmp_path / "cache")
    monkeypatch.setattr(image_cache, "_check_classes", lambda *_: (_ for _ in ()).throw(RuntimeError("bug")))
    with pytest.raises(RuntimeError):
        load()
    assert not files_of(tmp_path / "cache")


def test_a_full_disk_is_an_error_of_a_worker_too(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path = save(folder / "x.png", random_images(64, 64))
    with Decoder(2) as decoder, pytest.raises(OSError, match="No space left"):
        list(decoder.decode([Chunk("/dev/full", 0, [str(path)])], Form(1, None, 64, 64)))


def test_a_worker_that_is_killed_is_one_line(folder: Path, tmp_path: Path) -> None:
    path = save(folder / "x.png", random_images(4, 4))
    out = tmp_path / "out"
    out.touch()
    chunks = (Chunk(str(out), 0, [str(path)]) for _ in range(1000))
    with Decoder(2) as decoder:
        answers = decoder.decode(chunks, Form(1, None, 4, 4))
        assert next(answers) == []
        decoder._processes[1].kill()
        with pytest.raises(StochasticCollapseError, match="ended: killed by signal 9"):
            list(answers)


def slow_set(folder: Path) -> None:
    """A hundred images that take a worker some 20 ms each."""
    first = save(folder / "train" / "a" / "000.png", np.zeros((1500, 1500, 3), np.uint8))
    for k in range(1, 100):
        os.link(first, folder / "train" / "a" / f"{k:03d}.png")
    save(folder / "val" / "a" / "0.png", random_images(9, 9))


SCRIPT = """
import sys
from pathlib import Path
from stochastic_collapse.data.image_folder import load_image_folder
from stochastic_collapse.errors import Interrupted
try:  # not under `if __name__ == "__main__"`, as users' scripts are
    load_image_folder(Path(sys.argv[1]), Path(sys.argv[2]), resize=8, channels=3, skip_corrupt=False, workers=2)
except Interrupted as error:
    sys.exit(str(error))
assert "torch" not in sys.modules
"""


def start(folder: Path, cache: Path) -> subprocess.Popen[str]:
    script = cache.with_name("script.py")
    script.write_text(SCRIPT)
    return subprocess.Popen([sys.executable, str(script), str(folder), str(cache)], stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def some_is_written(cache: Path) -> bool:
    return any(path.stat().st_blocks > 8 for path in cache.glob("*/.train.npy.*"))


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_process_killed_in_the_middle(folder: Path, tmp_path: Path, how: signal.Signals) -> None:
    slow_set(folder)
    cache = tmp_path / "cache"
    process = start(folder, cache)
    wait_until(lambda: some_is_written(cache))
    workers = workers_of(process)
    process.send_signal(how)
    began = time.monotonic()
    _, stderr = process.communicate(timeout=30)
    if how == signal.SIGKILL:
        assert files_of(cache)  # half-written, and removed by the next
    else:
        assert time.monotonic() - began < 2
        assert stderr == "interrupted while images were decoded; the same command begins with them again\n"
        assert not files_of(cache)
    wait_until(lambda: not any(is_running(pid) for pid in workers))
    again = start(folder, cache)
    assert again.wait(timeout=60) == 0, again.communicate()
    again.communicate()
    assert files_of(cache) == COMPLETE
    found = load_image_folder(folder, cache, resize=8, channels=3, skip_corrupt=False)
    assert found.train[0].shape == (100, 3, 8, 8)


def test_one_builds_and_others_wait(folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(folder)
    reports: list[str] = []
    real = image_cache.build
    builds = []

    def build(*args: Any) -> None:
        builds.append(args)
        time.sleep(0.6)
        real(*args)

    monkeypatch.setattr(image_folder, "build", build)
    found: list[ImageFolder] = []
    threads = [threading.Thread(target=lambda: found.append(load(report=reports.append))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert len(found) == 3
    assert sum("another process" in line for line in reports) == 2


def test_waiting_can_be_interrupted(tmp_path: Path) -> None:
    with (
        image_cache.locked(tmp_path, lambda: False, print),
        pytest.raises(Interrupted, match="while another process"),
        image_cache.locked(tmp_path, lambda: True, lambda line: None),
    ):
        pass


def test_ctrl_c_here_between_chunks(folder: Path, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_classes(folder, per_class=40)
    real = image_decoding.decode_chunk

    def interrupt(chunk: Chunk, form: Form) -> list[image_decoding.Problem]:
        signal.raise_signal(signal.SIGINT)
        return real(chunk, form)

    monkeypatch.setattr(image_decoding, "decode_chunk", interrupt)
    with pytest.raises(Interrupted):
        load()
    assert not files_of(tmp_path / "cache")


def test_workers_import_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, stochastic_collapse.data.image_decoding; sys.exit(not {'torch', 'numpy'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_where_no_memory_is_reserved_arrays_are_read_only(
    folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_classes(folder)
    real = np.load

    def short(path: Path, mmap_mode: str | None = None) -> np.ndarray:
        if mmap_mode == "c":
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real(path, mmap_mode=mmap_mode)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "load", short)
    assert not load().train[0].flags.writeable
