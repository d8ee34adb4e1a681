"""Measuring a network's collapse in the middle of its training: `CollapseMonitor`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..collapse.gram import is_finite
from ..collapse.report import layer_gram, layer_row
from ..collapse.threads import in_the_background, single_threaded
from ..errors import InputError
from ..neurons import ExampleInput, NeuronLayer, Parameters, trace
from ..neurons.graph import unwrapped
from .record import Record
from .sinks import Sink

_LOGGED = ("vanished", "fraction_independent", "effective_rank")


class CollapseMonitor:
    """Measures how far a network has collapsed, every so many steps of any training loop.

        with CollapseMonitor(model, example_input, every=500, out="results") as monitor:
            for images, labels in batches:
                ...
                optimizer.step()
                monitor.step()
        print(monitor.table())

    `example_input` is what `model` is called with, as in `measure_collapse`; the layers are found once, here. The
    model may be wrapped by `torch.compile`, `DataParallel` or `DistributedDataParallel`, before or after, and may move
    to another device. In distributed training let one process have a monitor; parameters that are split among
    processes (FSDP) cannot be measured.

    It measures at `start_step` where that is a multiple of `every` (unless `at_start` is false), whenever another
    multiple of `every` is reached, and at the end. On CUDA the training thread queues the layers' Gram matrices on the
    device, without waiting for it; elsewhere it copies the weights. The rest happens in a thread of the monitor's own;
    where that takes longer than `every` steps, training waits for it. Nothing here draws random numbers or changes the
    model: training ends bit for bit as without it.

    `out` is a folder for `collapse.csv`, written anew, whole, after each measurement. Rows that are there already are
    kept up to `start_step`, the number of steps taken before, when training is resumed. Each of the sinks `log` is
    given the values of each measurement, by the training thread, in the first call after they are there.

    A layer whose weights hold NaN or infinite values has no row at that step; the first time a warning says so.
    Whatever else goes wrong, such as a full disk, is raised by the next call. Raises `InputError` for settings out of
    range, a file in `out` that is no such table, and where the network cannot be traced or no layer is found.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: ExampleInput,
        every: int = 500,
        *,
        out: str | Path | None = None,
        log: Sink | Iterable[Sink] = (),
        start_step: int = 0,
        at_start: bool = True,
    ) -> None:
        if every < 1:
            raise InputError(f"every: expected a number of steps of 1 or more, found {every}")
        if start_step < 0:
            raise InputError(f"start_step: expected a number of steps of 0 or more, found {start_step}")
        self.every = every
        self._model = unwrapped(model)
        self.layers = _layers(self._model, example_input)
        self._sinks = tuple(log) if isinstance(log, Iterable) else (log,)
        self._record = Record(None if out is None else Path(out), up_to=start_step)
        self._step = self._measured_step = start_step
        self._worker = ThreadPoolExecutor(1, "collapse-monitor", initializer=in_the_background)
        # Beside a training on a device half of the cores may help; beside one on the CPU they have other work.
        self._helpers = ThreadPoolExecutor(max(1, torch.get_num_threads() // 2), initializer=single_threaded)
        self._pending: Future[_Measurement] | None = None
        self._warned = self._closed = False
        if at_start and start_step % every == 0:
            self.measure()

    # --- what a training loop calls ---

    def step(self, step: int | None = None) -> None:
        """Call once after each step of the optimizer; measures where it is time to.

        `step` is the number of steps taken so far, for loops that count them anyway (default: one more than at the last
        call). Where it skips a multiple of `every`, the step after it is measured. Raises `InputError` where it runs
        backwards.
        """
        before, now = self._step, self._step + 1 if step is None else step
        if now < before:
            raise InputError(f"step {now} comes after step {before}; for another training make another monitor")
        self._step = now
        if now // self.every > before // self.every:
            self.measure()
        elif self._pending is not None and self._pending.done():
            self._collect()

    __call__ = step

    def measure(self) -> None:
        """Measure now, whatever the step. Returns before the measurement is finished, unless another one still is
        under way."""
        if self._closed:
            raise InputError("this monitor is closed")
        self._collect()
        self._measured_step = self._step
        self._pending = self._worker.submit(self._finish, self._step, self._snapshot())

    def table(self) -> pd.DataFrame:
        """All measurements so far, with the columns of collapse.csv; waits for the one under way."""
        self._collect()
        return self._record.table()

    def close(self) -> None:
        """Measure the last step, unless that was done, and finish everything; `table` stays available."""
        if self._closed:
            return
        try:
            if self._step > self._measured_step:
                self.measure()
            self._collect()
        finally:
            self._closed = True
            self._worker.shutdown()
            self._helpers.shutdown()

    def __enter__(self) -> CollapseMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # training broke off: its last state says nothing, and its error is the one to be seen
            self._measured_step = self._step
        self.close()

    # --- the two threads ---

    def _snapshot(self) -> list[_Snapshot]:
        """What the weights of each layer are now."""
        parameters = dict(self._model.named_parameters())
        copies: dict[str, Tensor] = {}
        snapshots: list[_Snapshot] = []
        for layer in self.layers:
            ours = {part.parameter: parameters[part.parameter] for part in layer.parts if part.parameter in parameters}
            if any(parameter.is_cuda for parameter in ours.values()):
                snapshots.append(_OnDevice(layer_gram(parameters, layer)))
            else:
                # A copy is made in less time than the matrix, which the other thread makes with less work besides: the
                # threads of a training on the CPU spend more on meeting one another than on a small layer.
                copies |= {name: p.detach().to("cpu", copy=True) for name, p in ours.items() if name not in copies}
                snapshots.append(_Copied(copies, layer))
        return snapshots

    def _finish(self, step: int, snapshots: Sequence[_Snapshot]) -> _Measurement:
        """What is left to do in the monitor's thread; nothing else touches the record while it does."""

        def finish(layer: NeuronLayer, snapshot: _Snapshot) -> dict[str, Any] | None:
            g = snapshot.gram()
            return layer_row(g, layer, step) if is_finite(g) else None

        on_device = any(isinstance(snapshot, _OnDevice) for snapshot in snapshots)
        rows = list((self._helpers.map if on_device else map)(finish, self.layers, snapshots))
        found = [row for row in rows if row is not None]
        self._record.add(step, found)
        unmeasured = [layer.name for layer, row in zip(self.layers, rows, strict=True) if row is None]
        return _Measurement(step, found, unmeasured)

    def _collect(self) -> None:
        """Take the measurement under way, if any, from the other thread, with its errors, and log it."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        measurement = pending.result()
        if measurement.unmeasured and not self._warned:
            self._warned = True
            names = ", ".join(measurement.unmeasured[:3]) + (", …" if len(measurement.unmeasured) > 3 else "")
            warnings.warn(
                f"step {measurement.step}: weights of {names} hold NaN or infinite values and are not measured",
                RuntimeWarning,
                stacklevel=3,
            )
        if measurement.rows:
            values = measurement.values()
            for sink in self._sinks:
                sink.log(measurement.step, values)


@dataclass(frozen=True)
class _Measurement:
    """What was found at one step."""

    step: int
    rows: list[dict[str, Any]]
    unmeasured: list[str]
    """Layers whose weights are not finite."""

    def values(self) -> dict[str, float]:
        """What the sinks are given."""
        return {f"collapse/{row['layer']}/{name}": float(row[name]) for row in self.rows for name in _LOGGED}


class _Snapshot(Protocol):
    """The weights of one layer at one step."""

    def gram(self) -> Tensor:
        """Their Gram matrix (n, n), in the host's memory; called once, in another thread than the training's."""


class _Copied:
    """A copy of the weights."""

    def __init__(self, parameters: Parameters, layer: NeuronLayer) -> None:
        self._parameters, self._layer = parameters, layer

    def gram(self) -> Tensor:
        return layer_gram(self._parameters, self._layer)


class _OnDevice:
    """The Gram matrix of weights on a CUDA device, on its way: made there, and copied, in the order of the stream."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = torch.empty(matrix.shape, dtype=matrix.dtype, device="cpu", pin_memory=True)
        self._matrix.copy_(matrix, non_blocking=True)
        self._arrived = torch.cuda.Event()
        self._arrived.record(torch.cuda.current_stream(matrix.device))

    def gram(self) -> Tensor:
        self._arrived.synchronize()
        return self._matrix


def _layers(model: nn.Module, example_input: ExampleInput) -> tuple[NeuronLayer, ...]:
    """The layers of `model`, which may be on any device, with the generators left as they are."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    example_input = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), example_input)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # a network may sample in `forward`
        found = trace(model, example_input)
    if not found.layers:
        reasons = "; ".join(f"{one.what}: {one.reason}" for one in found.skipped[:3])
        raise InputError(
            f"{type(model).__name__}: no layer of interchangeable neurons found ({reasons or 'no weights'})"
        )
    return found.layers
