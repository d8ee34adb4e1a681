"""One CPU thread for work that is done in several Python threads, or beside a training."""

from __future__ import annotations

import functools

import torch
from threadpoolctl import ThreadpoolController


def single_threaded() -> None:
    """Let PyTorch compute with one CPU thread where the calling thread calls it, and nowhere else.

    `torch.set_num_threads` would not do: it sets the number for all threads that start later too, and for the whole
    process whether MKL may choose fewer threads than it is allowed, which can change the last bits of a training.
    """
    torch.get_num_threads()  # PyTorch sets each thread's number at its first use; this is it
    _openmp().limit(limits=1)


@functools.cache
def _openmp() -> ThreadpoolController:
    """The OpenMP that PyTorch has loaded, whose limit is that of the calling thread."""
    return ThreadpoolController().select(user_api="openmp")
