"""Where a monitor's values can be shown live: TensorBoard and Weights & Biases, both optional."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputError


class Sink(Protocol):
    """What a `CollapseMonitor` logs to."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of the measurement at `step`, by names such as ``collapse/fc1/fraction_independent``."""


class TensorBoard:
    """Scalars in TensorBoard: in the `SummaryWriter` given, or in a folder for one of its own.

    Raises `InputError` where TensorBoard is not installed.
    """

    def __init__(self, writer: Any) -> None:
        if isinstance(writer, str | Path):
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise InputError(
                    "TensorBoard is not installed here; pip install 'stochastic-collapse[tensorboard]'"
                ) from None
            writer = SummaryWriter(str(writer))
            weakref.finalize(self, writer.close)
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # to be seen now, and not two minutes later


class WandB:
    """Values in a run of Weights & Biases (default: the one that `wandb.init` made), over an axis ``collapse/step``.

    The axis is their own because W&B drops what is logged at a step before the last. Raises `InputError` where W&B is
    not installed or has no run.
    """

    def __init__(self, run: Any = None) -> None:
        if run is None:
            try:
                import wandb
            except ImportError:
                raise InputError("W&B is not installed here; pip install 'stochastic-collapse[wandb]'") from None
            run = wandb.run
            if run is None:
                raise InputError("there is no W&B run yet; call wandb.init() first, or pass a run")
        self._run = run
        run.define_metric("collapse/step")
        run.define_metric("collapse/*", step_metric="collapse/step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"collapse/step": step, **values})
