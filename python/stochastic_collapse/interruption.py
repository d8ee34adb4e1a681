"""Ctrl-C and SIGTERM as a wish that long work looks at, instead of an exception in the middle of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(on_stop: Callable[[], None] | None = None) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C or SIGTERM has arrived; a second one raises `KeyboardInterrupt`.

    `on_stop` is called in the signal handler, once. Outside the main thread, where Python delivers no signals, the
    answer is always no.
    """
    arrived = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal arrived
        if arrived:
            raise KeyboardInterrupt
        arrived = True
        if on_stop is not None:
            on_stop()

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
