"""Settings of the data sets: those that have a name, and one's own, wherever they lie."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Tag, model_validator

from .base import Count, Fraction, NonNegative, Number, Positive, Probability, Settings, reference, told_apart


class _DataSettings(Settings):
    label_noise: Probability = 0.0
    """Probability that a label is replaced, anew at every access, by another class drawn uniformly."""
    target_noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise added to the one-hot, or real, targets at every access (loss: mse)."""


class _AugmentedSettings(_DataSettings):
    crop_padding: Count = 4
    """Zero padding in pixels for random crops; 0 turns cropping off."""
    flip: bool = True
    """Random horizontal flips."""


class _PartlyAugmentedSettings(_AugmentedSettings):
    crop_padding: Count = 0
    """As for the other images."""
    flip: bool = False
    """As for the other images."""


class DigitsSettings(_DataSettings):
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels; fixed stratified split, 1,437 to train and 360 to test."""

    whole_size: ClassVar[int] = 1437

    name: Literal["digits"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class MNISTSettings(_DataSettings):
    """MNIST or Fashion-MNIST, 28 × 28 pixels, in the published files under $SC_DATA."""

    whole_size: ClassVar[int] = 60_000

    name: Literal["mnist", "fashion-mnist"]
    train_size: Positive | None = None
    """As for the digits."""


class CIFAR10Settings(_AugmentedSettings):
    """CIFAR-10 in the official binary layout under $SC_DATA."""

    whole_size: ClassVar[int] = 50_000

    name: Literal["cifar10"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class CIFAR100Settings(_AugmentedSettings):
    """CIFAR-100 (fine labels) in the official binary layout under $SC_DATA."""

    whole_size: ClassVar[int] = 50_000

    name: Literal["cifar100"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class SVHNSettings(_PartlyAugmentedSettings):
    """Street View House Numbers, cropped digits, 32 × 32 pixels, in the published files under $SC_DATA."""

    whole_size: ClassVar[int] = 73_257

    name: Literal["svhn"]
    train_size: Positive | None = None
    """As for CIFAR."""


class SyntheticSettings(_PartlyAugmentedSettings):
    """Random images around one random prototype per class: nothing to download, learnable, any shape."""

    name: Literal["synthetic"]
    train_size: Positive = 512
    """Training examples."""
    test_size: Positive = 128
    """Test examples."""
    shape: Annotated[tuple[Positive, Positive, Positive], Field()] = (3, 32, 32)
    """Channels, height, width."""
    num_classes: Annotated[int, Field(ge=2), Number] = 10
    """Classes, and so prototypes."""


class ImagesSettings(_AugmentedSettings):
    """A folder of images, train/CLASS/… and val/CLASS/…; decoded once, into one memory-mapped file of bytes."""

    name: Literal["images", "tiny-imagenet"]
    path: str | None = None
    """The folder; of tiny-imagenet, by default the one that `sc data tiny-imagenet` fills."""
    resize: Positive | None = None
    """Pixels of the shorter side, to which images are scaled before the centre square is taken; null: all images have
    one size."""
    size: Positive | None = None
    """Side in pixels of what the network sees, a centre crop where resize is larger; null: all of it."""
    channels: Literal[1, 3] = 3
    """Grey, or red, green and blue; images are converted."""
    random_resized_crop: tuple[Fraction, Probability] | None = None
    """Least and greatest share of the area that a random crop has, scaled to size, with sides of 3:4 to 4:3; null:
    none. For ImageNet [0.08, 1]."""
    crop_padding: Count = 0
    """Zero padding in pixels for random crops of the same size; 0 turns them off."""
    mean: tuple[float, ...] | None = None
    """Of each channel, in units of 255; null: as measured on the training images."""
    std: tuple[float, ...] | None = None
    """Of each channel, in units of 255; null: as measured on the training images."""
    skip_corrupt: bool = False
    """Leave images out that cannot be decoded, and count them; else the first is an error."""
    workers: Positive | None = None
    """Processes that decode, once; null: one for each core. Makes no difference to the result."""
    train_size: Positive | None = None
    """As for CIFAR."""

    @model_validator(mode="after")
    def _crops(self) -> ImagesSettings:
        if self.random_resized_crop and self.crop_padding:
            raise ValueError("either crop_padding or random_resized_crop, found both")
        if self.random_resized_crop and self.random_resized_crop[0] > self.random_resized_crop[1]:
            raise ValueError(f"random_resized_crop goes from the least share, found {list(self.random_resized_crop)}")
        if self.name == "images" and self.path is None:
            raise ValueError("path: missing; the folder with train/ and val/")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        return self


class ArraysSettings(_PartlyAugmentedSettings):
    """Arrays of NumPy: inputs (n, …), of numbers or bytes, and class labels or real targets."""

    name: Literal["arrays"]
    path: str
    """A .npz file with x_train, y_train, x_test and y_test, or with x and y; or a .npy file of the inputs."""
    targets: str | None = None
    """The .npy file of the targets, where path is one of the inputs."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """auto: whole numbers are classes, others real targets."""
    test_share: Annotated[float, Field(gt=0, lt=1), Number] = 0.2
    """Of the examples, drawn once and for all, where the file has no test set of its own; classes keep their shares."""
    normalize: bool = True
    """Inputs to mean 0 and deviation 1, per channel or column of the training set; real targets too."""
    train_size: Positive | None = None
    """As for CIFAR; of real targets the first."""


class TabularSettings(_DataSettings):
    """A table, CSV or Parquet, of which one column is to be predicted from the others."""

    name: Literal["tabular"]
    path: str
    """The file."""
    target: str
    """The column to predict."""
    drop: tuple[str, ...] = ()
    """Columns that are left out."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """auto: text, switches and whole numbers are classes, others real targets."""
    test_share: Annotated[float, Field(gt=0, lt=1), Number] = 0.2
    """Of the rows, drawn once and for all; classes keep their shares."""
    normalize: bool = True
    """Columns to mean 0 and deviation 1 over the training rows; real targets too."""
    train_size: Positive | None = None
    """As for CIFAR; of real targets the first."""


class TextSettings(_DataSettings):
    """Text by bytes: predict the next byte from those before it."""

    name: Literal["text"]
    path: str
    """A file; or a folder, whose files are joined in the order of their names."""
    pattern: str = "**/*"
    """Which files of a folder, such as **/*.py."""
    context: Positive = 128
    """Bytes of an example."""
    test_share: Annotated[float, Field(gt=0, lt=1), Number] = 0.1
    """Of the text, its end."""
    train_size: Positive | None = None
    """Training examples to keep, the first; null: all."""


class PythonDataSettings(_PartlyAugmentedSettings):
    """Data that your own code makes: a callable that returns two torch Datasets, to train and to test, or a Dataset
    of ours."""

    name: reference("python")  # type: ignore[valid-type]
    """python:package.module:callable or python:path/to/file.py:callable. Each example is read once."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Handed to the callable by name."""
    normalize: bool = True
    """Inputs to mean 0 and deviation 1, per channel or column of the training set; real targets too."""
    train_size: Positive | None = None
    """As for CIFAR; of real targets the first."""


_KINDS = (
    DigitsSettings,
    CIFAR10Settings,
    CIFAR100Settings,
    SyntheticSettings,
    MNISTSettings,
    SVHNSettings,
    ImagesSettings,
    ArraysSettings,
    TabularSettings,
    TextSettings,
    PythonDataSettings,
)

DataSettings = Annotated[
    Annotated[DigitsSettings, Tag("digits")]
    | Annotated[CIFAR10Settings, Tag("cifar10")]
    | Annotated[CIFAR100Settings, Tag("cifar100")]
    | Annotated[SyntheticSettings, Tag("synthetic")]
    | Annotated[MNISTSettings, Tag("mnist")]
    | Annotated[SVHNSettings, Tag("svhn")]
    | Annotated[ImagesSettings, Tag("images")]
    | Annotated[ArraysSettings, Tag("arrays")]
    | Annotated[TabularSettings, Tag("tabular")]
    | Annotated[TextSettings, Tag("text")]
    | Annotated[PythonDataSettings, Tag("python:MODULE:CALLABLE")],
    told_apart(lambda: _KINDS),
]
