"""The monitor as a callback of Lightning; needs the package lightning, or pytorch-lightning."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..neurons import ExampleInput
from .monitor import CollapseMonitor
from .sinks import Sink


def _callback() -> Any:
    """Lightning's class of callbacks. Two packages have one each: that of the package in use."""
    names = ("lightning.pytorch", "pytorch_lightning")
    for name in sorted(names, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name).Callback
        except ImportError:
            continue
    raise InputError("Lightning is not installed here; pip install 'stochastic-collapse[lightning]'")


class CollapseCallback(_callback()):  # type: ignore[misc]
    """``Trainer(…, callbacks=[CollapseCallback(example_input, every=500, out="results")])``

    A `CollapseMonitor` of the LightningModule, or of its part called `module`, over the Trainer's `global_step`, in the
    main process; a training that is resumed continues its table. `loggers` also gives the values to the Trainer's
    loggers. `monitor` is there from the beginning of the training on.
    """

    def __init__(
        self,
        example_input: ExampleInput,
        every: int = 500,
        *,
        module: str = "",
        out: str | Path | None = None,
        log: Sink | Iterable[Sink] = (),
        loggers: bool = True,
    ) -> None:
        self._example_input, self._module, self._loggers = example_input, module, loggers
        self._sinks = tuple(log) if isinstance(log, Iterable) else (log,)
        self._settings: dict[str, Any] = {"every": every, "out": out}
        self.monitor: CollapseMonitor | None = None

    def table(self) -> pd.DataFrame:
        """All measurements so far; raises `InputError` before the training."""
        if self.monitor is None:
            raise InputError("no training has begun in this process")
        return self.monitor.table()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            sinks = (*self._sinks, *map(_Logger, trainer.loggers if self._loggers else ()))
            network = pl_module.get_submodule(self._module)
            self.monitor = CollapseMonitor(
                network, self._example_input, start_step=trainer.global_step, log=sinks, **self._settings
            )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.monitor is not None:
            self.monitor.step(trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self.monitor is not None:
            self.monitor.close()


class _Logger:
    """A logger of Lightning's as a sink."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._logger.log_metrics(dict(values), step=step)
