"""The `sc` command as its users meet it: outputs, exit statuses, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stochastic_collapse import cli


def sc(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def trained(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    status, out, _ = sc(capsys, "train", "-f", tiny_file, "--json")
    assert status == 0
    return dict(json.loads(out))


def test_train_prints_a_table(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = sc(capsys, "train", "-f", tiny_file)
    assert status == 0
    assert re.search(r"tiny-\w{12}/replicate_0: 40 steps in [\d.]+ s, test accuracy [\d.]+%", out)
    assert re.search(r"fc2 .* 40 .* 6 ", out)
    assert err == ""


def test_train_json_is_one_object(trained: dict[str, Any]) -> None:
    assert Path(trained["run"]).is_dir()
    assert 0 <= trained["eval_accuracy"] <= 1
    assert [layer["layer"] for layer in trained["collapse"]] == ["fc1", "fc2"]
    assert {"neurons", "independent", "fraction_independent"} <= set(trained["collapse"][0])


def test_train_on_a_finished_run_says_so(
    tiny_file: Path, trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = sc(capsys, "train", "-f", tiny_file, "--json")
    assert status == 0
    assert "already finished" in err
    assert json.loads(out) == {**trained, "already_finished": True}


def test_print_config_reads_back(tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "train", "-f", tiny_file, "optimizer.lr=0.25", "--print-config")
    assert status == 0
    assert not (tmp_path / "runs").exists()
    (tmp_path / "printed.yaml").write_text(out)
    assert sc(capsys, "train", "-f", tmp_path / "printed.yaml", "--print-config") == (0, out, "")


def test_print_schema(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "train", "--print-schema")
    assert status == 0
    assert json.loads(out)["title"] == "TrainConfig"


def test_out_is_the_runs_directory(tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "train", "-f", tiny_file, "--out", tmp_path / "here", "--json")
    assert status == 0
    assert json.loads(out)["run"] == str(tmp_path / "here")
    assert (tmp_path / "here" / "metrics.csv").is_file()


def test_analyze_a_run(trained: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "analyze", trained["run"], "--every-checkpoint", "--json")
    assert status == 0
    (run,) = json.loads(out)["runs"]
    assert [row["step"] for row in run["collapse"]] == [15, 15, 30, 30, 40, 40]
    status, out, _ = sc(capsys, "analyze", trained["run"], "--steps", "15,30")
    assert status == 0
    assert out.count("fc1") == 2


def test_analyze_compares_runs(
    tiny_file: Path, trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sc(capsys, "train", "-f", tiny_file, "optimizer.lr=0.01")
    status, out, _ = sc(capsys, "analyze", tmp_path / "runs")
    assert status == 0
    assert re.search(r"layer.*lr 0\.01.*lr 0\.05", out)
    assert re.search(r"all layers.*1\.000", out)
    assert re.search(r"test accuracy.*%.*%", out)
    assert re.search(r"median of last 5.*%.*%", out)
    assert re.search(r"at step.*40.*40", out)


def test_analyze_attractivity(trained: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--attractivity", "--neurons", "1", "--examples", "10")
    status, out, err = sc(capsys, "analyze", trained["run"], *options, "--json")
    assert (status, err) == (0, "")
    (run,) = json.loads(out)["runs"]
    assert [(row["layer"], row["set"], row["direction"]) for row in run["attractivity"]][:3] == [
        ("fc1", "sign", "present"),
        ("fc1", "sign", "leading"),
        ("fc1", "permutation", "present"),
    ]
    status, out, _ = sc(capsys, "analyze", trained["run"], *options, "--steps", "15,30")
    assert status == 0
    assert out.count("replicate_0, step ") == 2
    assert re.search(r"fc2 .* permutation .* leading .* 1 .*±", out)
    assert len((Path(trained["run"]) / "attractivity.csv").read_text().splitlines()) == 1 + 3 * 8
    assert sc(capsys, "analyze", trained["run"], "--attractivity", "--neurons", "-1")[0] == 2


def test_analyze_weights(trained: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Path(trained["run"]) / "checkpoints" / "step_00000040.pt"
    status, out, _ = sc(capsys, "analyze", "--weights", checkpoint, "--model", "mlp", "--json")
    assert status == 0
    fractions = [row["fraction_independent"] for row in json.loads(out)["collapse"]]
    assert fractions == [row["fraction_independent"] for row in trained["collapse"]]


def test_figures(trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "figures", "collapse", trained["run"])
    assert status == 0
    paths = [Path(line) for line in out.splitlines()]
    assert [p.name for p in paths] == ["collapse.png", "collapse.pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")
    assert paths[0].parent == tmp_path / "runs" / "figures"


def test_data_lists(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, "data", "--json")
    assert status == 0
    states = {d["name"]: d["state"] for d in json.loads(out)["datasets"]}
    assert states["digits"].startswith("ready")
    assert states["cifar10"].startswith("missing: run `sc data cifar10`")
    assert sc(capsys, "data")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "no such command 'trian'; the commands are analyze, compress, control, data"),
        (["train"], "settings needed: -f FILE"),
        (["train", "--bogus"], "No such option '--bogus'"),
        (["train", "-f", "none.yaml"], "none.yaml: no such file, and no shipped configuration has this name"),
        (["train", "-f", "TINY", "optimizer.lrr=1"], "did you mean 'lr'?"),
        (["train", "-f", "TINY", "data={name: cifar10}"], "run `sc data cifar10` to download it"),
        (["train", "-f", "TINY", "model={name: vgg16}"], "vgg16 needs images of at least 32 × 32 pixels, found 4 × 4"),
        (["analyze"], "give either RUN directories, or --weights FILE"),
        (["analyze", "/nowhere"], "/nowhere: no such run directory"),
        (["analyze", "--weights", "TINY", "--model", "mlp"], "tiny.yaml: not a file of safetensors or torch.save"),
        (
            ["analyze", "--weights", "WEIGHTS", "--model", "mpl"],
            "no built-in network 'mpl'; did you mean 'mlp'?",
        ),
        (["analyze", "/tmp", "--steps", "1", "--every-checkpoint"], "give either --steps or --every-checkpoint"),
        (["analyze", "/tmp", "--neurons", "3"], "--neurons and --examples go with --attractivity"),
        (["analyze", "--weights", "TINY", "--model", "mlp", "--attractivity"], "--attractivity needs a RUN"),
        (
            ["train", "-f", "TINY", "model=vgg16"],
            "override 'model=vgg16': model.name: missing; expected one of mlp, vgg16",
        ),
        (["analyze", "/tmp", "--steps", ""], "expected numbers such as 10000,20000, found ''"),
        (["analyze", "/tmp", "--steps", "1,x"], "expected numbers such as 10000,20000, found '1,x'"),
        (["figures", "figg"], "figg: no such figure"),
        (["figures", "collapse"], "name the runs to draw"),
        (["data", "imagenet"], "no dataset 'imagenet' to fetch"),
        (["data", "cifar10", "--from", "/nowhere"], "/nowhere: no such file or folder"),
        (["data", "--from", "/tmp"], "--from needs a dataset's name"),
    ],
)
def test_mistakes_exit_2_with_one_clear_line(
    arguments: list[str], says: str, tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny_file.with_name("weights.pt")
    torch.save(torch.nn.Linear(2, 2).state_dict(), weights)
    status, out, err = sc(capsys, *[{"TINY": tiny_file, "WEIGHTS": weights}.get(a, a) for a in arguments])
    assert status == 2
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    # ours is one line; click puts the usage before its own
    assert len([line for line in err.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1


def test_failures_exit_1(tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("-f", tiny_file, "optimizer.lr=1e30", "loss=mse", "schedule.warmup_steps=0")
    status, out, err = sc(capsys, "train", *settings)
    assert (status, out) == (1, "")
    assert re.match(r"sc: .*: diverged: ", err)
    (tmp_path / "file").touch()
    status, _, err = sc(capsys, "train", "-f", tiny_file, "--out", tmp_path / "file" / "run")
    assert status == 1
    assert err.startswith("sc: NotADirectoryError: ")
    assert len(err.splitlines()) == 1


def test_unexpected_errors_are_one_line_unless_verbose(
    tiny_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr("stochastic_collapse.training.train", broken)
    status, _, err = sc(capsys, "train", "-f", tiny_file)
    assert (status, err) == (1, "sc: RuntimeError: one two; --verbose shows where\n")
    status, _, err = sc(capsys, "train", "-f", tiny_file, "--verbose")
    assert status == 1
    assert "Traceback" in err


@pytest.mark.parametrize("command", [[], *([name] for name in cli.cli.commands)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = sc(capsys, *command, "--help")
    assert status == 0
    example = out.partition("Example")[2] if command else out.partition("Options:")[0]
    assert re.search(rf"^ +sc {' '.join(command)}", example, re.MULTILINE)


@pytest.mark.parametrize(
    "code",
    [
        "import stochastic_collapse",
        "from stochastic_collapse import load_config; load_config('configs/digits/mlp_gelu.yaml')",
        "from stochastic_collapse import cli; assert cli.run(['--help']) == 0",
        "from stochastic_collapse import cli; assert cli.run(['train', '--print-schema']) == 0",
        "from stochastic_collapse import cli; assert cli.run(['data']) == 0",
    ],
)
def test_starting_costs_no_torch(code: str) -> None:
    check = f"import sys\n{code}\nassert not {{'torch', 'juliacall', 'sklearn'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)


def test_the_command_in_a_pipe_shows_no_bar_and_no_colour(tiny_file: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "stochastic_collapse", "train", "-f", str(tiny_file)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert process.stderr == ""
    assert "\x1b" not in process.stdout


def test_public_names_load() -> None:
    import stochastic_collapse

    for name in stochastic_collapse.__all__:
        assert getattr(stochastic_collapse, name) is not None
    assert "train" in dir(stochastic_collapse)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stochastic_collapse.nothing
