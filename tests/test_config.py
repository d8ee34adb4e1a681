"""Settings: every mistake is one clear line, and identity means what docs/architecture.md#identity says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stochastic_collapse.config import TrainConfig, dump_yaml, identity, json_schema, load_config
from stochastic_collapse.errors import InputError


def mistake(file: Path | None, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_config(file, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optimizer.lrr=1", "override 'optimizer.lrr=1': optimizer.lrr: unknown setting; did you mean 'lr'?"),
        ("modle.name=mlp", "modle: unknown setting; did you mean 'model'?"),
        ("optimizer.lr=-1", "optimizer.lr: input should be greater than 0, found -1"),
        ("optimizer.lr=.nan", "optimizer.lr: input should be a finite number"),
        ("max_steps=many", "max_steps: input should be a valid integer"),
        ("max_steps=0", "max_steps: input should be greater than or equal to 1, found 0"),
        ("batch_size=ful", "batch_size: expected a whole number of 1 or more, or 'full', found 'ful'"),
        (
            "batch_size=0",
            "override 'batch_size=0': batch_size: expected a whole number of 1 or more, or 'full', found 0",
        ),
        ("threads=2.5", "threads: expected a whole number of 1 or more, or 'auto', found 2.5"),
        ("micro_batch=0", "micro_batch: input should be greater than or equal to 1, found 0"),
        ("gradient_noise=no", "gradient_noise: input should be 'sampled', 'none' or 'isotropic', found 'no'"),
        ("seed=0", "seed: input should be greater than or equal to 1"),
        ("model.name=vgg", "python:MODULE:CALLABLE, found 'vgg'; did you mean 'vgg19'?"),
        ("model.widths=[8,0]", "model.widths.1: input should be greater than or equal to 1, found 0"),
        ("compile=7", "compile: input should be 'auto', True or False, found 7"),
        ("data.target_noise=0.5", "data.target_noise needs loss: mse, found loss: cross_entropy"),
        ("schedule={name: multistep, milestones: [3, 2]}", "milestones must increase, found [3, 2]"),
        ("optimizer={name: sgd, lr: 1, nesterov: true}", "nesterov needs a momentum above 0"),
        ("name=a/b", "name: 'a/b' is not valid; Name of the experiment: letters, digits, '.', '_' and '-'"),
        ("device=gpu", "device: 'gpu' is not valid; auto, cpu, cuda or cuda:N"),
        ("some/file.yaml", "a settings file goes after -f"),
        ("lr", "expected key.sub=value, such as optimizer.lr=0.1"),
        ("seed.sub=1", "'seed' holds a single value, so it has no 'sub'"),
        ("name=[", "the value is not valid YAML"),
    ],
)
def test_bad_override_says_what_is_wrong(tiny_file: Path, override: str, says: str) -> None:
    message = mistake(tiny_file, override)
    assert says in message
    assert len(message.splitlines()) == 1


def test_isotropic_noise_needs_a_noise_to_be_as_strong_as(tiny_file: Path) -> None:
    full = ("gradient_noise=isotropic", "batch_size=full")
    assert "takes the power of a batch's noise, and batch_size: full has none here" in mistake(tiny_file, *full)
    for noisy in ("data.label_noise=0.1", "data.flip=true", "batch_size=4"):
        assert load_config(tiny_file, [*full, noisy]).gradient_noise == "isotropic"


def test_mistakes_in_a_file_name_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    data = "data:\n  name: digits\n  crop: 4\n"
    file.write_text(f"name: x\nmodel: {{name: mlp, width: [3]}}\n{data}max_steps: 0\noptimizer:\n  lr: 0.1\n")
    lines = mistake(file).splitlines()
    assert lines[0].startswith(f"{file}:2: model.width: unknown setting; did you mean 'widths'?")
    assert lines[1].startswith(f"{file}:5: data.crop: unknown setting")
    assert lines[2].startswith(f"{file}:6: max_steps: input should be greater than or equal to 1")
    assert lines[3].startswith(f"{file}:7: optimizer.name: missing; expected one of sgd, adam, adamw")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nname: y\n", ':2: not valid YAML: found duplicate key "name"'),
        ("[1, 2", "not valid YAML"),
        ("- a\n", "expected settings"),
        ("\xff", "missing"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text if says != "missing" else "name: x", encoding="utf-8")
    assert says in mistake(file)


def test_unreadable_files(tmp_path: Path) -> None:
    assert "no such file" in mistake(tmp_path / "none.yaml")
    assert "cannot be read" in mistake(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in mistake(binary)


def test_numbers_are_read_as_yaml_1_2(tiny_file: Path) -> None:
    config = load_config(tiny_file, ["optimizer.weight_decay=5e-4", "max_steps=1e4"])
    assert config.optimizer.weight_decay == 5e-4
    assert config.max_steps == 10_000


def test_shipped_configurations_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/digits/mlp_gelu.yaml") == load_config("digits/mlp_gelu.yaml")
    assert "configs/cifar10/vgg16_gelu.yaml" in mistake(Path("nothing.yaml"))


def test_dumped_settings_read_back_equal(tiny_file: Path, tmp_path: Path) -> None:
    config = load_config(tiny_file, ["data.label_noise=0.1", "optimizer.gradient_clip=1.5", "compile=false"])
    (tmp_path / "dumped.yaml").write_text(dump_yaml(config))
    assert load_config(tmp_path / "dumped.yaml") == config


def test_identity_ignores_where_and_how_fast(tiny_file: Path) -> None:
    base = identity(load_config(tiny_file))
    same = [
        "replicate=3",
        "device=auto",
        "log_every=7",
        "compile=true",
        "threads=2",
        "name=other",
        "loss=cross_entropy",
    ]
    different = [
        "seed=4",
        "optimizer.lr=0.06",
        "max_steps=41",
        "precision=bfloat16",
        "data.label_noise=0.1",
        "loss=mse",
    ]
    assert {identity(load_config(tiny_file, [change])) for change in same} == {base}
    assert len({base, *(identity(load_config(tiny_file, [change])) for change in different)}) == 1 + len(different)
    assert len(base) == 12


def test_identity_is_stable() -> None:
    # Runs on disk are found by it: a change here orphans every run that users have.
    assert identity(load_config("configs/digits/mlp_gelu.yaml")) == "0e0b1270c3fa"


def test_replicates_have_their_own_seeds(tiny_file: Path) -> None:
    assert [load_config(tiny_file, [f"replicate={k}"]).replicate_seed for k in range(3)] == [3, 6, 9]


def test_schema_describes_every_setting() -> None:
    schema = json_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == {field.alias or name for name, field in TrainConfig.model_fields.items()}
    for definition in schema["$defs"].values():
        assert definition["additionalProperties"] is False
