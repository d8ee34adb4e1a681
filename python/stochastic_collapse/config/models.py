"""Settings of networks: the built-in ones, and those that other libraries or a user's own code make."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Tag, model_validator

from .base import Activation, Fraction, Positive, PositiveReal, Settings, reference, told_apart


class _ModelSettings(Settings):
    fully_connected: ClassVar[bool] = False

    weights: str | None = None
    """A file or folder of weights to start from, in any form that `sc analyze --weights` takes; null: fresh ones."""
    state: str | None = None
    """With weights: which state dict of the file, such as ema; null: that of the training."""

    @model_validator(mode="after")
    def _state_of_weights(self) -> _ModelSettings:
        if self.state is not None and self.weights is None:
            raise ValueError("state chooses among the state dicts of weights, and there are no weights")
        return self


class MLPSettings(_ModelSettings):
    """Fully connected network: flattened input, `widths` hidden layers, linear output."""

    fully_connected: ClassVar[bool] = True

    name: Literal["mlp"]
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (128, 128)
    """Neurons of each hidden layer."""
    activation: Activation = "gelu"
    """What every hidden layer applies."""


class VGGSettings(_ModelSettings):
    """VGG for images of 32 × 32 pixels or more, with a 512–512–classes head."""

    name: Literal["vgg16", "vgg11", "vgg13", "vgg19"]
    activation: Activation = "gelu"
    """What every hidden layer applies."""
    batch_norm: bool = False
    """Batch normalization after every convolution."""
    dropout: Fraction = 0.0
    """Dropout probability after each hidden fully connected layer."""
    width: PositiveReal = 1.0
    """Multiplies the number of channels and hidden neurons of every layer."""


class ResNetSettings(_ModelSettings):
    """ResNet: basic blocks with 18 and 34 layers, bottlenecks with 50, 101 and 152."""

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
    activation: Activation = "gelu"
    """What every hidden layer applies."""
    width: PositiveReal = 1.0
    """Multiplies the number of channels of every layer."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """cifar: 3 × 3 convolution with stride 1, no max-pool; imagenet: 7 × 7 with stride 2, then max-pool."""
    batch_norm: bool = True
    """Batch normalization after every convolution; without it convolutions have biases."""


class ViTSettings(_ModelSettings):
    """Vision transformer with a class token, normalization before each block."""

    name: Literal["vit"]
    patch: Positive = 4
    """Side of a patch in pixels; must divide the image's."""
    dim: Positive = 128
    """Width of the residual stream."""
    depth: Positive = 6
    """Blocks."""
    heads: Positive = 4
    """Attention heads of a block; must divide dim."""
    hidden: Positive | None = None
    """Hidden neurons of a block's perceptron; null: 4 · dim."""
    activation: Activation = "gelu"
    """What the perceptrons apply."""
    dropout: Fraction = 0.0
    """Dropout probability after attention and perceptron."""


class GPTSettings(_ModelSettings):
    """Decoder-only transformer for next-token prediction; vocabulary and context are the data's."""

    name: Literal["gpt"]
    dim: Positive = 128
    """Width of the residual stream."""
    depth: Positive = 4
    """Blocks."""
    heads: Positive = 4
    """Attention heads of a block; must divide dim."""
    hidden: Positive | None = None
    """Hidden neurons of a block's perceptron; null: 4 · dim."""
    activation: Activation = "gelu"
    """What the perceptrons apply."""
    dropout: Fraction = 0.0
    """Dropout probability after attention and perceptron."""
    tied: bool = False
    """Whether the output layer shares the token embedding."""


class _ReferenceSettings(_ModelSettings):
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Handed over by name; of those that the data tell, such as the number of classes, these go before."""


class TimmSettings(_ReferenceSettings):
    """A network of timm, by the name that timm.create_model takes; classes, channels and image size are filled in."""

    name: reference("timm")  # type: ignore[valid-type]
    """timm:NAME."""


class TorchvisionSettings(_ReferenceSettings):
    """A network of torchvision, by the name that torchvision.models.get_model takes; classes are filled in."""

    name: reference("torchvision")  # type: ignore[valid-type]
    """torchvision:NAME."""


class TransformersSettings(_ReferenceSettings):
    """A network of transformers from its configuration, freshly initialized; outputs and sizes are filled in."""

    name: reference("transformers")  # type: ignore[valid-type]
    """transformers:FOLDER of a config.json, or transformers:TYPE such as gpt2, sized by arguments."""


class PythonModelSettings(_ReferenceSettings):
    """A network that your own code makes; num_classes, in_channels and the like are handed to whoever asks for them."""

    name: reference("python")  # type: ignore[valid-type]
    """python:package.module:callable or python:path/to/file.py:callable."""


_KINDS = (
    MLPSettings,
    VGGSettings,
    ResNetSettings,
    ViTSettings,
    GPTSettings,
    TimmSettings,
    TorchvisionSettings,
    TransformersSettings,
    PythonModelSettings,
)

ModelSettings = Annotated[
    Annotated[MLPSettings, Tag("mlp")]
    | Annotated[VGGSettings, Tag("vgg16")]
    | Annotated[ResNetSettings, Tag("resnet18")]
    | Annotated[ViTSettings, Tag("vit")]
    | Annotated[GPTSettings, Tag("gpt")]
    | Annotated[TimmSettings, Tag("timm:NAME")]
    | Annotated[TorchvisionSettings, Tag("torchvision:NAME")]
    | Annotated[TransformersSettings, Tag("transformers:FOLDER")]
    | Annotated[PythonModelSettings, Tag("python:MODULE:CALLABLE")],
    told_apart(lambda: _KINDS),
]
