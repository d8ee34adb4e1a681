"""Settings of a training run, and its identity (docs/architecture.md#identity)."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, Positive, Settings, Switch
from .data import DataSettings
from .models import ModelSettings
from .optimization import ConstantSchedule, OptimizerSettings, ScheduleSettings


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
    loss: Literal["cross_entropy", "mse", "bce", "model"] | Annotated[str, Field(pattern=r"^python:\S+$")] = (
        "cross_entropy"
    )
    """The training loss; mse and bce compare with one-hot or real targets and average over batch and outputs. model:
    the network's own, which gets the targets as labels. python:package.module:callable or
    python:path/to/file.py:callable: called with outputs (B, outputs), of next tokens a row for each place, and targets,
    returns the mean."""
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
    """torch.compile of the network; auto: of a built-in one on CUDA where Triton is installed."""
    cuda_graphs: Switch = "auto"
    """Capture the whole step in a CUDA graph; auto: of a built-in network on CUDA."""
    threads: Positive | Literal["auto"] = "auto"
    """CPU threads; auto: 1 where the network is too small to gain from more, else as many as PyTorch would take."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Filled in by the toolkit: SHA-256 of what the files hold that settings name, by setting, wherever they lie."""

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

    @model_validator(mode="after")
    def _one_start(self) -> TrainConfig:
        if self.origin is not None and self.model.weights is not None:
            raise ValueError("either from or model.weights says where to start, found both")
        return self

    @property
    def noisy_labels(self) -> bool:
        """Whether labels or targets have noise."""
        return self.data.label_noise > 0 or self.data.target_noise > 0

    @property
    def perturbed(self) -> tuple[str, ...]:
        """What is drawn anew at every step beside batches and labels, in words."""
        parts = {
            "crops": bool(getattr(self.data, "crop_padding", 0) or getattr(self.data, "random_resized_crop", None)),
            "flips": getattr(self.data, "flip", False),
            "dropout": getattr(self.model, "dropout", 0) > 0,
        }
        return tuple(name for name, is_random in parts.items() if is_random)

    @property
    def stackable(self) -> bool:
        """Whether replicates train as one batched program (`training.stack`): networks small enough to gain by it."""
        one_batch = self.batch_size != "full" and self.micro_batch is None and self.gradient_noise == "sampled"
        clipped, compiled = self.optimizer.gradient_clip is not None, self.compile is True
        plain_loss = self.loss in ("cross_entropy", "mse", "bce")
        return self.model.fully_connected and one_batch and plain_loss and not clipped and not compiled

    def examples_per_step(self, examples: int) -> int:
        """Whose gradients a step computes, of a training set of `examples`; noise of a batch's power takes both."""
        batch = examples if self.batch_size == "full" else self.batch_size
        return {"sampled": batch, "none": examples, "isotropic": examples + batch}[self.gradient_noise]

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
    default, once released, therefore never changes its meaning. Of an origin, and of files, it counts what they are,
    not where they lie: `from.identity`, `from.step` and `sources` must have been filled in (`provenance.located`).
    """
    hidden: dict[str, Any] = dict.fromkeys(NOT_IDENTIFYING, True)
    places: dict[str, Any] = {
        "origin": {"run", "weights"},
        "model": {"weights"},
        "data": {"path", "targets", "workers"},
    }
    settings = config.model_dump(mode="json", exclude_defaults=True, exclude={**hidden, **places})
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
