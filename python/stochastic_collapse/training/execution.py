"""Where and how a run computes: the settings' `auto` made definite for this machine."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..config import Switch, TrainConfig
from ..errors import InputError
from ..models import is_built_in

# Below so many multiplications per step the threads' meeting costs more than their work saves.
_SINGLE_THREAD_BELOW = 5e7

# Numbers in the widest vector register, single precision: oneDNN's block of channels.
_ONEDNN_BLOCK = 16


@dataclass(frozen=True)
class Execution:
    """Device, precision and form of the training step."""

    device: torch.device
    bfloat16: bool
    channels_last: bool
    compile: bool
    cuda_graphs: bool
    threads: int | None
    """CPU threads, or None for PyTorch's own choice."""

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of a batch of images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def evaluation_batch(self) -> int:
        """Images evaluated at a time: on a CPU no more than gains speed, since full-width networks take 1 MB each."""
        return 2000 if self.device.type == "cuda" else 500

    @property
    def cuda_devices(self) -> list[torch.device]:
        """The device in a list if it is a CUDA device, else an empty list."""
        return [self.device] if self.device.type == "cuda" else []

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which forward passes run."""
        if self.bfloat16:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the device the current one, and hold PyTorch to `threads` CPU threads.

        Shapes stay the same from step to step, so on CUDA cuDNN tries its convolution algorithms and keeps the fastest.
        """
        before, benchmark_before = torch.get_num_threads(), torch.backends.cudnn.benchmark
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        torch.backends.cudnn.benchmark = self.device.type == "cuda"
        try:
            # Streams and graph captures are the current device's.
            with torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext():
                yield
        finally:
            torch.set_num_threads(before)
            torch.backends.cudnn.benchmark = benchmark_before

    def describe(self) -> dict[str, object]:
        """What status.json says of it."""
        on_cuda = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if on_cuda else "cpu",
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "channels_last": self.channels_last,
            "compile": self.compile,
            "cuda_graphs": self.cuda_graphs,
            "threads": self.threads or torch.get_num_threads(),
        }


def resolve(config: TrainConfig) -> Execution:
    """What the settings mean on this machine. Raises `InputError` where it cannot do what they ask for."""
    device = _device(config.device)
    on_cuda = device.type == "cuda"
    # Of a network that others wrote nobody knows whether it can be compiled, or waits for the device in its middle.
    ours = is_built_in(config.model.name) and not config.loss.startswith("python:")
    if config.cuda_graphs is True and not on_cuda:
        raise InputError(f"cuda_graphs: true needs a CUDA device, and device is {config.device}")
    return Execution(
        device=device,
        bfloat16=_bfloat16(config, device),
        channels_last=_switch(config.channels_last, auto=True) and not config.model.fully_connected,
        compile=_switch(config.compile, auto=ours and on_cuda and importlib.util.find_spec("triton") is not None),
        cuda_graphs=_switch(config.cuda_graphs, auto=ours and on_cuda),
        threads=None if config.threads == "auto" else config.threads,
    )


def suited_to(
    model: nn.Module, execution: Execution, config: TrainConfig, *, examples: int, has_images: bool
) -> Execution:
    """`execution` for this network, which trains on so many `examples`.

    One thread where `threads` is auto and a fully connected `model` does little work per step. Images channels first
    where oneDNN cannot be trusted with channels last (`_overruns_onednn`): by itself where
    `channels_last` is auto, with an `InputError` where it is true.
    """
    if not has_images:
        execution = replace(execution, channels_last=False)
    if execution.channels_last and execution.device.type == "cpu" and _overruns_onednn(model):
        if config.channels_last is True:
            raise InputError(
                "channels_last: true asked for, but this network strides a 1x1 convolution of fewer than "
                f"{_ONEDNN_BLOCK} input channels, with which oneDNN overruns its memory on CPUs; leave it at auto"
            )
        execution = replace(execution, channels_last=False)
    work = 3 * config.examples_per_step(examples) * sum(p.numel() for p in model.parameters())
    if config.threads == "auto" and config.model.fully_connected and work < _SINGLE_THREAD_BELOW:
        execution = replace(execution, threads=1)
    return execution


def _overruns_onednn(model: nn.Module) -> bool:
    """Whether weight gradients of a 1x1 convolution would be written past oneDNN's workspace on a CPU.

    With channels last, a stride and fewer input channels than a vector register holds, its kernels write past the copy
    of unit stride: a crash, or wrong gradients (oneDNN issue 6035, open in November 2026).
    """
    return any(
        m.kernel_size == (1, 1) and max(m.stride) > 1 and m.in_channels // m.groups < _ONEDNN_BLOCK
        for m in model.modules()
        if isinstance(m, nn.Conv2d)
    )


def _switch(value: Switch, auto: bool) -> bool:
    return auto if value == "auto" else value


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device: {name} asked for, but PyTorch {torch.__version__} finds no CUDA device here")
        if (device.index or 0) >= torch.cuda.device_count():
            raise InputError(f"device: {name} asked for, but there are {torch.cuda.device_count()} CUDA devices here")
    return device


def _bfloat16(config: TrainConfig, device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            available = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        available = torch.ops.mkldnn._is_mkldnn_bf16_supported() if torch.backends.mkldnn.is_available() else False
    if config.precision == "bfloat16" and not available:
        raise InputError(f"precision: bfloat16 asked for, but this {device.type} device cannot compute in it")
    return config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda" and available)
