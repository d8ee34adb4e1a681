"""One CPU thread for work that is done in several Python threads, or beside a training."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading

import torch
from threadpoolctl import ThreadpoolController

_NICENESS = 15

_lock = threading.Lock()


def single_threaded() -> None:
    """Let PyTorch compute with one CPU thread where the calling thread calls it, and nowhere else.

    `torch.set_num_threads` alone would not do: it sets the number for all threads that start later too, and for the
    whole process whether MKL may choose fewer threads than it is allowed, which can change the last bits of a training.
    """
    with _lock:
        threads = torch.get_num_threads()  # PyTorch sets each thread's number at its first use; this is it
        _openmp().limit(limits=1)
        found = re.search(r"mkl_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
        if found and int(found[1]) > 1:
            # Somebody has called `torch.set_num_threads`. Then MKL has a number of its own in every thread, and has
            # lost its choice already; what is left to do is to put the number for later threads back.
            torch.set_num_threads(1)
            restore = threading.Thread(target=torch.set_num_threads, args=(threads,))
            restore.start()
            restore.join()


@functools.cache
def _openmp() -> ThreadpoolController:
    """The OpenMP that PyTorch has loaded, whose limit is that of the calling thread."""
    return ThreadpoolController().select(user_api="openmp")


def in_the_background() -> None:
    """`single_threaded`, and after all others where the operating system can tell threads apart, as Linux does.

    A step that shares its cores with such a thread goes first.
    """
    single_threaded()
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
