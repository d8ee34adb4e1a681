"""Dataset files on disk: which datasets there are, where they lie, how to download or import them (`sc data`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rich.progress import TaskID

from ..errors import InputError, StochasticCollapseError
from ..terminal import bytes_bar
from .downloads import Archive as Archive
from .downloads import DataFile as DataFile
from .downloads import FileSet as FileSet
from .downloads import FileState, ImageArchive, Progress, Published, silent

_TORONTO = "https://www.cs.toronto.edu/~kriz"

CIFAR10 = Archive(
    name="cifar10",
    url=f"{_TORONTO}/cifar-10-binary.tar.gz",
    size=170_052_171,
    folder="cifar-10-batches-bin",
    importable="the binary version, cifar-10-binary.tar.gz, or a folder with its files",
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
    importable="the binary version, cifar-100-binary.tar.gz, or a folder with its files",
    label_bytes=2,
    files=(
        DataFile("train.bin", 50_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
        DataFile("test.bin", 10_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a", True),
    ),
)

# The .gz files, of Fashion-MNIST too: sizes and SHA-256 of tensorflow-datasets (url_checksums/mnist.txt and
# fashion_mnist.txt), SHA-256 the same in torchvision (prototype/datasets/_builtin/mnist.py); addresses of torchvision
# (datasets/mnist.py). What MNIST's unpack to: a dozen repositories that check the unpacked files, all the same.
MNIST = FileSet(
    name="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    folder="mnist",
    importable="a folder with its four .gz files, or with what they unpack to",
    files=(
        DataFile(
            "train-images-idx3-ubyte.gz",
            60_000,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            size=9_912_422,
            sha256_unpacked="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            60_000,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            size=28_881,
            sha256_unpacked="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            10_000,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            is_test=True,
            size=1_648_877,
            sha256_unpacked="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            10_000,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            is_test=True,
            size=4_542,
            sha256_unpacked="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
)
# All computed from the bytes too: Debian's package dataset-fashion-mnist has them without names and times of packing,
# and with these in front the sizes, SHA-256, and MD5 of torchvision come out. What they unpack to is from there.
FASHION_MNIST = FileSet(
    name="fashion-mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    folder="fashion-mnist",
    importable="a folder with its four .gz files, or with what they unpack to",
    files=(
        DataFile(
            "train-images-idx3-ubyte.gz",
            60_000,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            size=26_421_880,
            sha256_unpacked="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            60_000,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            size=29_515,
            sha256_unpacked="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            10_000,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            is_test=True,
            size=4_422_102,
            sha256_unpacked="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            10_000,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            is_test=True,
            size=5_148,
            sha256_unpacked="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
)
# Sizes, addresses and SHA-256 of tensorflow-datasets (url_checksums/svhn_cropped.txt), SHA-256 the same in torchvision
# (prototype/datasets/_builtin/svhn.py).
SVHN = FileSet(
    name="svhn",
    url="http://ufldl.stanford.edu/housenumbers/",
    folder="svhn",
    importable="a folder with train_32x32.mat and test_32x32.mat",
    files=(
        DataFile(
            "train_32x32.mat",
            73_257,
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            size=182_040_794,
        ),
        DataFile(
            "test_32x32.mat",
            26_032,
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            is_test=True,
            size=64_275_384,
        ),
    ),
)
# No checksum of its publisher was found: size and SHA-256 are what half a dozen repositories check, all the same.
TINY_IMAGENET = ImageArchive(
    name="tiny-imagenet",
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    size=248_100_043,
    sha256="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
    folder="tiny-imagenet-200",
    importable="tiny-imagenet-200.zip, or the folder to which it unpacks",
    classes=200,
    images_per_class=500,
    validation_images=10_000,
)
ARCHIVES: dict[str, Published] = {
    archive.name: archive for archive in (CIFAR10, CIFAR100, MNIST, FASHION_MNIST, SVHN, TINY_IMAGENET)
}


def data_root() -> Path:
    """Where datasets are kept: $SC_DATA, default ./data."""
    return Path(os.environ.get("SC_DATA") or "data")


def check(archive: Published, root: Path | None = None) -> dict[str, FileState]:
    """State of each file of the dataset under `root`, by SHA-256; of Tiny-ImageNet's splits, by their numbers."""
    return archive.check((root or data_root()) / archive.folder)


def is_complete(archive: Published, root: Path | None = None) -> bool:
    """Whether `check` finds everything ok."""
    return set(check(archive, root).values()) == {"ok"}


def listing(root: Path | None = None) -> list[dict[str, str]]:
    """Name and state of every dataset, for people: ready, or which files are missing or damaged."""
    ready = "ready: nothing to download"
    datasets = [{"name": name, "state": ready} for name in ("digits", "synthetic")]
    for archive in ARCHIVES.values():
        states = check(archive, root)
        bad = [f"{name} {state}" for name, state in states.items() if state != "ok"]
        if not bad:
            text = f"ready: {archive.evidence}"
        elif set(states.values()) == {"missing"}:
            size = sum(download.size for download in archive.downloads)
            text = f"missing: run `sc data {archive.name}` ({size >> 20} MiB), or with --from PATH"
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
        report(f"{name}: already there, {archive.evidence}")
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


def download(archive: Published, root: Path | None = None, progress: Progress = silent) -> Path:
    """Download what the dataset lacks, bring it to its folder, and return that; what broke off continues where it was.

    Raises `StochasticCollapseError` where the server cannot be reached, and `InputError` where what it sent is not the
    dataset, by SHA-256.
    """
    root = root or data_root()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / archive.folder
    for part in archive.needed(folder):
        partial = part.partial(root)
        try:
            part.fetch(root, progress)
        except OSError as error:  # URLError, time-outs and broken connections are OSErrors
            reason = getattr(error, "reason", None) or error
            kept = f"; {partial.stat().st_size} bytes are kept and the same call continues" if partial.is_file() else ""
            raise StochasticCollapseError(
                f"{part.url}: download failed: {reason}{kept}. Without a network, get it elsewhere and run "
                f"`sc data {archive.name} --from PATH`"
            ) from None
        try:
            archive.install(part, partial, folder, progress)
        except InputError:  # complete, but not what it should be; after anything else the next call installs it
            partial.unlink()
            raise
        partial.unlink()
    return folder


def import_from(archive: Published, source: Path, root: Path | None = None, progress: Progress = silent) -> Path:
    """Import the dataset from what the user has, an archive or a folder, and return its folder.

    Each file is checked, and only then put in place; nothing else that a hostile archive may hold is ever written.
    Raises `InputError` where a file is missing or has another SHA-256.
    """
    folder = (root or data_root()) / archive.folder
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; expected {archive.importable}")
    archive.take(source, folder, progress)
    return folder
