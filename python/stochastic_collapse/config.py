"""Typed settings, YAML files with dotted overrides, and the identity of a run (docs/architecture.md#identity).

A settings file is YAML 1.2. An override is ``key.sub=value`` with the value written as in YAML. Every mistake is an
`InputError` that names the key, where it stands, and what was expected.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .errors import InputError
from .resources import shipped


class Settings(BaseModel):
    """Base of all settings: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, serialize_by_alias=True
    )


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take it for 0 or 1
        raise PydanticCustomError("no_number", "input should be a number")
    return value


Number = BeforeValidator(_no_switch)
Positive = Annotated[int, Field(ge=1), Number]
Count = Annotated[int, Field(ge=0), Number]
Probability = Annotated[float, Field(ge=0, le=1), Number]
NonNegative = Annotated[float, Field(ge=0), Number]
PositiveReal = Annotated[float, Field(gt=0), Number]
Fraction = Annotated[float, Field(ge=0, lt=1), Number]
Activation = Literal["gelu", "relu"]
Switch = Literal["auto", True, False]


# --- models ---------------------------------------------------------------------------------------------------------


class MLPSettings(Settings):
    """Fully connected network: flattened input, `widths` hidden layers, linear output."""

    name: Literal["mlp"]
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (128, 128)
    """Neurons of each hidden layer."""
    activation: Activation = "gelu"
    """What every hidden layer applies."""


class VGG16Settings(Settings):
    """VGG-16 for images of 32 × 32 pixels or more, with a 512–512–classes head."""

    name: Literal["vgg16"]
    activation: Activation = "gelu"
    """What every hidden layer applies."""
    batch_norm: bool = False
    """Batch normalization after every convolution."""
    dropout: Fraction = 0.0
    """Dropout probability after each hidden fully connected layer."""
    width: PositiveReal = 1.0
    """Multiplies the number of channels and hidden neurons of every layer."""


class ResNet18Settings(Settings):
    """ResNet-18 with the CIFAR stem: 3 × 3 convolution with stride 1, no max-pool."""

    name: Literal["resnet18"]
    activation: Activation = "gelu"
    """What every hidden layer applies."""
    width: PositiveReal = 1.0
    """Multiplies the number of channels of every layer."""


ModelSettings = Annotated[MLPSettings | VGG16Settings | ResNet18Settings, Field(discriminator="name")]


# --- data -----------------------------------------------------------------------------------------------------------


