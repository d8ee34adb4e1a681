"""What the sinks leave, read back."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from stochastic_collapse import CollapseMonitor
from stochastic_collapse.errors import InputError
from stochastic_collapse.monitor import TensorBoard, WandB

from .conftest import make_step

Points = dict[str, list[tuple[int, float]]]


def train(network: nn.Module, example: Tensor, sink: Any) -> Points:
    """A training that is monitored; what the sink should hold of it, by name."""
    step = make_step(network)
    with CollapseMonitor(network, example, every=2, log=sink) as monitor:
        for _ in range(4):
            step()
            monitor.step()
    return {
        f"collapse/{layer}/{column}": list(zip(rows["step"], rows[column].astype(float), strict=True))
        for layer, rows in monitor.table().groupby("layer")
        for column in ("vanished", "fraction_independent", "effective_rank")
    }


def assert_equal(found: Points, expected: Points) -> None:
    assert set(found) == set(expected)
    for name, points in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points] == [0, 2, 4]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in points], rel=1e-6)


def scalars(folder: Path) -> Points:
    """What lies in the event files of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.parametrize("own_writer", [False, True])
def test_tensorboard(network: nn.Module, example: Tensor, tmp_path: Path, own_writer: bool) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    if own_writer:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(tmp_path) as writer:
            expected = train(network, example, TensorBoard(writer))
    else:
        sink = TensorBoard(tmp_path)
        expected = train(network, example, sink)
    assert_equal(scalars(tmp_path), expected)  # nothing had to be closed


def test_wandb_offline(network: nn.Module, example: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="W&B is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.raises(InputError, match=r"call wandb\.init\(\) first"):
        WandB()
    run = wandb.init(project="collapse", dir=tmp_path)
    run.log({"loss": 1.0}, step=7)  # a training's own steps are ahead of those that are measured
    expected = train(network, example, WandB())
    run.finish()
    wandb.teardown()
    (file,) = tmp_path.rglob("*.wandb")
    rows = [row for row in history(file) if "collapse/step" in row]
    found = {name: [(int(row["collapse/step"]), float(row[name])) for row in rows] for name in expected}
    assert_equal(found, expected)
    assert {name for row in rows for name in row if name.startswith("collapse/")} == {*expected, "collapse/step"}


def history(file: Path) -> list[dict[str, Any]]:
    """The rows that were logged to an offline run."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def records(content: bytes) -> Iterator[bytes]:
    """Those of a file of W&B's: LevelDB log (blocks of 32 KiB, records in pieces) after 7 bytes of its own."""
    at, parts = 7, b""
    while at < len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield parts
            parts = b""


@pytest.mark.parametrize(
    ("package", "make"), [("torch.utils.tensorboard", lambda: TensorBoard("logs")), ("wandb", WandB)]
)
def test_a_missing_package_is_one_clear_line(
    package: str, make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    extra = package.rpartition(".")[2]
    with pytest.raises(InputError, match=rf"is not installed here; pip install 'stochastic-collapse\[{extra}\]'$"):
        make()
