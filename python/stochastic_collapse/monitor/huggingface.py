"""The monitor as a callback of the Hugging Face Trainer; needs the package transformers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from ..errors import InputError
from ..neurons import ExampleInput
from .monitor import CollapseMonitor
from .sinks import Sink

try:
    from transformers import TrainerCallback
except ImportError:
    raise InputError(
        "the package transformers is not installed here; pip install 'stochastic-collapse[huggingface]'"
    ) from None


class CollapseCallback(TrainerCallback):  # type: ignore[misc]  # of no type here: see pyproject.toml
    """``Trainer(…, callbacks=[CollapseCallback(example_input, every=500, out="results")])``

    A `CollapseMonitor` of the Trainer's network and step, in the main process; a training that is resumed continues
    its table. `monitor` is there from the beginning of the training on.
    """

    def __init__(
        self,
        example_input: ExampleInput,
        every: int = 500,
        *,
        out: str | Path | None = None,
        log: Sink | Iterable[Sink] = (),
    ) -> None:
        self._example_input = example_input
        self._settings: dict[str, Any] = {"every": every, "out": out, "log": log}
        self.monitor: CollapseMonitor | None = None

    def table(self) -> pd.DataFrame:
        """All measurements so far; raises `InputError` before the training."""
        if self.monitor is None:
            raise InputError("no training has begun in this process")
        return self.monitor.table()

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            start = state.global_step
            self.monitor = CollapseMonitor(model, self._example_input, start_step=start, **self._settings)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.monitor is not None:
            self.monitor.step(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.monitor is not None:
            self.monitor.close()