class _DataSettings(Settings):
    label_noise: Probability = 0.0
    """Probability that a label is replaced, anew at every access, by another class drawn uniformly."""
    target_noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise added to the one-hot targets at every access (loss: mse)."""


class _AugmentedSettings(_DataSettings):
    crop_padding: Count = 4
    """Zero padding in pixels for random crops; 0 turns cropping off."""
    flip: bool = True
    """Random horizontal flips."""


class DigitsSettings(_DataSettings):
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels; fixed stratified split, 1,437 to train and 360 to test."""

    name: Literal["digits"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class CIFAR10Settings(_AugmentedSettings):
    """CIFAR-10 in the official binary layout under $SC_DATA."""

    name: Literal["cifar10"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class CIFAR100Settings(_AugmentedSettings):
    """CIFAR-100 (fine labels) in the official binary layout under $SC_DATA."""

    name: Literal["cifar100"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class SyntheticSettings(_AugmentedSettings):
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
    crop_padding: Count = 0
    """As for the other images."""
    flip: bool = False
    """As for the other images."""


DataSettings = Annotated[
    DigitsSettings | CIFAR10Settings | CIFAR100Settings | SyntheticSettings, Field(discriminator="name")
]


# --- optimization ---------------------------------------------------------------------------------------------------


class _OptimizerSettings(Settings):
    lr: PositiveReal
    """Learning rate after warm-up."""
    weight_decay: NonNegative = 0.0
    """Applied to all parameters, biases and normalization included."""
    gradient_clip: PositiveReal | None = None
    """Largest Euclidean norm of the whole gradient; null: no clipping."""


class SGDSettings(_OptimizerSettings):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: Fraction = 0.0
    """Fraction of the velocity kept from step to step."""
    nesterov: bool = False
    """Nesterov's form of momentum, which has to be above 0."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGDSettings:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class AdamSettings(_OptimizerSettings):
    """Adam (weight decay as an L2 penalty) or AdamW (decoupled)."""

    name: Literal["adam", "adamw"]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square."""
    eps: PositiveReal = 1e-8
    """Added to the root of the averaged square."""


OptimizerSettings = Annotated[SGDSettings | AdamSettings, Field(discriminator="name")]


class _ScheduleSettings(Settings):
    warmup_steps: Count = 0
    """Steps of linear warm-up: step k (from 1) of the warm-up runs at k/warmup_steps of the learning rate."""


class ConstantSchedule(_ScheduleSettings):
    """The learning rate stays as it is."""

    name: Literal["constant"]


class MultistepSchedule(_ScheduleSettings):
    """The learning rate is multiplied by gamma after each milestone."""

    name: Literal["multistep"]
    milestones: tuple[Positive, ...] = ()
    """Steps after which the rate drops, increasing."""
    gamma: Annotated[float, Field(gt=0, le=1), Number] = 0.1
    """What the rate is multiplied by at a milestone."""

    @model_validator(mode="after")
    def _increasing(self) -> MultistepSchedule:
        if any(a >= b for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise ValueError(f"milestones must increase, found {list(self.milestones)}")
        return self


class DecaySchedule(_ScheduleSettings):
    """From the end of warm-up to max_steps the rate falls to final_fraction of itself, on a cosine or a line."""

    name: Literal["cosine", "linear"]
    final_fraction: Probability = 0.0
    """Of the learning rate, what is left at max_steps."""


ScheduleSettings = Annotated[ConstantSchedule | MultistepSchedule | DecaySchedule, Field(discriminator="name")]


class CollapseSettings(Settings):
    """Measuring the collapse during training."""

    every: Count = 0
    """Measure at step 0, every so many steps, and at the end; 0: only at the end."""


class OriginSettings(Settings):
    """Where fine-tuning takes its weights from: a checkpoint of a run, or a file of weights."""

    run: str | None = None
    """A run directory; or an experiment's, and then replicate k starts from its replicate k."""
    step: Count | None = None
    """With run: which checkpoint; null: the last."""
    weights: str | None = None
    """A file of weights instead of a run: a checkpoint or a bare state dict."""
    identity: str | None = None
    """Filled in by the toolkit: what the origin is, wherever it lies; the run's identity, or the file's SHA-256."""

    @model_validator(mode="after")
    def _one_origin(self) -> OriginSettings:
        if (self.run is None) == (self.weights is None):
            raise ValueError("expected either run (and step), or weights")
        if self.weights is not None and self.step is not None:
            raise ValueError("step goes with run; a file of weights has one state")
        return self


# --- a training run -------------------------------------------------------------------------------------------------


class TrainConfig(Settings):
    """All settings of one training run; the names that every configuration file uses."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the experiment: letters, digits, '.', '_' and '-'; the first part of the run directory's name."""
    seed: Positive = 1
    """Replicate k uses the seed seed·(k+1), so 0 would give all replicates the same randomness."""
    replicate: Count = 0
    """Which repetition with another seed this is."""
    model: ModelSettings
    """The network."""
    data: DataSettings
    """The data set, and the noise and augmentation that every access to it has."""
    batch_size: Positive | Literal["full"] = 128
    """Examples per step; the last incomplete batch of an epoch is dropped. full: every step takes the whole training
    set, with label noise, target noise, crops and flips drawn anew."""
    micro_batch: Positive | None = None
    """Examples per pass: a step's gradient is put together from passes of so many, the last of what is left, which
    takes less memory; null: one pass. It is the same gradient, except that batch normalization is each pass's own."""
    gradient_noise: Literal["sampled", "none", "isotropic"] = "sampled"
    """sampled: that of batches. none: each step takes the mean gradient over the training set, with label and target
    noise averaged exactly (labels become probabilities); crops, flips and dropout, which cannot be, are drawn anew for
    every example; batch_size has no effect. isotropic: to that mean comes Gaussian noise, alike in all parameters, of
    the power ‖batch's gradient − mean‖² that a batch of batch_size drawn at the same step has."""
    max_steps: Positive
    """Optimization steps in all."""
    optimizer: OptimizerSettings
    """The optimizer."""
    origin: Annotated[OriginSettings | None, Field(alias="from")] = None
    """Fine-tuning: the weights to start from; null: freshly initialized ones."""
    schedule: ScheduleSettings = ConstantSchedule(name="constant")
    """How the learning rate changes over the steps."""
    loss: Literal["cross_entropy", "mse", "bce"] = "cross_entropy"
    """The training loss; mse and bce compare with one-hot targets and average over batch and classes."""
    eval_every: Count = 1000
    """Steps between evaluations on the test set; 0: only at the end."""
    log_every: Positive = 100
    """Steps between rows of metrics.csv; the only times when the loop waits for the device."""
    checkpoint_every: Count = 5000
    """Steps between checkpoints; 0: only at the end."""
    collapse: CollapseSettings = CollapseSettings()
    """When the collapse is measured during training."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda or cuda:N; auto takes CUDA where there is a device."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: mixed precision, parameters stay float32; auto: bfloat16 on CUDA, float32 elsewhere."""
    channels_last: Switch = "auto"
    """Memory layout of images; auto: yes, for convolutional networks, where it is faster on CPUs and GPUs alike."""
    compile: Switch = "auto"
    """torch.compile of the network; auto: on CUDA where Triton is installed."""
    cuda_graphs: Switch = "auto"
    """Capture the whole step in a CUDA graph; auto: on CUDA."""
    threads: Positive | Literal["auto"] = "auto"
    """CPU threads; auto: 1 where the network is too small to gain from more, else as many as PyTorch would take."""

    @model_validator(mode="after")
    def _target_noise_needs_mse(self) -> TrainConfig:
        if self.data.target_noise > 0 and self.loss != "mse":
            raise ValueError(f"data.target_noise needs loss: mse, found loss: {self.loss}")
        return self

    @model_validator(mode="after")
    def _isotropic_noise_has_a_power(self) -> TrainConfig:
        if (
            self.gradient_noise == "isotropic"
            and self.batch_size == "full"
            and not (self.noisy_labels or self.perturbed)
        ):
            raise ValueError(
                "gradient_noise: isotropic takes the power of a batch's noise, and batch_size: full has none here; "
                "expected a number, or noise on labels"
            )
        return self

    @property
    def noisy_labels(self) -> bool:
        """Whether labels or targets have noise."""
        return self.data.label_noise > 0 or self.data.target_noise > 0

    @property
    def perturbed(self) -> tuple[str, ...]:
        """What is drawn anew at every step beside batches and labels, in words."""
        parts = {
            "crops": getattr(self.data, "crop_padding", 0) > 0,
            "flips": getattr(self.data, "flip", False),
            "dropout": getattr(self.model, "dropout", 0) > 0,
        }
        return tuple(name for name, is_random in parts.items() if is_random)

    @property
    def stackable(self) -> bool:
        """Whether replicates train as one batched program (`training.stack`): networks small enough to gain by it."""
        one_batch = self.batch_size != "full" and self.micro_batch is None and self.gradient_noise == "sampled"
        clipped, compiled = self.optimizer.gradient_clip is not None, self.compile is True
        return self.model.name == "mlp" and one_batch and not clipped and not compiled

    @property
    def examples(self) -> int:
        """In the training set."""
        return self.data.train_size or {"digits": 1437, "cifar10": 50_000, "cifar100": 50_000}[self.data.name]

    @property
    def examples_per_step(self) -> int:
        """Whose gradients a step computes; noise of a batch's power takes the batch as well as the set."""
        batch = self.examples if self.batch_size == "full" else self.batch_size
        return {"sampled": batch, "none": self.examples, "isotropic": self.examples + batch}[self.gradient_noise]

    @property
    def replicate_seed(self) -> int:
        """The seed of this replicate, seed·(replicate + 1)."""
        return self.seed * (self.replicate + 1)


# Where and how fast a run computes, what it prints, and the two that the run directory's path spells out. Settings of
# what a run records (eval_every, checkpoint_every, collapse.every) do identify it: who asks for other checkpoints gets
# them, instead of the word that the run is finished.
NOT_IDENTIFYING = frozenset(
    {"name", "replicate", "device", "log_every", "channels_last", "compile", "cuda_graphs", "threads"}
)


def identity(config: TrainConfig) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the identifying settings.

    Settings at their default are left out, so that a later version that adds a setting still finds earlier runs. A
    default, once released, therefore never changes its meaning. Of an origin it counts what it is, not where it lies:
    `from.identity` and `from.step` must have been filled in (`training.origin.located`).
    """
    hidden: dict[str, Any] = dict.fromkeys(NOT_IDENTIFYING, True)
    settings = config.model_dump(
        mode="json", exclude_defaults=True, exclude={**hidden, "origin": {"run": True, "weights": True}}
    )
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


# --- reading and writing --------------------------------------------------------------------------------------------

S = TypeVar("S", bound=Settings)


def load_config(file: str | Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Settings of a training run from a YAML file and overrides such as ``"optimizer.lr=0.1"``.

    `file` is a path, or the path of a configuration shipped with the package (``configs/digits/mlp_gelu.yaml``).
    Raises `InputError` with one line per mistake.
    """
    return load_settings(TrainConfig, file, overrides)


def load_settings(kind: type[S], file: str | Path | None, overrides: Sequence[str] = ()) -> S:
    """Settings of any kind from a YAML file and overrides; see `load_config`."""
    written = read_settings(file, overrides)
    return written.check(kind, written.values)


@dataclass(frozen=True)
class Written:
    """What the user wrote, in a file and in overrides, not checked yet."""

    values: dict[str, Any]
    path: Path | None
    text: str
    overrides: Sequence[str]

    def check(self, kind: type[S], values: Mapping[str, Any], homes: Mapping[str, Sequence[str]] | None = None) -> S:
        """Settings of `kind` from `values`, by default keys of the same names in `self.values`.

        `homes` says of a dotted key in `values` under which keys the user wrote it, where that is not the top. Raises
        `InputError` with one line per mistake.
        """
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            # Each member of a union of plain types has its own mistake, all explained by the same line. A list is too
            # short where elements of it are wrong, which have mistakes of their own.
            mistakes = [m for m in error.errors() if not _is_of_elements(m)]
            lines = dict.fromkeys(_explain(kind, mistake, self, homes or {}) for mistake in mistakes)
            raise InputError("\n".join(lines)) from None

    def place(self, keys: Sequence[int | str]) -> str:
        """Where `keys` were written: the override, or the file and line, with ": "; empty if written nowhere."""
        names = [k for k in keys if isinstance(k, str)]
        for override in reversed(self.overrides):  # the last one is in force
            written = override.partition("=")[0].split(".")
            if names and written[: len(names)] == names[: len(written)]:
                return f"override {override!r}: "
        if self.path is None:
            return ""
        node: Any = YAML(typ="rt", pure=True).load(self.text)  # its mappings know the line of each key
        line = None
        for key in names:
            if not isinstance(node, Mapping) or key not in node:
                break
            lines: Any = node
            if key in lines.lc.data:  # what a YAML merge brings in stands elsewhere
                line = lines.lc.key(key)[0] + 1
            node = node[key]
        return f"{self.path}:{line}: " if line is not None else f"{self.path}: "


def read_settings(file: str | Path | None, overrides: Sequence[str] = ()) -> Written:
    """Read a YAML file and apply overrides, without checking what they mean; see `load_config`."""
    path = find_config(file) if file is not None else None
    text = _read(path) if path is not None else ""
    values = _parse(text, path)
    for override in overrides:
        _apply(values, override)
    return Written(values, path, text, overrides)


def find_config(file: str | Path) -> Path:
    """The path itself where it exists, else the shipped configuration of that name."""
    path = Path(file)
    if path.exists():
        return path
    candidate = shipped(str(path) if path.parts[:1] == ("configs",) else f"configs/{path}")
    if not path.is_absolute() and ".." not in path.parts and candidate.is_file():
        return candidate
    raise InputError(f"{path}: no such file, and no shipped configuration has this name (shipped: {_list_shipped()})")


def _list_shipped() -> str:
    root = shipped("configs")
    return ", ".join(sorted(str(p.relative_to(root.parent)) for p in root.rglob("*.yaml"))) or "none"


def dump_yaml(config: Settings) -> str:
    """The settings as YAML, defaults included; `load_settings` reads it back."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keep the order of the classes
    stream = io.StringIO()
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def json_schema(kind: type[Settings] = TrainConfig) -> dict[str, Any]:
    """JSON schema of a kind of settings, for editors that complete and check YAML files."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.model_json_schema()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _parse(text: str, place: Path | str | None) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = (getattr(error, "problem", None) or str(error)).splitlines()[0]
        raise InputError(f"{place}{line}: not valid YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{place}: expected settings, one 'key: value' a line, found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in nested `values`."""
    key, sign, text = override.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", key):
        hint = "; a settings file goes after -f" if override.endswith((".yaml", ".yml")) else ""
        raise InputError(f"override {override!r}: expected key.sub=value, such as optimizer.lr=0.1{hint}")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise InputError(f"override {override!r}: the value is not valid YAML") from None
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"override {override!r}: {parent!r} holds a single value, so it has no {last!r}")
    values[last] = value


# --- explaining mistakes --------------------------------------------------------------------------------------------


def _is_of_elements(mistake: Any) -> bool:
    return mistake["type"] == "too_short" and len(mistake["input"]) >= mistake["ctx"]["min_length"]


def _explain(kind: type[Settings], mistake: Any, written: Written, homes: Mapping[str, Sequence[str]]) -> str:
    """One line for one pydantic error: place, key, rule."""
    keys, parent = _resolve(kind, mistake["loc"])
    keys = [*_home(keys, homes), *keys]
    dotted = ".".join(map(str, keys))
    place = written.place(keys)
    found = "" if isinstance(mistake["input"], Mapping) else f", found {mistake['input']!r}"
    match mistake["type"]:
        case "extra_forbidden":
            valid = list(_fields(parent))
            near = difflib.get_close_matches(str(keys[-1]), valid, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"{place}{dotted}: unknown setting{hint} (valid here: {', '.join(valid)})"
        case "missing":
            return f"{place}{dotted}: missing, and it has no default"
        case "union_tag_not_found":
            return f"{place}{dotted}.name: missing; expected one of {', '.join(_tags(parent, keys[-1]))}"
        case "union_tag_invalid":
            valid, tag = _tags(parent, keys[-1]), str(mistake["ctx"]["tag"])
            near = difflib.get_close_matches(tag, valid, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"{place}{dotted}.name: expected one of {', '.join(valid)}, found {tag!r}{hint}"
        case "model_type" | "model_attributes_type" if str(keys[-1]) not in _fields(parent):  # of a dictionary
            return f"{place}{dotted}: expected settings such as {dotted}.{next(iter(_fields(parent)))}=…{found}"
        case "model_type" | "model_attributes_type" if _fields(parent)[str(keys[-1])].discriminator:
            return f"{place}{dotted}: expected settings such as {dotted}.name={_tags(parent, keys[-1])[0]}{found}"
        case "model_type" | "model_attributes_type":
            field = _fields(parent)[str(keys[-1])]
            member = next(m for m in get_args(field.annotation) or (field.annotation,) if _is_settings(m))
            return f"{place}{dotted}: expected settings such as {dotted}.{next(iter(_fields(member)))}=…{found}"
        case "string_pattern_mismatch":
            meaning = " ".join((_fields(parent)[str(keys[-1])].description or mistake["msg"]).split())
            return f"{place}{dotted}: {mistake['input']!r} is not valid; {meaning}"
        case "value_error":
            return f"{place}{dotted}{': ' if dotted else ''}{mistake['ctx']['error']}"
        case _ if choices := _plain_choices(_fields(parent).get(str(keys[-1]))):
            return f"{place}{dotted}: expected {', or '.join(choices)}{found}"
        case _:
            rule = mistake["msg"][0].lower() + mistake["msg"][1:]
            return f"{place}{dotted}: {rule}{found}"


def _home(keys: Sequence[int | str], homes: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """What the user wrote before `keys`: of the setting itself, or of one that a rule about several is about."""
    for end in range(len(keys), 0, -1):
        if home := homes.get(".".join(map(str, keys[:end]))):
            return home
    inside = "".join(f"{key}." for key in keys)
    return next((home for key, home in homes.items() if key.startswith(inside)), ())


def _resolve(kind: type[Settings], location: tuple[int | str, ...]) -> tuple[list[int | str], type[Settings]]:
    """The keys as the user writes them (without pydantic's union tags), and the settings class that holds the last."""
    keys: list[int | str] = []
    parts = list(location)
    while parts:
        part = parts.pop(0)
        keys.append(part)
        field = _fields(kind).get(str(part))
        if field is None or not parts:
            break
        if get_origin(field.annotation) is dict:
            keys.append(parts.pop(0))
        members = [m for m in get_args(field.annotation) or (field.annotation,) if _is_settings(m)]
        if field.discriminator and (tag := parts.pop(0)):
            kind = next(m for m in members if tag in get_args(m.model_fields["name"].annotation))
        elif members:
            kind = members[0]
        else:  # a list element, or a member of a union of plain types, which the user did not write
            keys.extend(p for p in parts if isinstance(p, int))
            break
    return keys, kind


def _plain_choices(field: FieldInfo | None) -> list[str]:
    """What may stand in a field that is a union of plain types, in words; empty for any other field."""
    is_union = field is not None and get_origin(field.annotation) in (Union, UnionType)
    members = get_args(field.annotation) if field is not None and is_union else ()
    if type(None) in members or any(_is_settings(member) for member in members):
        return []
    return [_in_words(TypeAdapter(member).json_schema()) for member in members]


def _in_words(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return repr(schema["const"])
    kind = {"integer": "a whole number", "number": "a number"}.get(schema["type"], f"a {schema['type']}")
    return f"{kind} of {schema['minimum']} or more" if "minimum" in schema else kind


def _fields(kind: type[Settings]) -> dict[str, FieldInfo]:
    """The fields by the names that users write."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _is_settings(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Settings)


def _tags(parent: type[Settings], key: int | str) -> list[str]:
    """The names that the members of a union of settings go by."""
    members = get_args(parent.model_fields[str(key)].annotation)
    return [tag for member in members for tag in get_args(member.model_fields["name"].annotation)]
