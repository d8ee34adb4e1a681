"""The callbacks, in real trainings by Lightning and by the Hugging Face Trainer."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from stochastic_collapse import measure_collapse
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory

from .conftest import make_network

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated"),  # Lightning's
    # Its advice on machines with more cores, or with a GPU.
    pytest.mark.filterwarnings(r"ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]


def at(table: pd.DataFrame, step: int) -> pd.DataFrame:
    return table[table["step"] == step].reset_index(drop=True)


@pytest.mark.parametrize(
    ("callback", "blocked", "extra"),
    [
        ("lightning", ["lightning.pytorch", "pytorch_lightning"], "lightning"),
        ("huggingface", ["transformers"], "huggingface"),
    ],
)
def test_a_missing_package_is_one_clear_line(
    callback: str, blocked: list[str], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in blocked:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"stochastic_collapse.monitor.{callback}", raising=False)
    with pytest.raises(InputError, match=rf"is not installed here; pip install 'stochastic-collapse\[{extra}\]'$"):
        importlib.import_module(f"stochastic_collapse.monitor.{callback}")


# --- Lightning ------------------------------------------------------------------------------------------------------


class Lightning:
    """Trainings by Lightning, whichever package of it is installed."""

    def __init__(self, package: Any, folder: Path) -> None:
        from stochastic_collapse.monitor.lightning import CollapseCallback

        self.package, self.folder, self.callback = package, folder, CollapseCallback
        assert issubclass(CollapseCallback, package.Callback)

        class Module(package.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.network = make_network()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.network(x)

            def training_step(self, batch: Any, index: int) -> torch.Tensor:
                loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
                self.log("loss", loss)
                return loss

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

        self.module = Module

    def fit(self, module: Any, steps: int, callbacks: Any, checkpoint: Path | None = None, **settings: Any) -> Any:
        data = torch.Generator().manual_seed(3)
        loader = DataLoader(
            TensorDataset(torch.randn(24, 6, generator=data), torch.randint(3, (24,), generator=data)), batch_size=8
        )
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        trainer = self.package.Trainer(
            max_steps=steps,
            accelerator="cpu",
            default_root_dir=self.folder,
            callbacks=callbacks,
            **({"logger": False} | quiet | settings),
        )
        trainer.fit(module, loader, ckpt_path=checkpoint)
        return trainer


@pytest.fixture
def lightning(tmp_path: Path) -> Lightning:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return Lightning(importlib.import_module(name), tmp_path)
        except ImportError:
            continue
    pytest.skip("Lightning is not installed")


def test_lightning(lightning: Lightning, tmp_path: Path) -> None:
    example = torch.zeros(2, 6)
    module = lightning.module()
    before = measure_collapse(module, example)
    logger = lightning.package.loggers.CSVLogger(tmp_path)
    callback = lightning.callback(example, every=4, out=tmp_path / "out")
    with pytest.raises(InputError, match="no training has begun"):
        callback.table()
    lightning.fit(module, 10, [callback], logger=logger, log_every_n_steps=1)
    table = callback.table()
    assert table["step"].unique().tolist() == [0, 4, 8, 10]
    assert table["layer"].unique().tolist() == ["network.0", "network.3"]
    assert_frame_equal(at(table, 0), before)
    assert_frame_equal(at(table, 10), measure_collapse(module, example).assign(step=10))
    assert_frame_equal(RunDirectory(tmp_path / "out").collapse(), table)
    logged = pd.read_csv(Path(logger.log_dir) / "metrics.csv")[["step", "collapse/network.0/effective_rank"]].dropna()
    assert logged["step"].tolist() == [0, 4, 8, 10]
    assert logged.iloc[:, 1].tolist() == pytest.approx(table["effective_rank"][::2].tolist())


def test_lightning_counts_optimizer_steps_of_a_part(lightning: Lightning) -> None:
    module = lightning.module()
    callback = lightning.callback(torch.zeros(2, 6), every=2, module="network")
    lightning.fit(module, 4, [callback], accumulate_grad_batches=3)
    assert callback.table()["step"].unique().tolist() == [0, 2, 4]
    assert callback.table()["layer"].unique().tolist() == ["0", "3"]


def test_lightning_trains_bit_for_bit_as_without(lightning: Lightning) -> None:
    ends = []
    for callbacks in ([], [lightning.callback(torch.zeros(2, 6), every=2)]):
        module = lightning.module()
        lightning.fit(module, 5, callbacks)
        ends.append([p.detach().clone() for p in module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_lightning_resumes(lightning: Lightning, tmp_path: Path) -> None:
    example, out = torch.zeros(2, 6), tmp_path / "out"
    trainer = lightning.fit(lightning.module(), 3, [lightning.callback(example, every=2, out=out)])
    trainer.save_checkpoint(tmp_path / "step_3.ckpt")
    callback = lightning.callback(example, every=2, out=out)
    lightning.fit(lightning.module(), 6, [callback], tmp_path / "step_3.ckpt")
    assert callback.table()["step"].unique().tolist() == [0, 2, 3, 4, 6]
    assert_frame_equal(RunDirectory(out).collapse(), callback.table())


# --- Hugging Face ---------------------------------------------------------------------------------------------------


class HuggingFace:
    """Trainings of a tiny BERT by the Hugging Face Trainer."""

    def __init__(self, transformers: Any, folder: Path) -> None:
        from stochastic_collapse.monitor.huggingface import CollapseCallback

        self.transformers, self.folder, self.callback = transformers, folder, CollapseCallback
        tokens = torch.randint(20, (24, 5), generator=torch.Generator().manual_seed(4))
        self.data = [{"input_ids": row, "labels": int(row[0]) % 2} for row in tokens]
        self.example = {"input_ids": tokens[:2]}

    def model(self) -> Any:
        torch.manual_seed(5)
        return self.transformers.BertForSequenceClassification(
            self.transformers.BertConfig(
                vocab_size=20,
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=24,
                max_position_embeddings=8,
            )
        )

    def train(self, model: Any, callback: Any, steps: int, resume: bool = False) -> None:
        arguments = self.transformers.TrainingArguments(
            output_dir=str(self.folder / "trainer"),
            max_steps=steps,
            save_steps=3,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            learning_rate=1e-2,
            lr_scheduler_type="constant",
        )
        callbacks = [callback] if callback is not None else []
        trainer = self.transformers.Trainer(model, arguments, train_dataset=self.data, callbacks=callbacks)
        trainer.train(resume_from_checkpoint=resume)


@pytest.fixture
def huggingface(tmp_path: Path) -> HuggingFace:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate, which the Hugging Face Trainer needs, is not installed")
    return HuggingFace(transformers, tmp_path)


def test_huggingface(huggingface: HuggingFace, tmp_path: Path) -> None:
    model = huggingface.model()
    before = measure_collapse(model, huggingface.example)
    callback = huggingface.callback(huggingface.example, every=2, out=tmp_path / "out")
    with pytest.raises(InputError, match="no training has begun"):
        callback.table()
    huggingface.train(model, callback, 5)
    table = callback.table()
    assert table["step"].unique().tolist() == [0, 2, 4, 5]
    assert "bert.encoder.layer.0.intermediate.dense" in set(table["layer"])
    assert_frame_equal(at(table, 0), before)
    assert_frame_equal(at(table, 5), measure_collapse(model, huggingface.example).assign(step=5))
    assert_frame_equal(RunDirectory(tmp_path / "out").collapse(), table)


def test_huggingface_resumes_and_trains_as_without(huggingface: HuggingFace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    huggingface.train(huggingface.model(), huggingface.callback(huggingface.example, every=2, out=out), 4)
    callback, resumed = huggingface.callback(huggingface.example, every=2, out=out), huggingface.model()
    huggingface.train(resumed, callback, 6, resume=True)  # from the checkpoint of step 4, the last of the training
    assert callback.table()["step"].unique().tolist() == [0, 2, 4, 6]
    alone = huggingface.model()
    huggingface.train(alone, None, 6)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), resumed.parameters(), strict=True))
