"""The monitor in plain loops: what it measures, what it leaves, and that it leaves training alone."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import Tensor, nn

from stochastic_collapse import CollapseMonitor, measure_collapse
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import COLLAPSE, RunDirectory

from .conftest import linear, make_network, make_step


def measured(model: nn.Module, example: Tensor, step: int) -> pd.DataFrame:
    return measure_collapse(model, example).assign(step=step)


def same(found: pd.DataFrame, expected: list[pd.DataFrame]) -> None:
    assert_frame_equal(found, pd.concat(expected, ignore_index=True), rtol=1e-12)


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[tuple[int, dict[str, float]]] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.got.append((step, dict(values)))


def test_rows_are_those_of_measure_collapse(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    with torch.no_grad():  # some neurons collapsed: a vanished one, two copies
        into, out = linear(network, "0"), linear(network, "3")
        into.weight[3], into.bias[3], out.weight[:, 3] = 0, 0, 0
        into.weight[5], into.bias[5], out.weight[:, 5] = into.weight[4], into.bias[4], out.weight[:, 4]
    step, sink = make_step(network), Recorder()
    expected = [measured(network, example, 0)]
    with CollapseMonitor(network, example, every=4, out=tmp_path, log=sink) as monitor:
        for k in range(1, 11):
            step()
            monitor.step()
            if k % 4 == 0:
                expected.append(measured(network, example, k))
        same(monitor.table(), expected)
    expected.append(measured(network, example, 10))  # the end
    table = monitor.table()
    same(table, expected)
    assert (table["independent"] < table["neurons"]).any()
    assert list(table.columns) == list(COLLAPSE)
    same(RunDirectory(tmp_path).collapse(), expected)
    assert (tmp_path / "collapse.csv").read_text() == table.to_csv(index=False)  # the same text, too
    assert [at for at, _ in sink.got] == [0, 4, 8, 10]
    first = expected[0].iloc[0]
    assert sink.got[0][1]["collapse/0/vanished"] == first["vanished"] > 0
    assert sink.got[0][1]["collapse/0/fraction_independent"] == first["fraction_independent"]
    assert sink.got[0][1]["collapse/3/effective_rank"] == pytest.approx(expected[0]["effective_rank"][1])


def test_training_ends_bit_for_bit_as_without(example: Tensor) -> None:
    def train(monitored: bool) -> tuple[list[Tensor], Tensor]:
        network = make_network().train()
        step = make_step(network)
        monitor = CollapseMonitor(network, example, every=2) if monitored else None
        for _ in range(9):
            step()
            if monitor is not None:
                monitor()
        if monitor is not None:
            monitor.close()
        assert network.training
        return [p.detach().clone() for p in network.parameters()], torch.get_rng_state()

    weights, generator = train(monitored=False)
    weights_with, generator_with = train(monitored=True)
    assert all(torch.equal(a, b) for a, b in zip(weights, weights_with, strict=True))
    assert torch.equal(generator, generator_with)  # dropout used it


class Sampling(nn.Module):
    """A network that draws numbers also in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.fc(x)) + torch.randn(()))


def test_a_network_that_samples_does_not_move_the_generator(example: Tensor) -> None:
    network = Sampling()
    before = torch.get_rng_state()
    with CollapseMonitor(network, example) as monitor:
        assert [layer.name for layer in monitor.layers] == ["fc"]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_state_measured_is_that_of_its_step(network: nn.Sequential, example: Tensor) -> None:
    """The weights may change before the other thread has begun."""
    monitor = CollapseMonitor(network, example, every=1, at_start=False)
    held = threading.Event()
    monitor._worker.submit(held.wait)
    expected = measured(network, example, 1)
    monitor.step()
    with torch.no_grad():
        linear(network, "0").weight.zero_()
    held.set()
    same(monitor.table(), [expected])


