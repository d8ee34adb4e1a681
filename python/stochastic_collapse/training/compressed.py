"""Compressing the networks of runs, and files of weights (`sc compress`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from ..collapse import chosen_checkpoints
from ..compression import Compression, compress
from ..config import ModelSettings
from ..data.datasets import load_dataset
from ..data.loader import EvaluationBatches
from ..errors import InputError
from ..models import build_model, network_like
from ..models.resize import resize
from ..models.weights import load_file, load_weights
from ..runs import RunDirectory, write_atomically
from .execution import resolve, suited_to
from .losses import LOSSES
from .step import evaluate

_IMAGES = 100  # of a call whose latency and FLOPs are told, and whose logits are compared
_FORMAT = 1


def compress_run(run: RunDirectory, tolerance: float = 0.1, step: int | None = None) -> Compression:
    """Compress the network of a run's checkpoint (default: the last) and measure it on the run's test set.

    FLOPs, latency and change of logits are those for up to 100 test images. The compressed network is written into the
    run directory (`RunDirectory.compressed`; `load_compressed` reads it), and the row of compression.csv for this step
    and tolerance.

    Raises `InputError` where there is no such checkpoint, where the data are missing, and as `compress` does;
    `RunLocked` while the run is training.
    """
    with run.lock():
        return _Compressor(run, step)(tolerance)


def compression_curve(run: RunDirectory, tolerances: Sequence[float]) -> pd.DataFrame:
    """Rows of compression.csv for the last checkpoint of a run at each of `tolerances`, in increasing order.

    What is in compression.csv already is not computed again, and what is not is added to it. Raises as `compress_run`.
    """
    with run.lock():
        (step,) = chosen_checkpoints(run, "last")
        before = run.compression()
        there = set(before.loc[before["step"] == step, "tolerance"])
        if missing := [tolerance for tolerance in tolerances if tolerance not in there]:
            compressor = _Compressor(run, step)
            for tolerance in missing:
                compressor(tolerance, save=False)
        table = run.compression()
    wanted = table[(table["step"] == step) & table["tolerance"].isin(list(tolerances))]
    return wanted.sort_values("tolerance").reset_index(drop=True)


class _Compressor:
    """Compresses the network of one checkpoint."""

    def __init__(self, run: RunDirectory, step: int | None) -> None:
        ((self._step, path),) = chosen_checkpoints(run, "last" if step is None else [step]).items()
        self._run, self._config = run, run.config()
        execution = resolve(self._config)
        dataset = load_dataset(self._config.data)
        self._shape, self._classes = dataset.image_shape, dataset.num_classes
        self._model = build_model(self._config.model, self._shape, self._classes)
        self._model.load_state_dict(load_weights(path, self._config.model.name))
        self._execution = suited_to(self._model, execution, self._config)
        self._model.to(self._execution.device)
        self._test = EvaluationBatches(
            dataset, dataset.test, device=self._execution.device, batch_size=self._execution.evaluation_batch
        )

    def __call__(self, tolerance: float, save: bool = True) -> Compression:
        images = next(iter(self._test)).images[:_IMAGES]
        with self._execution.active():
            result = compress(self._model, images, tolerance, evaluate=self._accuracy)
        if save:
            network = {
                "settings": self._config.model.model_dump(mode="json"),
                "image_shape": list(self._shape),
                "num_classes": self._classes,
            }
            _write(self._run.compressed(self._step, tolerance), self._config.model.name, network, result)
        before = self._run.compression()
        others = before[(before["step"] != self._step) | (before["tolerance"] != tolerance)]
        row = pd.DataFrame([{"step": self._step, **result.row()}])
        table = pd.concat([part for part in (others, row) if len(part)])
        self._run.write_compression(table.sort_values(["step", "tolerance"], kind="stable"))
        return result

    def _accuracy(self, model: nn.Module) -> float:
        return evaluate(model, self._test, LOSSES[self._config.loss], self._execution.autocast)[1]


def compress_weights(
    path: Path, name: str, tolerance: float = 0.1, out: Path | None = None
) -> tuple[Compression, Path]:
    """Compress a file of weights of the built-in network `name`, and write the result beside it, or to `out`.

    Returns what `compress` does, with FLOPs, latency and logits for random images, and where it was written. Raises
    `InputError` for an unknown name, and where the file does not hold such a network's weights.
    """
    model, image = network_like(name, load_weights(path, name))
    images = torch.randn(_IMAGES, *image.shape[1:], generator=torch.Generator().manual_seed(0))
    result = compress(model.float(), images, tolerance)
    out = out or path.with_name(f"{path.stem}_compressed.pt")
    _write(out, name, None, result)
    return result, out


def _write(path: Path, name: str, network: dict[str, Any] | None, result: Compression) -> None:
    content = {
        "format": _FORMAT,
        "compressed": {"name": name, "tolerance": result.tolerance, "network": network},
        "model": {key: value.detach().cpu() for key, value in result.model.state_dict().items()},
    }
    with write_atomically(path) as temporary:
        torch.save(content, temporary)


def load_compressed(path: str | Path) -> nn.Module:
    """The network in a file that `sc compress` wrote, an ordinary module, in training mode on the CPU.

    Raises `InputError` where the file is none of that kind.
    """
    content = load_file(Path(path))
    if not isinstance(content, dict) or "compressed" not in content or content.get("format") != _FORMAT:
        raise InputError(f"{path}: not a network that `sc compress` wrote (format {_FORMAT})")
    about, weights = content["compressed"], content["model"]
    if about["network"] is None:
        return network_like(about["name"], weights)[0]
    try:
        settings: ModelSettings = TypeAdapter(ModelSettings).validate_python(about["network"]["settings"])
    except ValidationError as error:
        raise InputError(
            f"{path}: its settings are not those of a built-in network: {error.errors()[0]['msg']}"
        ) from None
    model = build_model(settings, tuple(about["network"]["image_shape"]), about["network"]["num_classes"])
    resize(model, weights)
    return model
