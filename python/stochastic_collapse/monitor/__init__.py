"""Watching any network collapse while any loop trains it: `CollapseMonitor`, and where its values can be shown live.

The callbacks for Lightning and the Hugging Face Trainer are in `monitor.lightning` and `monitor.huggingface`, which
need these packages; nothing is imported before it is asked for.
"""

from .monitor import CollapseMonitor
from .sinks import Sink, TensorBoard, WandB

__all__ = ["CollapseMonitor", "Sink", "TensorBoard", "WandB"]