def test_only_a_measurement_under_way_is_waited_for(network: nn.Sequential, example: Tensor) -> None:
    monitor = CollapseMonitor(network, example, every=2, at_start=False)
    held = threading.Event()
    monitor._worker.submit(held.wait)
    for _ in range(3):  # the measurement of step 2 cannot finish, and nobody waits for it
        monitor.step()
    threading.Timer(0.3, held.set).start()
    began = time.perf_counter()
    monitor.step()
    assert time.perf_counter() - began > 0.2
    assert monitor.table()["step"].unique().tolist() == [2, 4]


def test_without_the_start(network: nn.Sequential, example: Tensor) -> None:
    with CollapseMonitor(network, example, every=3, at_start=False) as monitor:
        assert len(monitor.table()) == 0
        assert monitor.table()["step"].dtype.kind == "i"
        for _ in range(3):
            monitor.step()
    assert monitor.table()["step"].unique().tolist() == [3]
    monitor.close()  # once more changes nothing
    assert len(monitor.table()) == 2
    with pytest.raises(InputError, match="closed"):
        monitor.measure()


def test_a_loop_that_counts(network: nn.Sequential, example: Tensor) -> None:
    with CollapseMonitor(network, example, every=5) as monitor:
        for k in (2, 4, 4, 6, 8, 12):  # not moving is no step; 5 and 10 are skipped over
            monitor.step(k)
        with pytest.raises(InputError, match="step 11 comes after step 12"):
            monitor.step(11)
    assert monitor.table()["step"].unique().tolist() == [0, 6, 12]


# --- resuming -------------------------------------------------------------------------------------------------------


def test_resumed_training_continues_the_table(example: Tensor, tmp_path: Path) -> None:
    def train(first: int, last: int, network: nn.Module, step: Callable[[], None], out: Path) -> CollapseMonitor:
        with CollapseMonitor(network, example, every=2, out=out, start_step=first) as monitor:
            for _ in range(first, last):
                step()
                monitor.step()
        return monitor

    network = make_network()
    whole = train(0, 9, network, make_step(network), tmp_path / "whole").table()

    network = make_network()
    step = make_step(network)
    train(0, 5, network, step, tmp_path / "parts")
    ahead = RunDirectory(tmp_path / "parts")
    later = measured(network, example, 6)  # as if the training had gone on after the checkpoint of step 5
    ahead.write_collapse(pd.concat([ahead.collapse(), later]))
    (tmp_path / "parts" / ".collapse.csv.x.sc-tmp").touch()  # a killed process left it
    parts = train(5, 9, network, step, tmp_path / "parts").table()
    assert parts["step"].unique().tolist() == [0, 2, 4, 5, 6, 8, 9]
    assert_frame_equal(parts[parts["step"] != 5].reset_index(drop=True), whole)
    assert_frame_equal(ahead.collapse(), parts)
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["collapse.csv"]


def test_beginning_again_replaces_the_table(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    for _ in range(2):
        with CollapseMonitor(network, example, every=2, out=tmp_path) as monitor:
            for _ in range(2):
                monitor.step()
    assert RunDirectory(tmp_path).collapse()["step"].tolist() == [0, 0, 2, 2]


def test_a_measurement_at_the_start_is_made_anew(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    CollapseMonitor(network, example, out=tmp_path).close()
    with torch.no_grad():
        linear(network, "0").weight[1:] = 0
        linear(network, "0").bias[1:] = 0
        linear(network, "3").weight[:, 1:] = 0
    CollapseMonitor(network, example, out=tmp_path).close()
    same(RunDirectory(tmp_path).collapse(), [measured(network, example, 0)])


# --- wrapped models -------------------------------------------------------------------------------------------------


def compiled(network: nn.Module) -> nn.Module:
    return torch.compile(network, backend="eager")  # type: ignore[return-value]


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, lambda network: compiled(nn.DataParallel(network))])
def test_wrapped_models(wrap: Callable[[nn.Module], nn.Module], example: Tensor) -> None:
    network = make_network()
    wrapped = wrap(network)
    step = make_step(wrapped)
    with CollapseMonitor(wrapped, example, every=2) as monitor:
        for _ in range(2):
            step()
            monitor.step()
        expected = measured(network, example, 2)
    table = monitor.table()
    same(table[table["step"] == 2].reset_index(drop=True), [expected])
    assert monitor.table()["layer"].unique().tolist() == ["0", "3"]


