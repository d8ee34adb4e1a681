"""Folders of images: what is read is what was written, and what does not fit is one line."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stochastic_collapse.data import image_folder
from stochastic_collapse.data.image_folder import (
    channel_statistics,
    contents_digest,
)
from stochastic_collapse.errors import InputError

from .image_sets import Load, files_of, random_images, save, spoil_three, two_classes

# --- what is read ---


def test_digits_come_back_as_they_were_written(folder: Path, load: Load) -> None:
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    images = digits.reshape(-1, 8, 8).astype(np.uint8)
    parts = {"train": slice(0, 300), "test": slice(300, 400)}
    for split, part in parts.items():
        for k, (image, label) in enumerate(zip(images[part], labels[part], strict=True)):
            save(folder / split / str(label) / f"{k:04d}.png", image)
    found = load()
    assert found.classes == tuple("0123456789")
    assert found.skipped == ()
    for split, part in parts.items():
        order = np.argsort(labels[part], kind="stable")
        got, got_labels = getattr(found, split)
        np.testing.assert_array_equal(got[:, 0], images[part][order])
        np.testing.assert_array_equal(got_labels, labels[part][order])
        assert got.dtype == np.uint8
        assert got_labels.dtype == np.int64
        torch.from_numpy(got)  # a warning of arrays that are not writable would be an error


def test_jpegs_are_as_pillow_decodes_them(folder: Path, load: Load) -> None:
    pixels = random_images(4, 24, 17, 3)
    paths = [save(folder / "train" / "a" / "deep" / "er" / f"{k}.JPeG", pixels[k], quality=80) for k in range(4)]
    save(folder / "validation" / "a" / "x.jpg", pixels[0])
    expected = np.stack([np.asarray(Image.open(path)) for path in paths]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(load(channels=3).train[0], expected)


def test_formats_become_grey_or_rgb(folder: Path, load: Load) -> None:
    rgb, alpha, grey = random_images(6, 5, 3), random_images(6, 5), random_images(6, 5)
    by_name = {"grey.bmp": grey, "rgb.ppm": rgb, "rgba.tif": np.dstack([rgb, alpha])}
    for name, pixels in by_name.items():
        save(folder / "train" / "a" / name, pixels)
    palette = Image.fromarray(grey % 4).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    palette.save(folder / "train" / "a" / "palette.png", transparency=bytes([0, 128]))
    deep = grey.astype(np.uint16) * 256 + alpha
    save(folder / "train" / "a" / "sixteen.png", deep)
    save(folder / "val" / "a" / "x.png", grey)
    train = load(channels=3).train[0]  # in the order of names
    colours = np.arange(10, 130, 10).reshape(4, 3)
    for got, expected in zip(train, (np.dstack([grey] * 3), colours[grey % 4], rgb, rgb, None), strict=True):
        np.testing.assert_array_equal(got.transpose(1, 2, 0), np.dstack([grey] * 3) if expected is None else expected)
    luma = rgb @ np.array([0.299, 0.587, 0.114])  # of ITU-R 601
    assert np.abs(load(channels=1).train[0][2, 0] - luma).max() <= 1


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, -1), (8, 1)])
def test_images_are_upright(folder: Path, load: Load, orientation: int, turn: int) -> None:
    pixels, exif = random_images(6, 5), Image.Exif()
    exif[0x0112] = orientation
    for split in ("train", "val"):
        save(folder / split / "a" / "x.png", pixels, exif=exif)
    np.testing.assert_array_equal(load().train[0][0, 0], np.rot90(pixels, turn))


def test_resizing_takes_the_centre(folder: Path, load: Load) -> None:
    """A triangle filter leaves a linear ramp: pixel i of the half size lies at 2i + ½ of the full one."""
    ramp = np.tile(10 * np.arange(24, dtype=np.uint8), (8, 1))
    save(folder / "train" / "a" / "0.png", ramp)
    save(folder / "train" / "a" / "1.png", ramp.T)
    odd = random_images(4, 9)
    save(folder / "val" / "a" / "0.png", odd)
    found = load(resize=4)
    expected = np.tile(10 * (8 + 2 * np.arange(4) + 0.5), (4, 1))
    np.testing.assert_array_equal(found.train[0][0, 0], expected)
    np.testing.assert_array_equal(found.train[0][1, 0], expected.T)
    np.testing.assert_array_equal(found.test[0][0, 0], odd[:, 2:6])  # nothing to scale, so nothing is blurred


def test_resizing_is_pillows(folder: Path, load: Load) -> None:
    pixels = random_images(30, 60, 3)
    for split in ("train", "val"):
        save(folder / split / "a" / "x.png", pixels)
    whole = Image.fromarray(pixels).resize((20, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        load(resize=10, channels=3).train[0][0].transpose(1, 2, 0), np.asarray(whole)[:, 5:15]
    )


def test_tiny_imagenet(folder: Path, load: Load) -> None:
    pixels = random_images(4, 5, 4)
    save(folder / "train" / "n02" / "images" / "n02_0.JPEG", pixels[0])
    save(folder / "train" / "n01" / "images" / "n01_0.JPEG", pixels[1])
    (folder / "train" / "n01" / "n01_boxes.txt").write_text("n01_0.JPEG\t0\t0\t3\t3\n")
    for k, name in enumerate(("val_0.JPEG", "val_1.JPEG")):
        save(folder / "val" / "images" / name, pixels[2 + k])
    annotations = folder / "val" / "val_annotations.txt"
    annotations.write_text("val_0.JPEG\tn02\t0\t0\t3\t3\nval_1.JPEG\tn01\t0\t0\t3\t3\n")
    (folder / "test" / "images").mkdir(parents=True)  # without labels: not ours
    found = load()
    assert found.classes == ("n01", "n02")
    assert found.train[1].tolist() == [0, 1]
    assert found.test[1].tolist() == [1, 0]
    digest = contents_digest(folder)
    annotations.write_text("val_0.JPEG\tn01\t0\t0\t3\t3\nval_1.JPEG\tn01\t0\t0\t3\t3\n")
    assert load().test[1].tolist() == [0, 0]
    assert contents_digest(folder) != digest
    for text, message in (
        ("val_0.JPEG\tn01\n", "val_1.JPEG: no class of this image in"),
        ("val_0.JPEG\tn01\nval_1.JPEG\tn01\nval_2.JPEG\tn01\n", "val_2.JPEG: no such image"),
        ("val_0.JPEG\tn03\n", "line 1: n03: a class that"),
        ("\nval_0.JPEG n01\n", "line 2: expected"),
    ):
        annotations.write_text(text)
        with pytest.raises(InputError, match=message):
            load()


def test_hidden_and_other_files_do_not_count(folder: Path, load: Load) -> None:
    two_classes(folder)
    before = contents_digest(folder)
    for name in (".DS_Store", "._0.png", "notes.txt"):
        (folder / "train" / "cat" / name).write_text("no image")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    assert len(load().train[0]) == 6
    assert contents_digest(folder) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_any_name_will_do(folder: Path, load: Load, workers: int) -> None:
    pixels = random_images(3, 5, 4)
    names = ("two\nlines", "größe ", os.fsdecode(b"not utf-8 \xff"))
    try:
        for name, image in zip(names, pixels, strict=True):
            save(folder / "train" / name / f"{name}.png", image)
    except OSError:
        pytest.skip("a file system that has no such names")
    save(folder / "val" / names[2] / "0.png", pixels[0])
    found = load(workers=workers)
    for name, image in zip(names, pixels, strict=True):
        np.testing.assert_array_equal(found.train[0][found.train[1] == found.classes.index(name)][0, 0], image)
    assert contents_digest(folder)


def test_the_digest_tells_contents_not_places(folder: Path, tmp_path: Path) -> None:
    two_classes(folder)
    other = tmp_path / "elsewhere"
    shutil.copytree(folder, other, copy_function=shutil.copyfile)
    digest = contents_digest(folder)
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert contents_digest(other) == digest
    (other / "val" / "dog" / "2.png").rename(other / "val" / "dog" / "3.png")
    assert contents_digest(other) != digest


# --- what is refused ---


def remove(folder: Path, *patterns: str) -> None:
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}, reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: remove(f, "**/*"), "no train/; expected train/<class>"),
        (lambda f: remove(f, "val/**/*", "val"), "no val/; expected"),
        (lambda f: remove(f, "val/*/*"), "val: no image in it"),
        (lambda f: remove(f, "train/**/*"), "train: no class in it"),
        (lambda f: remove(f, "train/dog/*"), "train/dog: no image of this class; remove"),
        (lambda f: (f / "val" / "cow").mkdir(), "val/cow: a class that .*train lacks"),
        (lambda f: save(f / "train" / "x.png", random_images(5, 4)), "train/x.png: an image in no class"),
        (
            lambda f: [path.rename(path.with_suffix(".webm")) for path in f.glob("train/dog/*")],
            "train/dog: no image of this class, but [0-9]+ files of other kinds",
        ),
        (
            lambda f: save(f / "train" / "cat" / "1.png", random_images(7, 4)),
            r"train/cat/1.png: 4 × 7 pixels .*cat/0.png has 4 × 5; set data.resize",
        ),
        (lambda f: save(f / "val" / "cat" / "1.png", random_images(7, 4)), "val/cat/1.png: 4 × 7 pixels"),
        (
            lambda f: (f / "train" / "cat" / "l.png").symlink_to("nowhere"),
            "l.png: cannot be read: No such file or directory",
        ),
        (
            lambda f: save(f / "train" / "cat" / "deep.tif", np.zeros((5, 4), np.float32)),
            "deep.tif: corrupt image: pixels of 32 bits",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    folder: Path, load: Load, spoil: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    two_classes(folder)
    spoil(folder)
    with pytest.raises(InputError, match=message) as caught:
        load()
    assert "\n" not in str(caught.value)
    assert not files_of(tmp_path / "cache")


def test_a_folder_that_is_not_there(load: Load) -> None:
    with pytest.raises(InputError, match="set: no such folder; expected"):
        load()


def test_a_link_around_itself_ends(folder: Path, load: Load) -> None:
    two_classes(folder)
    (folder / "train" / "cat" / "again").symlink_to(folder / "train" / "cat")
    with pytest.raises(OSError, match="symbolic links"):
        load()


@pytest.mark.parametrize("workers", [1, 2])
def test_corrupt_images_are_named_or_left_out(folder: Path, load: Load, workers: int) -> None:
    pixels = two_classes(folder)
    spoil_three(folder)
    with pytest.raises(InputError, match=r"train/cat/1.png: corrupt image: no image .*data.skip_corrupt: true"):
        load(workers=workers)
    reports: list[str] = []
    found = load(workers=workers, skip_corrupt=True, report=reports.append)
    assert found.skipped == ("train/cat/1.png", "train/dog/0.png", "val/dog/2.png")
    np.testing.assert_array_equal(found.train[0][:, 0], pixels[0].reshape(6, 5, 4)[[0, 2, 4, 5]])
    np.testing.assert_array_equal(found.test[0][:, 0], pixels[1].reshape(6, 5, 4)[:5])
    assert found.train[1].tolist() == [0, 0, 1, 1]
    assert found.test[1].tolist() == [0, 0, 0, 1, 1]
    assert "3 corrupt images are left out: train/cat/1.png" in reports[-1]
    assert load(skip_corrupt=True).skipped == found.skipped  # from the cache


def test_a_truncated_jpeg_says_so(folder: Path, load: Load) -> None:
    two_classes(folder)
    path = save(folder / "train" / "cat" / "9.jpg", random_images(50, 40))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"9.jpg: corrupt image: .*truncated"):
        load(resize=4)


def test_the_first_image_may_be_the_corrupt_one(folder: Path, load: Load) -> None:
    two_classes(folder)
    (folder / "train" / "cat" / "0.png").write_bytes(b"\x89PNG")
    assert load(skip_corrupt=True).train[0].shape == (5, 1, 5, 4)


def test_a_class_of_corrupt_images_is_refused(folder: Path, load: Load) -> None:
    two_classes(folder)
    for path in (folder / "train" / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="train/dog: all of its images are corrupt"):
        load(skip_corrupt=True)
    for path in (folder / "train" / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="train: all of its 6 images are corrupt"):
        load(skip_corrupt=True)


# --- statistics ---


def test_statistics_are_those_of_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "_CHUNK_BYTES", 1000)
    images = random_images(70, 3, 9, 7)
    images[:, 1] //= 50
    mean, std = channel_statistics(images)
    channels = images.transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float64)
    np.testing.assert_allclose(mean, channels.mean(1), rtol=1e-13)
    np.testing.assert_allclose(std, channels.std(1), rtol=1e-13)


def test_a_constant_channel_has_deviation_one() -> None:
    images = np.full((5, 2, 3, 3), 255, np.uint8)
    images[0, 1, 0, 0] = 0
    mean, std = channel_statistics(images)
    assert (mean[0], std[0]) == (255.0, 1.0)
    p = 1 / 45  # one pixel of the 45 differs by 255
    np.testing.assert_allclose(std[1], 255 * np.sqrt(p * (1 - p)), rtol=1e-14)
    with pytest.raises(InputError, match="no pixel"):
        channel_statistics(images[:0])