def test_a_model_compiled_in_place(network: nn.Sequential, example: Tensor) -> None:
    network.compile(backend="eager")
    step = make_step(network)
    with CollapseMonitor(network, example, every=1) as monitor:
        step()
        monitor.step()
    assert monitor.table()["step"].tolist() == [0, 0, 1, 1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch is built without torch.distributed")
def test_distributed_data_parallel(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(network)
        step = make_step(wrapped)
        with CollapseMonitor(wrapped, example, every=1) as monitor:
            step()
            monitor.step()
        table = monitor.table()
        same(table[table["step"] == 1].reset_index(drop=True), [measured(network, example, 1)])
    finally:
        torch.distributed.destroy_process_group()


def test_parameters_are_found_by_name(network: nn.Sequential, example: Tensor) -> None:
    """A move to another device, among others, may replace them."""
    monitor = CollapseMonitor(network, example, every=1)
    network.load_state_dict(make_network().double().state_dict(), assign=True)
    with torch.no_grad():
        linear(network, "0").weight.mul_(2)
    monitor.step()
    table = monitor.table()
    same(table[table["step"] == 1].reset_index(drop=True), [measure_collapse(network, example.double()).assign(step=1)])
    monitor.close()


# --- what can go wrong ----------------------------------------------------------------------------------------------


def test_weights_that_are_not_finite_stop_nothing(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    sink = Recorder()
    monitor = CollapseMonitor(network, example, every=1, out=tmp_path, log=[sink])
    with torch.no_grad():
        linear(network, "5").weight[0, 0] = math.nan  # of layer 3 only: an outgoing weight
    monitor.step()
    with pytest.warns(RuntimeWarning, match=r"step 1: weights of 3 hold NaN or infinite values and are not measured"):
        monitor.table()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        monitor.step()
        monitor.close()
    table = monitor.table()
    assert table[["step", "layer"]].to_numpy().tolist() == [[0, "0"], [0, "3"], [1, "0"], [2, "0"]]
    assert_frame_equal(RunDirectory(tmp_path).collapse(), table)
    assert [sorted({name.split("/")[1] for name in values}) for _, values in sink.got] == [["0", "3"], ["0"], ["0"]]


def test_errors_of_the_other_thread_surface(
    network: nn.Sequential, example: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: RunDirectory, lines: object) -> None:
        raise OSError("no space left on device")

    monitor = CollapseMonitor(network, example, every=2, out=tmp_path)
    monitor.table()
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "write_collapse_lines", full)
        monitor.step()
        monitor.step()
        while monitor._pending is not None and not monitor._pending.done():
            time.sleep(0.01)
        with pytest.raises(OSError, match="no space left"):
            monitor.step()
    monitor.step()  # goes on, and nothing is lost
    monitor.close()
    assert RunDirectory(tmp_path).collapse()["step"].unique().tolist() == [0, 2, 4]


def test_errors_of_a_sink_surface(network: nn.Sequential, example: Tensor) -> None:
    class Broken:
        def log(self, step: int, values: Mapping[str, float]) -> None:
            raise ConnectionError("gone")

    monitor = CollapseMonitor(network, example, log=Broken())
    with pytest.raises(ConnectionError, match="gone"):
        monitor.table()
    assert len(monitor.table()) == 2


def test_training_that_breaks_off_keeps_its_error(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    def train() -> None:
        with CollapseMonitor(network, example, every=2, out=tmp_path) as monitor:
            for k in range(1, 4):
                monitor.step()
                if k == 3:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert RunDirectory(tmp_path).collapse()["step"].unique().tolist() == [0, 2]  # the last state is no result


def test_bad_input_is_one_clear_line(network: nn.Sequential, example: Tensor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every: expected a number of steps of 1 or more, found 0"):
        CollapseMonitor(network, example, every=0)
    with pytest.raises(InputError, match="start_step: expected"):
        CollapseMonitor(network, example, start_step=-1)
    with pytest.raises(InputError, match="cannot be traced on this example input"):
        CollapseMonitor(network, torch.zeros(2, 7))
    with pytest.raises(InputError, match=r"Linear: no layer of interchangeable neurons found \(weight"):
        CollapseMonitor(nn.Linear(3, 2), torch.zeros(2, 3))
    (tmp_path / "collapse.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected the columns step, layer"):
        CollapseMonitor(network, example, out=tmp_path)


def test_another_network_at_a_later_step(network: nn.Sequential, example: Tensor) -> None:
    monitor = CollapseMonitor(network, example, every=1)
    network[0] = nn.Linear(6, 4)
    monitor.step()
    with pytest.raises(InputError, match=r"layer 0: 0\.weight of shape \(4, 6\)"):
        monitor.table()
    del monitor
    gc.collect()


def test_a_script_that_forgets_to_close_leaves_the_file_whole(tmp_path: Path) -> None:
    script = (
        "import torch; from torch import nn; from stochastic_collapse import CollapseMonitor\n"
        "model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))\n"
        f"monitor = CollapseMonitor(model, torch.zeros(2, 6), every=2, out={str(tmp_path)!r})\n"
        "for _ in range(6): monitor.step()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert RunDirectory(tmp_path).collapse()["step"].tolist() == [0, 2, 4, 6]


def test_the_import_costs_no_optional_package() -> None:
    script = (
        "import sys, stochastic_collapse.monitor; from stochastic_collapse import CollapseMonitor\n"
        "bad = {'lightning', 'pytorch_lightning', 'transformers', 'wandb', 'tensorboard'} & set(sys.modules)\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("chosen", ["torch.set_num_threads(2)", "pass"])
def test_other_threads_keep_their_number_of_threads(chosen: str) -> None:
    """PyTorch's number of threads is that of the thread, and of all threads that begin later."""
    script = f"""if True:
        import threading, torch
        from stochastic_collapse.collapse.threads import single_threaded

        def threads():
            numbers = torch.__config__.parallel_info()  # OpenMP's and MKL's too
            return [line for line in numbers.splitlines() if "threads() : " in line and "interop" not in line]

        def in_a_thread(*functions):
            found = []
            thread = threading.Thread(target=lambda: found.extend(function() for function in functions))
            thread.start()
            thread.join()
            return found

        {chosen}
        torch.get_num_threads()
        before, later = threads(), in_a_thread(torch.get_num_threads, threads)
        inside = in_a_thread(single_threaded, threads)[1]
        assert inside and all(line.endswith(": 1") for line in inside), inside
        assert threads() == before, threads()
        assert in_a_thread(torch.get_num_threads, threads) == later
    """
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.cuda
def test_on_cuda_nothing_waits_for_the_device(example: Tensor) -> None:
    network = make_network().cuda()
    step = make_step(network)
    with CollapseMonitor(network, example, every=2) as monitor:
        monitor.table()
        step()
        monitor.step()
        expected = []
        for k in range(2, 7):
            step()
            torch.cuda.set_sync_debug_mode("error")
            try:
                if k % 2 == 0:
                    # The clone is of this step's weights, whatever happens to them while the copies are under way.
                    expected.append((k, {name: p.detach().clone() for name, p in network.named_parameters()}))
                monitor.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
    table = monitor.table()
    for k, weights in expected:
        frozen = make_network().cuda()
        frozen.load_state_dict(weights)
        same(table[table["step"] == k].reset_index(drop=True), [measured(frozen, example.cuda(), k)])


@pytest.mark.cuda
def test_a_model_that_moves_to_the_device(network: nn.Sequential, example: Tensor) -> None:
    expected = [measured(network, example, k) for k in (0, 1)]
    monitor = CollapseMonitor(network, example, every=1)
    network.cuda()
    monitor.step()
    same(monitor.table(), expected)
    monitor.close()
